"""Checkpoint → bundle → verified → timed → run on a clip → every task → served on two cameras."""

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.text import Text

from edgecnn.demo.clip import write_clip
from edgecnn.demo.exports import EXPORTS, shortest
from edgecnn.demo.exports import commands as export_commands
from edgecnn.demo.gallery import exhibits
from edgecnn.demo.live import watch_belts
from edgecnn.demo.report import DemoResults, render
from edgecnn.demo.scene import FPS, WINDOW, Scene
from edgecnn.demo.score import DigitScore, compare, is_right, read_events, vote
from edgecnn_bench.schema import read_report
from edgecnn_runtime.bundle.bundle import open_bundle
from edgecnn_runtime.errors import EdgecnnError

CHECKPOINT = Path(__file__).with_name("digits.pt")
BELT_DIGITS = 12
"""On the second belt that the daemon watches."""
SEED, DIGITS = 7, 40
"""Of the clip. No scene with this seed was part of the training."""


def main(words: Sequence[str] | None = None) -> int:
    """Run the demo, printing each command before it runs.

    Args:
        words: The arguments; None takes those of the process.

    Returns:
        0, or the exit code of the command that failed.
    """
    parser = argparse.ArgumentParser(prog="python -m edgecnn.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder (default: out)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the clip (default: 7)")
    parser.add_argument("--digits", type=int, default=DIGITS, help="in it (default: 40)")
    about = "leave the daemon on until Ctrl-C, with its live page"
    parser.add_argument("--keep", action="store_true", help=about)
    args = parser.parse_args(words)
    try:
        demo(args.out, args.seed, max(args.digits, 1), keep=args.keep)
    except (EdgecnnError, OSError) as error:
        print(f"edgecnn demo: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, EdgecnnError) else EdgecnnError.exit_code
    except subprocess.CalledProcessError as failed:
        return int(failed.returncode)
    except KeyboardInterrupt:
        return 130
    return 0


def demo(out: Path, seed: int, digits: int, *, keep: bool) -> None:
    """Render, export, bench, run, compare with the truth, show every task, and serve two cameras.

    Args:
        out: The folder to write to.
        seed: Of the clip.
        digits: How many digits pass the camera.
        keep: Leave the daemon on until Ctrl-C.

    Raises:
        CalledProcessError: A command failed.
    """
    console = Console(highlight=False)
    out.mkdir(parents=True, exist_ok=True)
    clip, bundle, bench = out / "clip.mp4", out / "digits.edge", out / "bench.json"
    annotated, events = out / "annotated.mp4", out / "events.jsonl"
    commands = [
        ["export", shortest(CHECKPOINT), "--out", bundle, "--overwrite"],
        ["bench", bundle, "--source", clip, "--threads", "1", "--seconds", "0.6", "--rounds", "6",
         "--warmup", "0.1", "--starts", "1", "--out", bench],
        ["run", bundle, clip, "--roi", ",".join(map(str, WINDOW)), "--save", annotated,
         "--events", events, "--overwrite"],
    ]  # fmt: skip

    scene, tasks = Scene(seed, digits), out / "tasks"
    stderr = Console(stderr=True)
    frames = track(range(scene.length), "rendering", console=stderr, transient=True)
    with _exporting(tasks) as finish:  # on another core meanwhile
        write_clip(scene, clip, frames)
        task_exports = finish()
    truth = {"seed": seed, "fps": FPS, "window": WINDOW, "tiles": [asdict(t) for t in scene.tiles]}
    (out / "truth.json").write_text(json.dumps(truth))
    rendered = f"rendered {digits} handwritten digits passing a camera, seed {seed}: {clip}"
    console.print(rendered, markup=False, soft_wrap=True)

    console.print(f"\n{task_exports}", markup=False, soft_wrap=True, end="")
    lines = [shlex.join(["edgecnn", *map(str, command)]) for command in commands]
    for line, command in zip(lines, commands, strict=True):
        console.print(f"\n$ {line}", style="bold cyan", markup=False, soft_wrap=True)
        subprocess.run([sys.executable, "-m", "edgecnn", *map(str, command)], check=True)

    looks = read_events(events)
    score = compare(vote(looks), scene.tiles)
    _print(score, console)
    lines += [shlex.join(["edgecnn", *command]) for command in export_commands(tasks)]
    bundles = {"digits": bundle} | {name: tasks / f"{name}.edge" for name in EXPORTS}
    pictures = exhibits(bundles, scene, seed)
    for exhibit in pictures:
        console.print(f"{exhibit.task}: {exhibit.result}", markup=False, soft_wrap=True)
    files = {
        "annotated.mp4": "the clip with the readings drawn in",
        "events.jsonl": "the result of every frame",
        "truth.json": "the digits that were rendered",
        "digits.edge/report.html": "how the bundle was verified",
        "tasks": "the bundles of the other tasks, each with its own report",
        "bench.json": "the timings, as `edgecnn bench compare` and `bench report` take them",
        "report.html": "all of this on one page, with a picture of each task",
    }
    results = DemoResults(
        scene, looks, score, pictures, open_bundle(bundle), read_report(bench), annotated, lines,
        files,
    )  # fmt: skip
    (out / "report.html").write_text(render(results), "utf-8")
    belts = (scene, Scene(seed + 1, BELT_DIGITS))
    files |= watch_belts(out, bundle, belts, keep=keep, console=console)
    console.print()
    for name, what in files.items():
        console.print(Text.assemble(f"{out / name}  ", (what, "dim")), soft_wrap=True)


@contextmanager
def _exporting(folder: Path) -> Iterator[Callable[[], str]]:
    """Export the bundles of the task pictures in a process; a call waits and gives its lines."""
    words = [sys.executable, "-m", "edgecnn.demo.exports", str(folder)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)

    def wait() -> str:
        printed, _ = process.communicate()
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, words)
        return printed

    try:
        yield wait
    finally:
        process.kill()
        process.wait()


def _print(score: DigitScore, console: Console) -> None:
    labels = [
        f"[{'green' if is_right(tile, reading) else 'red'}]{reading.label if reading else '–'}[/]"
        for tile, reading in score.pairs
    ]
    total = len(score.pairs)
    extra = f", {len(score.invented)} read that were not there" if score.invented else ""
    console.print(f"\ntruth  {''.join(str(tile.digit) for tile, _ in score.pairs)}")
    console.print(f"read   {''.join(labels)}")
    console.print(
        f"[bold]{score.right} of {total} digits right[/], {score.right / total:.1%}{extra}\n"
    )


if __name__ == "__main__":
    raise SystemExit(main())
