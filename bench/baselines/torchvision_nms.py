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
    """Indices of the boxes that stay, best first. float[N,4] x1, y1, x2, y2; float[N], over 0.

    A box without an area overlaps none; OpenCV would take it for one that covers all others.
    """
    usable = (boxes[:, 2:] > boxes[:, :2]).all(1)
    proper, empty = usable.nonzero()[:, 0], (~usable).nonzero()[:, 0]
    sized = torch.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])[proper].tolist()
    indices = cv2.dnn.NMSBoxes(sized, scores[proper].tolist(), 0.0, threshold)
    stay = torch.cat([proper[torch.as_tensor(list(indices), dtype=torch.int64)], empty])
    return stay[scores[stay].argsort(descending=True, stable=True)]


LIBRARY.impl("nms", nms, "CPU")

import torchvision  # noqa: E402

torchvision.extension._has_ops = lambda: True
