"""The bundles of the demo's task pictures: one ``edgecnn export`` after another.

python -m edgecnn.demo.exports out/tasks

They share a process, because importing torch takes longer than most of these exports.
"""

import contextlib
import io
import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2

from edgecnn.cli import main as edgecnn
from edgecnn.train.renders.workshop import draw_workshop

FOLDER = Path(__file__).parent
NETWORKS = "edgecnn.models"
EXPORTS: Mapping[str, tuple[str, ...]] = {
    "reader": ("reader.pt", "--arch", f"{NETWORKS}.code_reader:CodeReader"),
    "digit-features": ("digit-features.pt", "--arch", f"{NETWORKS}.digit_features:DigitFeatures"),
    **{
        f"workshop-{head}": (
            f"workshop-{head}.pt",
            "--arch",
            f"{NETWORKS}.workshop_net:WorkshopNet",
        )
        for head in ("detect", "pose", "obb", "segment", "surfaces")
    },
}
"""Name of the bundle → its checkpoint, beside this file or made from one there, and its flags."""
PICTURES, VERIFY_SEEDS = "pictures", range(30_000, 30_008)
"""The folder of the workshops that networks without samples are verified with, and their seeds."""


def commands(folder: Path) -> Iterator[list[str]]:
    """The words of each export into a folder, without ``edgecnn``."""
    for name, (checkpoint, *flags) in EXPORTS.items():
        path = folder / checkpoint if name == "digit-features" else shortest(FOLDER / checkpoint)
        if name.startswith("workshop-"):
            flags += ["--images", str(folder / PICTURES)]
        yield ["export", str(path), *flags, "--out", str(folder / f"{name}.edge"), "--overwrite"]


def shortest(path: Path) -> Path:
    """The path relative to the current folder if it is inside it, else as it is."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def main(words: Sequence[str] | None = None) -> int:
    """Export all of them, printing each command and how long it took.

    Args:
        words: The folder; None takes the arguments of the process.

    Returns:
        0, or the exit code of the export that failed; then all that it printed is on stderr.
    """
    from edgecnn.train.digit_features import write_features  # imports torch

    (name,) = sys.argv[1:] if words is None else words
    folder = Path(name)
    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    for seed in VERIFY_SEEDS:
        cv2.imwrite(str(folder / PICTURES / f"{seed}.png"), draw_workshop(seed).picture)
    write_features(FOLDER / "digits.pt", folder / "digit-features.pt")
    for command in commands(folder):
        print(f"$ {shlex.join(['edgecnn', *command])}", flush=True)
        answer, progress = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(answer), contextlib.redirect_stderr(progress):
            code = edgecnn([*command, "--json"])
        if code:
            print(progress.getvalue() + answer.getvalue(), file=sys.stderr)
            return code
        result = json.loads(answer.getvalue())
        seconds = sum(result["seconds"].values())
        print(f"{result['bundle']} verified in {seconds:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
