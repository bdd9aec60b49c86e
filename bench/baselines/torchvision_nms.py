"""The operators of torchvision that packages need which insist on it, where none fits this torch.

Its Python can be imported once two of its operators are declared; the one that is called, nms, is
OpenCV's here, in C++ as torchvision's own is. Hold on to what ``runpy.run_path`` returns: the
operators vanish with LIBRARY.
"""

import cv2
import torch

LIBRARY = torch.library.Library("torchvision", "DEF")
LIBRARY.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
LIBRARY.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def nms(boxes, scores, threshold):
    """Indices of the boxes that stay, best first. float[N,4] x1, y1, x2, y2; float[N], over 0."""
    sized = torch.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).tolist()
    indices = cv2.dnn.NMSBoxes(sized, scores.tolist(), 0.0, threshold)
    return torch.as_tensor(list(indices), dtype=torch.int64)


LIBRARY.impl("nms", nms, "CPU")

import torchvision  # noqa: E402

torchvision.extension._has_ops = lambda: True
