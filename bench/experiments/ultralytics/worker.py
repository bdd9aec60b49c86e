"""Ultralytics' networks with random weights that find something, exported and run by themselves."""

import os
import runpy
import tempfile

# Set before the import: it would look for a network, install packages and store settings.
os.environ |= {
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_CONFIG_DIR": tempfile.mkdtemp(),
}

import base64
import functools
import zlib
from pathlib import Path

import cv2
import numpy as np
import torch

NMS = runpy.run_path(str(Path(__file__).parents[2] / "baselines" / "torchvision_nms.py"))
import torchvision  # noqa: E402
from ultralytics import YOLO  # noqa: E402
from ultralytics.data.augment import LetterBox  # noqa: E402
from ultralytics.utils import nms as suppression  # noqa: E402

torchvision.ops.nms = suppression.TorchNMS.nms  # its own, in place of the operator that is absent
suppression.non_max_suppression = functools.partial(
    suppression.non_max_suppression,
    max_time_img=3600.0,  # on a slow machine it gives up in between
)

SPREAD = 1.0
"""Standard deviation of the class scores before their sigmoid."""


def build(*, out, network, nms, height, width, pictures, share, iou, also=()):
    """The network of its own NETWORK.yaml as ONNX, with this ``nms`` of its exporter; the path.

    Its statistics are those of the pictures (paths), and its class scores are spread and moved so
    that at least this share of the cells of each passes a threshold of 0.25. ``also``: more sizes,
    height and width, for which the same weights are exported; another file beside it each.
    """
    torch.manual_seed(0)
    yolo = YOLO(f"{network}.yaml")
    planes = torch.cat([plane(cv2.imread(path), height, width) for path in pictures])
    model = yolo.model.float()
    set_statistics(model, planes)
    convs = class_layers(model.model[-1], end_to_end=nms is False)
    logits = []
    hooks = [
        conv.register_forward_hook(lambda _, __, y: logits.append(y.flatten(2))) for conv in convs
    ]
    model.eval()
    model.end2end = nms is False
    with torch.no_grad():
        model(planes)
        best = torch.cat(logits, 2)
        middle, spread = best.mean(), best.std()
        factor = SPREAD / spread
        best = (best - middle) * factor
        least = best.amax(1).quantile(1 - share, dim=1).min()  # in every picture
        for conv in convs:
            conv.weight *= factor
            conv.bias -= middle
            conv.bias *= factor
            conv.bias -= least - np.log(0.25 / 0.75)
    for hook in hooks:
        hook.remove()
    os.chdir(out)  # where it writes what it exports
    files = []
    for rows, columns in ((height, width), *also):
        file = yolo.export(
            format="onnx", imgsz=(rows, columns), simplify=False, device="cpu", nms=nms, iou=iou
        )
        files.append(Path(file).rename(Path(out) / f"{network}-{nms}-{columns}x{rows}.onnx"))
    return str(files[0])


def results(*, model, task, pictures, height, width, iou):
    """What it finds in each picture, in pixels of the picture."""
    yolo = YOLO(model, task=task)
    found = []
    for path in pictures:
        (result,) = yolo.predict(
            path, imgsz=(height, width), conf=0.25, iou=iou, retina_masks=True, verbose=False
        )
        rows = result.obb if task == "obb" else result.boxes
        found.append(
            {
                "scores": rows.conf.tolist(),
                "classes": rows.cls.tolist(),
                "boxes": (rows.xywhr if task == "obb" else rows.xyxy).tolist(),
                "keypoints": result.keypoints.data.tolist() if task == "pose" else [],
                "masks": packed_masks(result) if task == "segment" else [],
            }
        )
    return found


def packed_masks(result):
    """The masks, each as large as its box, as bits in base 64."""
    masks = []
    boxes = result.boxes.xyxy.tolist()
    for mask, box in zip(result.masks.data.bool().numpy(), boxes, strict=True):
        left, top = (max(int(value) - 1, 0) for value in box[:2])
        right, bottom = (int(value) + 2 for value in box[2:])
        part = mask[top:bottom, left:right]
        assert part.sum() == mask.sum()
        bits = base64.b64encode(zlib.compress(np.packbits(part).tobytes(), 1)).decode()
        masks.append({"origin": [left, top], "shape": part.shape, "bits": bits})
    return masks


def plane(picture, height, width):
    """float32[1,3,H,W] RGB 0..1, as it prepares a picture."""
    fitted = LetterBox((height, width), auto=False)(image=picture)
    return torch.from_numpy(fitted[..., ::-1].transpose(2, 0, 1).copy())[None].float() / 255


def set_statistics(model, planes):
    """Those of every normalization, layer after layer, so that nothing fades or explodes."""
    norms = [part for part in model.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    with torch.no_grad():
        model(planes)


def class_layers(head, end_to_end):
    """The last layer of class scores at each stride."""
    branches = head.one2one_cv3 if end_to_end else head.cv3
    return [branch[-1] for branch in branches]
