"""edgecnn against what people use today, each in an environment of its own.

python bench/baselines/compare.py ALL                    every peer, written to bench/results
python bench/baselines/compare.py ultralytics --quick    to see that one works; nothing is written
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

BASELINES = Path(__file__).parent
sys.path.append(str(BASELINES.parent / "experiments"))  # their material

from comparisons import facenet, nncf, opencv, rapidocr, torch_onnx, ultralytics  # noqa: E402
from lib.material import need_assets  # noqa: E402
from runner.environments import ensure, requirements  # noqa: E402
from runner.rows import BaselineComparison, remarks, table  # noqa: E402
from runner.setting import Setting  # noqa: E402

from edgecnn_bench.results import write_result  # noqa: E402

COMPARISONS: Mapping[str, Callable[[Setting], BaselineComparison]] = {
    "ultralytics": ultralytics.compare,
    "opencv": opencv.compare,
    "facenet": facenet.compare,
    "rapidocr": rapidocr.compare,
    "nncf": nncf.compare,
    "torch_onnx": torch_onnx.compare,
}


def main() -> int:
    """Measure, print, write; 0 when everything is reached."""
    args = parse()
    need_assets()
    names = list(COMPARISONS) if "ALL" in args.peers else args.peers
    reached = [compare(name, quick=args.quick) for name in names]
    return 0 if all(reached) else 1


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("peers", nargs="+", choices=[*COMPARISONS, "ALL"], metavar="PEER",
                        help=f"{', '.join(COMPARISONS)} or ALL")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="few short blocks; writes nothing")
    return parser.parse_args()


def compare(name: str, *, quick: bool) -> bool:
    """One peer; whether everything was reached."""
    python = ensure(name)
    with tempfile.TemporaryDirectory() as scratch:
        found = COMPARISONS[name](Setting(name, Path(scratch), python, quick))
    if not quick:
        rows = [{"reached": row.reached, "row": row} for row in found.rows]
        write_result(
            f"baselines_{name}", {"rows": rows, **found.found, "versions": requirements(name)}
        )
    console = Console(highlight=False)
    console.print(table(name, found), *remarks(found), sep="\n")
    return all(row.reached for row in found.rows)


if __name__ == "__main__":
    sys.exit(main())
