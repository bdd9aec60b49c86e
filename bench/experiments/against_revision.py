"""Is this checkout as fast as another git revision, and does it still make the same files?

    python bench/experiments/against_revision.py --rev v0.1.0

Both revisions run in fresh processes of this environment, in turns, through what does not change
between versions: the command line, and ``load()`` with the three steps of a model. Each uses
bundles of its own making. YuNet on the face video, and two classifiers with random weights.
Reached: no figure is worse beyond noise (the ratio's interval of 95 % reaches 1.03), and every
artifact has the same nodes and weights.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
from lib.experiment import Experiment, Options, Row, main
from lib.fresh_process import in_fresh_process
from lib.material import ASSETS, HEIGHT, IOU, SCORE, WIDTH, YUNET, video_frames, write_pictures

from edgecnn_bench.stats import paired_ratio

ROOT = Path(__file__).parents[2]
TURNS, QUICK_TURNS = 9, 2
SLACK = 1.03
NETWORKS: Mapping[str, str] = {
    "MobileNetV2": "lib.mobilenet:mobilenet_v2",
    "ShuffleNet": "lib.shufflenet:shufflenet",
}

STEPS = """
import json, sys, time, cv2, numpy as np
from edgecnn_runtime import load
capture = cv2.VideoCapture(sys.argv[2])
frames = [capture.read()[1] for _ in range(40)]
begun = time.perf_counter()
model = load(sys.argv[1], backend="onnxruntime", precision="f32", threads=1, cache_dir=sys.argv[3])
model(frames[0])
loaded = time.perf_counter() - begun
times = []
for frame in frames * 5:
    start = time.perf_counter()
    geometry = model.prepare(frame)
    prepared = time.perf_counter()
    outputs = model.infer()
    inferred = time.perf_counter()
    model.decode(outputs, 0, geometry)
    times.append((prepared - start, inferred - prepared, time.perf_counter() - inferred))
prepare, infer, decode = np.median(times[40:], 0)
print(json.dumps({"load": loaded, "own": prepare + decode, "frame": prepare + infer + decode}))
"""
IMPORT = """
import time, numpy, cv2
begun = time.perf_counter()
import edgecnn_runtime.model
print(time.perf_counter() - begun)
"""


@dataclass(frozen=True)
class Revision:
    """A tree of sources, and a folder for what it makes."""

    sources: Path
    work: Path

    def run(self, *words: str | Path) -> str:
        """Run Python with this revision's packages; what it prints."""
        folders = (self.sources / name for name in (".", "runtime", "export", "bench"))
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([*map(str, folders), str(Path(__file__).parent)]),
            "XDG_STATE_HOME": str(self.work / "state"),
        }
        command = [sys.executable, *map(str, words)]
        self.work.mkdir(exist_ok=True)
        done = subprocess.run(  # in another folder, because ``-m`` looks into this one first
            command, cwd=self.work, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command[:6])} …: {done.stderr[-2000:]}")
        return done.stdout

    def seconds(self, *words: str | Path) -> float:
        """How long that takes."""
        begun = time.perf_counter()
        self.run(*words)
        return time.perf_counter() - begun


def measure(options: Options, revision: str) -> Iterator[Row]:
    """Every figure, both revisions in turns."""
    turns = QUICK_TURNS if options.quick else TURNS
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        before = Revision(unpack(revision, folder / "sources"), folder / "before")
        after = Revision(ROOT, folder / "after")
        pictures = write_pictures(folder / "pictures", video_frames()[::7])
        (folder / "labels.txt").write_text("face\n")
        both = (before, after)
        yield exports("export of YuNet", both, turns, lambda r: yunet_export(r, folder, pictures))
        video = ASSETS / "faces" / "video.mp4"

        yield compare("import edgecnn_runtime", both, turns, lambda r: float(r.run("-c", IMPORT)))
        steps: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])

        def time_steps(revision: Revision) -> float:
            words = (revision.work / "yunet.edge", video, revision.work / "state")
            seconds = json.loads(revision.run("-c", STEPS, *words))
            steps[revision is after].append(seconds)
            return float(seconds["load"])

        yield compare("load() to first result, YuNet", both, turns, time_steps)
        for what, key in (("own time per frame", "own"), ("frame to result", "frame")):
            times = [[seconds[key] for seconds in side] for side in steps]
            yield row(f"{what}, YuNet", *times)
        for what, flags in (("no sink", ()), ("--events", ("--events", "e.jsonl"))):
            words = [word if "." not in word else str(folder / word) for word in flags]
            yield compare(
                f"edgecnn run on the 1080p video, {what}",
                both,
                turns,
                lambda r, w=tuple(words): r.seconds(  # type: ignore[misc] # of a default, no type is inferred
                    "-m", "edgecnn", "run", r.work / "yunet.edge", video, *w
                ),
            )
        for name, factory in NETWORKS.items():
            weights = folder / f"{name}.pt"
            in_fresh_process(save_weights, factory, str(weights))

            def export_network(r: Revision, weights: Path = weights, arch: str = factory) -> float:
                return r.seconds(
                    "-m", "edgecnn", "export", weights, "--arch", arch, "--overwrite",
                    "--out", r.work / f"{weights.stem}.edge", "--input", "224x224",
                    "--task", "classify", "--preset", "imagenet", "--images", pictures,
                )  # fmt: skip

            yield exports(f"export of {name}", both, turns, export_network)
        int8 = ("--int8", "--calib", pictures, "--targets", "cpu,cpu-rr", "--method", "minmax")
        yield exports(
            "INT8 export of YuNet", both, 1, lambda r: yunet_export(r, folder, pictures, *int8)
        )


