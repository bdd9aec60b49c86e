"""Makes what the pipeline ``plates`` runs on a device: two bundles and the syntax of plates.

    python -m edgecnn.plates

The bundles are exported from the checkpoints beside this file, with INT8 calibrated on rendered
crops and scenes; the syntax comes from the grammars that plates are rendered from.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2

from edgecnn.train.plates.crops import CropMaker
from edgecnn.train.plates.detector import HEIGHT, WIDTH
from edgecnn.train.plates.fonts import find_fonts
from edgecnn.train.plates.grammar import SEPARATORS, Grammar, choose_grammars, grammars
from edgecnn.train.plates.scenes import SceneMaker
from edgecnn.train.plates.scenes_backgrounds import read_backgrounds
from edgecnn.train.plates.scenes_faces import rendered_faces
from edgecnn_export.config import ExportConfig
from edgecnn_export.pipeline import export
from edgecnn_runtime.bundle.atomic import atomic_file
from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.types import Pixels

FOLDER = Path(__file__).parent
CALIBRATION = 300
"""Rendered crops that the reader's INT8 is calibrated on."""
SEED = 30
"""Of the crops; no training has it."""
SCENE_SEED = (1 << 60) + 1000
"""Of the scenes; likewise."""
HEAD = """\
# What license plates say, made of edgecnn/train/plates/grammars by `python -m edgecnn.plates`.
# @ is one of the country's letters, # a digit, ? either, {name} an entry of a list.
countries:
"""


def main(words: Sequence[str] | None = None) -> int:
    """Make everything; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m edgecnn.plates", description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder (default: this package)")
    parser.add_argument("--calibration", type=int, default=CALIBRATION, help="rendered pictures")
    parser.add_argument("--syntax-only", action="store_true", help="make no bundle")
    args = parser.parse_args(words)
    try:
        write_syntax(args.out / "syntax.yaml")
        if not args.syntax_only:
            make_bundles(args.out, args.calibration)
    except EdgecnnError as error:
        print(f"edgecnn.plates: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def make_bundles(out: Path, count: int) -> None:
    """Export both checkpoints.

    Args:
        out: The folder.
        count: Pictures to calibrate the INT8 of each on.

    Raises:
        EdgecnnError: A checkpoint or a font is missing, or it cannot be exported.
    """
    for name, render in (("plate_reader", crops), ("plate_detector", scenes)):
        with TemporaryDirectory() as folder:
            pictures = write_pictures(Path(folder), render(count))
            bundle = export(
                ExportConfig(
                    model=str(FOLDER / f"{name}.pt"), out=str(out / f"{name}.edge"), name=name,
                    int8=True, targets=("cpu",), calib=str(pictures), overwrite=True,
                )
            ).bundle  # fmt: skip
        print(f"{bundle.path}: digest {bundle.digest}")


def crops(count: int) -> Iterator[Pixels]:
    """Rendered plates that no training has seen."""
    maker = CropMaker(choose_grammars(()), find_fonts())
    for number in range(count):
        yield maker.crop((SEED, number)).picture


def scenes(count: int) -> Iterator[Pixels]:
    """Rendered cars, walls and signs that no training has seen."""
    faces = rendered_faces(choose_grammars(()), find_fonts())
    maker = SceneMaker(faces, read_backgrounds(()))
    for number in range(count):
        yield maker.scene(SCENE_SEED + number, (WIDTH, HEIGHT)).pixels


def write_pictures(folder: Path, pictures: Iterable[Pixels]) -> Path:
    """Write pictures into a folder, and give it back."""
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number:05}.png"), picture)
    return folder


def write_syntax(path: Path) -> None:
    """Write the syntax of all countries that have a grammar."""
    with atomic_file(path) as file:
        file.write_text(syntax_text(grammars()), "utf-8")


def syntax_text(countries: Mapping[str, Grammar]) -> str:
    """The file ``syntax.yaml``: a country's patterns without separators, of all of its designs."""
    lines = [HEAD]
    for country, grammar in countries.items():
        lines.append(f'  "{country}":\n    name: {grammar.name}\n    weight: {grammar.weight:g}\n')
        lines.append(f'    letters: "{grammar.letters}"\n')
        lists = (f"{name}: {_flow(entries)}" for name, entries in grammar.lists.items())
        if grammar.lists:
            lines.append(f"    lists: {{{', '.join(lists)}}}\n")
        lines.append("    patterns:\n")
        shares = _shares(grammar)
        lines += [f'      "{pattern}": {share:.4g}\n' for pattern, share in shares.items()]
    return "".join(lines)


def _shares(grammar: Grammar) -> dict[str, float]:
    """Pattern without separators → its share of the country's plates."""
    shares: dict[str, float] = {}
    weights = sum(kind.weight for kind in grammar.kinds)
    for kind in grammar.kinds:
        total = sum(kind.patterns.values())
        for pattern, weight in kind.patterns.items():
            bare = pattern.translate(dict.fromkeys(map(ord, SEPARATORS)))
            share = kind.weight / weights * weight / total
            shares[bare] = shares.get(bare, 0.0) + share
    return shares


def _flow(entries: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{entry}"' for entry in entries) + "]"


if __name__ == "__main__":
    raise SystemExit(main())
