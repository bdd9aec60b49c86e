"""What the networks of packages have in common: random weights that find something, and results."""

import os
import runpy
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "ORT_DISABLE_TELEMETRY": "1"}
NMS = runpy.run_path(str(Path(__file__).parents[2] / "baselines" / "torchvision_nms.py"))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

SHARE = 0.03
"""Of the rows of a table, at least so many pass the threshold in a picture that counts."""


def resized(picture, width, height):
    """uint8[height,width,3], the picture stretched as OpenCV does it."""
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)


def letterboxed(picture, width, height, value, *, corner=False):
    """uint8[height,width,3] with the picture in the middle, or in the left upper corner.

    Returns it, the picture's scale, which its sides have to within half a pixel, and its left upper
    corner.
    """
    rows, columns = picture.shape[:2]
    scale = min(width / columns, height / rows)
    inner = round(columns * scale), round(rows * scale)
    left, top = (0, 0) if corner else ((width - inner[0]) // 2, (height - inner[1]) // 2)
    canvas = np.full((height, width, 3), value, np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = resized(picture, *inner)
    return canvas, scale, (left, top)


def plane(image, mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0), rgb=True):
    """float32[1,3,H,W] of uint8[H,W,3] BGR; mean and std in the order of the channels given out."""
    pixels = image[..., ::-1] if rgb else image
    pixels = (pixels.astype(np.float32) - np.float32(mean)) / np.float32(std)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]


@torch.no_grad()
def set_statistics(model, planes):
    """Those of every normalization, layer after layer, so that nothing fades or explodes."""
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None
    model.train()
    model(planes)
    model.eval()


@torch.no_grad()
def spread(layers, run, threshold, *, share=SHARE, deviation=1.0, background=None):
    """Scale and move the class scores of some layers, so that enough pass in most pictures.

    layers: Each a convolution or a linear layer, with the indices of its outputs that are classes.
    run: Runs the network on all pictures.
    threshold: A probability, of a sigmoid, or of a softmax with this column as its background.
    """
    taken = []
    hooks = [
        layer.register_forward_hook(
            lambda _, __, y, rows=rows: taken.append(
                (y if y.dim() == 4 else y.movedim(-1, 1))[:, rows].flatten(2)
            )
        )
        for layer, rows in layers
    ]
    run()
    for hook in hooks:
        hook.remove()
    if background is not None:
        taken = [y[:, [i for i in range(y.shape[1]) if i != background]] for y in taken]
    logits = torch.cat([y.flatten(1) for y in taken], 1)
    middle, factor = logits.mean(), deviation / logits.std()
    best = (torch.cat([y.amax(1) for y in taken], 1) - middle) * factor
    wanted = np.log(threshold / (1 - threshold))
    if background is not None:  # the others of a softmax, at most
        wanted += np.log(taken[0].shape[1])
    passing = best.quantile(1 - share, dim=1).sort().values
    shift = wanted - passing[len(passing) // 6]  # a few pictures may be as good as empty
    for layer, rows in layers:
        places = np.arange(layer.weight.shape[0])[rows]
        places = [i for n, i in enumerate(places) if n != background]
        layer.weight[places] *= factor
        layer.bias[places] = (layer.bias[places] - middle) * factor + shift
        if background is not None:
            none = np.arange(layer.weight.shape[0])[rows][background]
            layer.weight[none], layer.bias[none] = 0.0, 0.0


@torch.no_grad()
def sure(layer, rows):
    """Objectness that is nearly one and differs from place to place."""
    places = np.arange(layer.weight.shape[0])[rows]
    layer.weight[places] *= 0.1
    layer.bias[places] = 3.0


def to_onnx(model, example, file, outputs, **options):
    """Write a network as ONNX, by the exporter that follows one example; the path."""
    torch.onnx.export(
        model, example, str(file), input_names=["images"], output_names=outputs,
        opset_version=17, dynamo=False, **options,
    )  # fmt: skip
    return str(file)


def plain(boxes, scores, classes, picture, keypoints=()):
    """What is found in a picture: lists; boxes are cut at its edge, as ours are."""
    rows, columns = picture.shape[:2]
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, columns)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, rows)
    return {
        "boxes": boxes.tolist(),
        "scores": np.asarray(scores, np.float64).reshape(-1).tolist(),
        "classes": np.asarray(classes, np.int64).reshape(-1).tolist(),
        "keypoints": np.asarray(keypoints, np.float64).tolist(),
        "masks": [],
    }


def read(paths):
    """uint8[H,W,3] BGR of each file."""
    return [cv2.imread(path) for path in paths]