def compare(
    what: str, both: tuple[Revision, Revision], turns: int, probe: Callable[[Revision], float]
) -> Row:
    """One figure: seconds before and after, and the ratio of the two by turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns):
        for side in (0, 1) if turn % 2 else (1, 0):
            times[side].append(probe(both[side]))
    return row(what, *times)


def row(what: str, before: Sequence[float], after: Sequence[float]) -> Row:
    """Seconds before and after by turn, and the ratio of the two."""
    ratio = paired_ratio(after, before)
    return {
        "what": what, "before_s": float(np.median(before)), "after_s": float(np.median(after)),
        "ratio": ratio.value, "low": ratio.low, "high": ratio.high, "same_files": None,
    }  # fmt: skip


def exports(
    what: str, both: tuple[Revision, Revision], turns: int, probe: Callable[[Revision], float]
) -> Row:
    """The same of an export, and whether both made the same artifacts."""
    times = compare(what, both, turns, probe)
    files = [
        {str(path.relative_to(r.work)): content(path) for path in r.work.rglob("*.onnx")}
        for r in both
    ]
    return times | {"same_files": files[0] == files[1]}


def content(path: Path) -> list[bytes]:
    """What an ONNX file computes: nodes in order and weights, whatever its values are called."""
    graph = onnx.load(path).graph
    numbers: dict[str, str] = {"": ""}
    for node in graph.node:
        node.name = ""
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = numbers.setdefault(name, str(len(numbers)))
    for weight in graph.initializer:
        weight.name = numbers[weight.name]
    return sorted(part.SerializeToString() for part in (*graph.node, *graph.initializer))


def reached(row: Row) -> bool:
    """Whether a figure is not worse beyond noise, and files are the same."""
    return bool(row["low"] <= SLACK and row["same_files"] is not False)


def yunet_export(revision: Revision, folder: Path, pictures: Path, *more: str | Path) -> float:
    """Seconds of ``edgecnn export`` of YuNet."""
    return revision.seconds(
        "-m", "edgecnn", "export", YUNET, "--out", revision.work / "yunet.edge", "--overwrite",
        "--input", f"{WIDTH}x{HEIGHT}", "--task", "detect", "--head", "yunet", "--preset", "raw",
        "--color", "bgr", "--resize", "stretch", "--score", f"{SCORE}", "--iou", f"{IOU}",
        "--labels", folder / "labels.txt", "--images", pictures, *more,
    )  # fmt: skip


def save_weights(factory: str, path: str) -> None:
    """Write random weights of an architecture; runs in a process of its own, for torch."""
    import torch

    module, name = factory.split(":")
    torch.manual_seed(0)
    torch.save(getattr(import_module(module), name)().state_dict(), path)


def unpack(revision: str, folder: Path) -> Path:
    """The files of a git revision, in a folder of their own."""
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", revision], capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--rev", default="HEAD~1")
    known, rest = parser.parse_known_args()
    sys.argv[1:] = rest
    experiment = Experiment(
        name="against_revision",
        title=f"seconds before ({known.rev}) and now, in turns",
        measure=lambda options: measure(options, known.rev),
        reached=reached,
        columns={
            "": "{what}", "before": "{before_s:.4g}", "now": "{after_s:.4g}",
            "ratio": "{ratio:.3f}", "95 %": "{low:.3f} to {high:.3f}", "same files": "{same_files}",
        },
        facts={"revision": known.rev},
    )  # fmt: skip
    sys.exit(main(__doc__, experiment))
