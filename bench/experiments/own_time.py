"""Our own time a frame: resizing and decoding, all that is not the engine or the video decoder.

Real 1080p frames, linear interpolation. An engine runs between the two steps, so that both find
the caches and the cores as they are in use. The YOLOv8n head carries a busy street: 30 objects of
80 classes, 8 anchors over the threshold for each. Reached: ≤ 1.2 ms and ≤ 1.5 ms, the median.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from lib.material import export_yunet, need_assets, video_frames
from rich.console import Console
from rich.table import Table

from edgecnn_bench.reference_workload import ReferenceWorkload
from edgecnn_bench.results import write_result
from edgecnn_runtime import Model, load
from edgecnn_runtime.backends.fake import Fake
from edgecnn_runtime.bundle.manifest import Output, Yolo
from edgecnn_runtime.selection.candidates import Candidate, Choice
from edgecnn_runtime.types import Floats, Pixels, Tensors

ROUNDS, BURST = 12, 30
WANTED = {"YOLOv8n head 640x384": 1.2, "YuNet 640x352": 1.5}
OBJECTS, ANCHORS = 30, 8


def main() -> int:
    """Measure, print, write; 0 when everything is reached."""
    need_assets()
    frames = video_frames(60)
    with tempfile.TemporaryDirectory() as folder:
        yunet = load(export_yunet(Path(folder), frames), precision="f32", cache_dir=folder)
        models = dict(zip(WANTED, (yolo_after(yunet), yunet), strict=True))
        found = measure(models, frames)
    rows = {
        name: {
            "prepare_ms": steps[:, 0],
            "decode_ms": steps[:, 1],
            "own_ms": {q: np.percentile(steps.sum(1), q) for q in (10, 50, 90, 99)},
            "wanted_ms": WANTED[name],
            "reached": bool(np.median(steps.sum(1)) <= WANTED[name]),
        }
        for name, steps in found.items()
        if name in WANTED
    }
    write_result("own_time", {"rows": rows, "reference_ms": np.median(found["reference"])})
    table = Table(
        "", "prepare", "decode", "own, p50", "p10", "p90", "wanted",
        title="ms a frame outside the engine, from 1080p",
    )  # fmt: skip
    for name, row in rows.items():
        own = row["own_ms"]
        steps = (np.median(row["prepare_ms"]), np.median(row["decode_ms"]))
        table.add_row(
            name, *(f"{value:.2f}" for value in (*steps, own[50], own[10], own[90])),
            f"≤ {row['wanted_ms']}" + ("" if row["reached"] else "  NOT REACHED"),
        )  # fmt: skip
    Console().print(table)
    print(f"the reference workload took {np.median(found['reference']):.2f} ms meanwhile")
    return 0 if all(row["reached"] for row in rows.values()) else 1


def measure(models: dict[str, Model], frames: list[Pixels]) -> dict[str, Any]:
    """Milliseconds of prepare and decode, float[frames,2] by model, in alternating bursts."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    reference, work = ReferenceWorkload(), []
    clock = time.perf_counter
    for number in range(ROUNDS):
        for name, model in models.items():
            work.extend(reference.burst(0.03))
            for i in range(BURST):
                frame = frames[(number * BURST + i) % len(frames)]
                start = clock()
                geometry = model.prepare(frame)
                prepared = clock()
                outputs = model.infer()
                inferred = clock()
                model.decode(outputs, 0, geometry)
                end = clock()
                found[name].append((prepared - start, end - inferred))
    times: dict[str, Any] = {name: np.array(pairs) * 1e3 for name, pairs in found.items()}
    return times | {"reference": np.array(work) / 1e6}


def yolo_after(engine: Model) -> Model:
    """A model with a YOLOv8n head at 640x384; where its engine would run, ``engine`` does."""
    seen, head = engine.manifest, street()
    anchors = head.shape[2]
    spec = msgspec.structs.replace(
        seen.model,
        input=msgspec.structs.replace(seen.model.input, width=640, height=384, resize="letterbox"),
        outputs=(Output(name="output0", dtype="float32", shape=(None, 84, anchors)),),
        decode=Yolo(output="output0", layout="v8", classes=80),
        labels=tuple(f"class {i}" for i in range(80)),
    )
    manifest = msgspec.structs.replace(seen, model=spec)

    def answer(_: Pixels) -> Tensors:
        engine.infer()
        return {"output0": head}

    candidate = Candidate(seen.artifacts[0], "fake", "f32", 1, "its head is given")
    return Model(manifest, Fake((1, 384, 640, 3), answer), Choice(candidate))


def street() -> Floats:
    """float32[1,84,5040]: noise under the threshold, and every object seen by some anchors."""
    rng = np.random.default_rng(8)
    head = np.empty((1, 84, 5040), np.float32)
    head[0, :4] = rng.uniform(10, 300, (4, 5040))
    head[0, 4:] = rng.uniform(0, 0.1, (80, 5040)) ** 2
    places = rng.permutation(5040)[: OBJECTS * ANCHORS].reshape(OBJECTS, ANCHORS)
    for anchors in places:
        center = rng.uniform((40, 40), (600, 340))
        size = rng.uniform(20, 90, 2)
        kind = 4 + rng.integers(80)
        for anchor in anchors:
            head[0, :4, anchor] = np.concatenate((center, size)) + rng.normal(0, 1.5, 4)
            head[0, kind, anchor] = rng.uniform(0.3, 0.95)
    return head


if __name__ == "__main__":
    sys.exit(main())
