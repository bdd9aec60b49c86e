"""Real frames and a real model to measure with, where the test material is present."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgecnn_runtime.types import Pixels

ASSETS = Path(__file__).parents[4] / "shared" / "assets"
YUNET = ASSETS / "yunet" / "yunet_n_dynamic.onnx"
WIDTH, HEIGHT = 640, 352
SCORE, IOU = 0.6, 0.3


def need_assets() -> None:
    """End the script, saying so, where the test material is absent."""
    if not ASSETS.is_dir():
        print(f"skipped: needs the test material in {ASSETS}")
        sys.exit(0)


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

    Three quarters of them to calibrate with, and of the rest those that no picture of
    ``timm_models.photographs`` is among.
    """
    files = sorted((ASSETS / "plates" / "scenes").glob("*/*.jpg"))
    scenes = [np.asarray(cv2.imread(str(file)), np.uint8) for file in files]
    halves = [half for scene in scenes for half in np.array_split(scene, 2, axis=1)]
    frames = video_frames()
    known, rest = len(scenes) * 3 // 4, len(frames) * 3 // 4
    calibration = [*halves[: 2 * known], *scenes[:known], *frames[:rest]]
    return calibration, [*scenes[known + 1 :: 2], *frames[rest + 5 :: 2]]  # it takes even ones


def export_yunet(folder: Path, frames: list[Pixels]) -> Path:
    """The YuNet ONNX as a bundle at 640x352, verified on some of the frames.

    In a process of its own: torch's heap has no place beside what is measured.
    """
    pictures = folder / "pictures"
    pictures.mkdir()
    for number, frame in enumerate(frames[:: max(len(frames) // 16, 1)]):
        cv2.imwrite(str(pictures / f"{number:03d}.png"), frame)
    (folder / "labels.txt").write_text("face\n")
    bundle = folder / "yunet.edge"
    command = (
        f"export {YUNET} --out {bundle} --input {WIDTH}x{HEIGHT} --task detect --head yunet "
        f"--score {SCORE} --iou {IOU} --preset raw --color bgr --resize stretch "
        f"--labels {folder / 'labels.txt'} --images {pictures}"
    )
    subprocess.run([sys.executable, "-m", "edgecnn", *command.split()], check=True, stdout=2)
    return bundle
