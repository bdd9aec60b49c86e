"""Real frames and a real model to measure with, where the test material is present."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgecnn_runtime.types import Pixels

ASSETS = Path(__file__).parents[4] / "shared" / "assets"
YUNET = ASSETS / "yunet" / "yunet_n_dynamic.onnx"
WIDTH, HEIGHT = 640, 352
SCORE, IOU = 0.6, 0.3


def video_frames(limit: int = 1000) -> list[Pixels]:
    """Frames of the face video, uint8[1080,1920,3] BGR."""
    capture = cv2.VideoCapture(str(ASSETS / "faces" / "video.mp4"))
    frames: list[Any] = []
    while len(frames) < limit and (read := capture.read())[0]:
        frames.append(read[1])
    capture.release()
    return frames


def photographs_apart() -> tuple[list[Pixels], list[Pixels]]:
    """Photographs uint8[H,W,3] BGR of any sizes: streets and cars from near and far, people.

    Three quarters of them, to calibrate with, and every second one of the rest: those that
    ``timm_models.photographs`` does not use.
    """
    files = sorted((ASSETS / "plates" / "scenes").glob("*/*.jpg"))
    scenes = [np.asarray(cv2.imread(str(file)), np.uint8) for file in files]
    halves = [half for scene in scenes for half in np.array_split(scene, 2, axis=1)]
    frames = video_frames()
    first, second = len(scenes) * 3 // 4, len(frames) * 3 // 4
    calibration = [*halves[: 2 * first], *scenes[:first], *frames[:second]]
    return calibration, [*scenes[first + 1 :: 2], *frames[second + 5 :: 2]]  # it uses even ones


def write_pictures(folder: Path, pictures: Iterable[Pixels]) -> Path:
    """Write uint8[H,W,3] BGR or uint8[H,W] as PNGs, numbered, into a new folder."""
    folder.mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number:05d}.png"), picture)
    return folder


def export_yunet(folder: Path, frames: list[Pixels], more: str = "") -> Path:
    """The YuNet ONNX as a bundle at 640x352, verified on some of the frames; ``more`` flags.

    Exported in a process of its own, so that torch's heap is not beside what is measured.
    """
    pictures = write_pictures(folder / "pictures", frames[:: max(len(frames) // 16, 1)])
    (folder / "labels.txt").write_text("face\n")
    bundle = folder / "yunet.edge"
    command = (
        f"export {YUNET} --out {bundle} --input {WIDTH}x{HEIGHT} --task detect --head yunet "
        f"--score {SCORE} --iou {IOU} --preset raw --color bgr --resize stretch "
        f"--labels {folder / 'labels.txt'} --images {pictures} {more}"
    )
    subprocess.run([sys.executable, "-m", "edgecnn", *command.split()], check=True, stdout=2)
    return bundle
