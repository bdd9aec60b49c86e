"""edgecnn against what people use today, each in an environment of its own.

python bench/baselines/compare.py                        every baseline, written to bench/results
python bench/baselines/compare.py ultralytics            only that one, written too
python bench/baselines/compare.py ultralytics --quick    to see that it works; nothing is written
"""

import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

BASELINES = Path(__file__).parent
sys.path.append(str(BASELINES.parent / "experiments"))  # their runner and their material

from comparisons import facenet, nncf, opencv, rapidocr, torch_onnx, ultralytics  # noqa: E402
from lib.experiment import Experiment, Options, Row, parse_options, run  # noqa: E402
from runner.environments import ensure, requirements  # noqa: E402
from runner.rows import COLUMNS, BaselineRow, answers, reached  # noqa: E402
from runner.setting import Setting  # noqa: E402

COMPARISONS: Mapping[str, Callable[[Setting], Iterable[BaselineRow]]] = {
    "ultralytics": ultralytics.compare,
    "opencv": opencv.compare,
    "facenet": facenet.compare,
    "rapidocr": rapidocr.compare,
    "nncf": nncf.compare,
    "torch_onnx": torch_onnx.compare,
}


def main() -> int:
    """Run every comparison asked for; 0 if everything is reached."""
    options = parse_options(__doc__, list(COMPARISONS))
    reached = [run(experiment(name), options) for name in options.names]
    return 0 if all(reached) else 1


def experiment(name: str) -> Experiment:
    """The comparison with one baseline."""

    def measure(options: Options) -> Iterator[Row]:
        with tempfile.TemporaryDirectory() as scratch:
            setting = Setting(name, Path(scratch), ensure(name), options.quick)
            for row in COMPARISONS[name](setting):
                yield msgspec.structs.asdict(row)

    return Experiment(
        name=f"baselines_{name}",
        title=f"edgecnn against {name}, results per second",
        measure=measure,
        reached=reached,
        columns=COLUMNS,
        facts={"versions": requirements(name)},
        notes=answers,
    )


if __name__ == "__main__":
    sys.exit(main())
