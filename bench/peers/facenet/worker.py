"""facenet-pytorch's MTCNN on its defaults."""

import itertools

import cv2
import numpy as np
import torch

# facenet_pytorch imports torchvision, which was built for another torch and asks for these two.
LIBRARY = torch.library.Library("torchvision", "DEF")
LIBRARY.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
LIBRARY.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from facenet_pytorch import MTCNN  # noqa: E402
from facenet_pytorch.models.utils import detect_face  # noqa: E402


def batched_nms(boxes, scores, images, threshold):
    """OpenCV's, in C++ as torchvision's is, which needs the torch it was built for."""
    corners = boxes.numpy().astype(np.float64)
    sized = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
    owners = images.numpy().astype(np.int32)
    kept = cv2.dnn.NMSBoxesBatched(sized, scores.numpy(), owners, 0.0, threshold)
    return torch.as_tensor(np.asarray(kept, np.int64)).flatten()


detect_face.batched_nms = batched_nms


def results(video, frames, width=0, height=0):
    """Endless (boxes, probabilities, frame's size); the first frames, kept in memory.

    width, height: shrink the frame to this first; 0 gives MTCNN the whole frame.
    """
    detector = MTCNN(keep_all=True, device="cpu")
    for frame in itertools.cycle(kept(video, frames)):
        fitted = cv2.resize(frame, (width, height)) if width else frame
        boxes, scores = detector.detect(cv2.cvtColor(fitted, cv2.COLOR_BGR2RGB))
        scale = (frame.shape[1] / fitted.shape[1], frame.shape[0] / fitted.shape[0])
        yield ([], [], scale) if boxes is None else (boxes, scores, scale)


def plain(found):
    boxes, scores, (across, down) = found
    return [
        [float(x1) * across, float(y1) * down, float(x2) * across, float(y2) * down, float(score)]
        for (x1, y1, x2, y2), score in zip(boxes, scores, strict=True)
    ]


def kept(video, count):
    capture = cv2.VideoCapture(video)
    return [capture.read()[1] for _ in range(count)]
