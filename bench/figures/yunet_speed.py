"""Faces in a real 1080p video: a YuNet bundle against OpenCV's own FaceDetectorYN.

Both get the same decoded frames from memory, find faces in them at 640x352 and give boxes in frame
pixels; both are on their defaults. The rounds alternate, so that a busy machine slows both alike.
Reached: every face that OpenCV is sure of (score over 0.8) with IoU ≥ 0.9, at ≥ 2.5 × its rate.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from lib.material import ASSETS, HEIGHT, IOU, SCORE, WIDTH, export_yunet, need_assets, video_frames
from rich.console import Console
from rich.table import Table

from edgecnn_bench.results import write_result
from edgecnn_runtime import Model, load
from edgecnn_runtime.agreement import iou
from edgecnn_runtime.types import Box, Pixels

OPENCVS = ASSETS / "yunet" / "yunet_n_640_640.onnx"
"""The same weights; OpenCV 4 reads only the file of fixed size, and then takes any."""

SURE, OVERLAP, FASTER = 0.8, 0.9, 2.5
ROUNDS, BURST = 12, 35


def main() -> int:
    """Measure, print, write; 0 when everything is reached."""
    need_assets()
    frames = video_frames()
    with tempfile.TemporaryDirectory() as folder:
        model = load(export_yunet(Path(folder), frames), precision="f32", cache_dir=folder)
        detector = cv2.FaceDetectorYN.create(str(OPENCVS), "", (WIDTH, HEIGHT), SCORE, IOU)
        faces = compare(frames, model, detector)
        rounds = race(frames, model, lambda frame: opencv_faces(detector, frame))
        choice = str(model.choice.candidate)
    ratio = [ours / theirs for ours, theirs in rounds]
    reached = faces["missed"] == 0 and float(np.median(ratio)) >= FASTER
    write_result(
        "yunet_speed",
        {
            "choice": choice,
            "frames": len(frames),
            "faces": faces,
            "fps": {
                "edgecnn": [ours for ours, _ in rounds],
                "FaceDetectorYN": [theirs for _, theirs in rounds],
            },
            "ratio": {"median": np.median(ratio), "low": min(ratio), "high": max(ratio)},
            "wanted": {"ratio": FASTER, "iou": OVERLAP},
            "reached": reached,
        },
    )
    table = Table("", "fps, median", "low to high", title=f"YuNet {WIDTH}x{HEIGHT} on 1080p video")
    for name, place in ((choice, 0), ("OpenCV FaceDetectorYN", 1)):
        rates = [pair[place] for pair in rounds]
        table.add_row(name, f"{np.median(rates):.1f}", f"{min(rates):.1f} to {max(rates):.1f}")
    table.add_row("ratio", f"{np.median(ratio):.2f} x", f"{min(ratio):.2f} to {max(ratio):.2f}")
    Console().print(table)
    print(
        f"{faces['sure']} faces over {SURE} in {len(frames)} frames, {faces['missed']} not found "
        f"again, smallest IoU {faces['smallest_iou']:.4f}: {'reached' if reached else 'MISSED'}"
    )
    return 0 if reached else 1


def opencv_faces(detector: Any, frame: Pixels) -> list[tuple[Box, float]]:
    """FaceDetectorYN as its own sample uses it: resize, detect, scale the boxes back."""
    height, width = frame.shape[:2]
    _, rows = detector.detect(cv2.resize(frame, (WIDTH, HEIGHT)))
    if rows is None:
        return []
    across, down = width / WIDTH, height / HEIGHT
    return [
        (
            Box(
                max(x * across, 0.0),
                max(y * down, 0.0),
                min((x + w) * across, width),
                min((y + h) * down, height),
            ),
            score,
        )
        for x, y, w, h, *_, score in rows.tolist()
    ]


def compare(frames: list[Pixels], model: Model, detector: Any) -> dict[str, Any]:
    """How many sure faces of OpenCV's are found again, and how closely."""
    overlaps = []
    for frame in frames:
        found: Any = model(frame)
        for box, score in opencv_faces(detector, frame):
            if score > SURE:
                overlaps.append(max((iou(box, face.box) for face in found), default=0.0))
    return {
        "sure": len(overlaps),
        "missed": sum(overlap < OVERLAP for overlap in overlaps),
        "smallest_iou": min(overlaps),
    }


def race(
    frames: list[Pixels], ours: Callable[[Pixels], object], theirs: Callable[[Pixels], object]
) -> list[tuple[float, float]]:
    """Frames a second of both, in alternating bursts over the same frames."""
    rounds = []
    for number in range(ROUNDS + 1):
        burst = [frames[(number * BURST + i) % len(frames)] for i in range(BURST)]
        order = (ours, theirs) if number % 2 else (theirs, ours)
        rates = {detect: rate(detect, burst) for detect in order}
        rounds.append((rates[ours], rates[theirs]))
    return rounds[1:]  # the first one warms up


def rate(detect: Callable[[Pixels], object], frames: list[Pixels]) -> float:
    """Frames a second."""
    start = time.perf_counter()
    for frame in frames:
        detect(frame)
    return len(frames) / (time.perf_counter() - start)


if __name__ == "__main__":
    sys.exit(main())
