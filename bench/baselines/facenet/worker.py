"""facenet-pytorch's MTCNN on its defaults."""

import itertools
import runpy
from pathlib import Path

import cv2

NMS = runpy.run_path(str(Path(__file__).parents[1] / "torchvision_nms.py"))
from facenet_pytorch import MTCNN  # noqa: E402


def results(video, frames, width=0, height=0):
    """Endless (boxes, probabilities, scale to the frame); the first frames, from memory.

    width, height: shrink the frame to this first; 0 gives MTCNN the whole frame.
    """
    detector = MTCNN(keep_all=True, device="cpu")
    for frame in itertools.cycle(read_frames(video, frames)):
        fitted = cv2.resize(frame, (width, height)) if width else frame
        boxes, scores = detector.detect(cv2.cvtColor(fitted, cv2.COLOR_BGR2RGB))
        scale = (frame.shape[1] / fitted.shape[1], frame.shape[0] / fitted.shape[0])
        yield ([], [], scale) if boxes is None else (boxes, scores, scale)


def plain(result):
    boxes, scores, (across, down) = result
    return [
        [float(x1) * across, float(y1) * down, float(x2) * across, float(y2) * down, float(score)]
        for (x1, y1, x2, y2), score in zip(boxes, scores, strict=True)
    ]


def read_frames(video, count):
    capture = cv2.VideoCapture(video)
    return [capture.read()[1] for _ in range(count)]
