"""A tutorial's deployment: torch.onnx.export, a float image made in NumPy, ONNX Runtime."""

import itertools
import runpy
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import torch

NMS = runpy.run_path(str(Path(__file__).parents[1] / "torchvision_nms.py"))
import timm  # noqa: E402

SIZE = 224
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def export(name, pictures, out):
    """timm's architecture as ONNX: random weights, normalization statistics of the pictures."""
    torch.manual_seed(0)
    module = timm.create_model(name, pretrained=False)
    files = sorted(Path(pictures).iterdir())
    planes = np.concatenate([prepare(cv2.imread(str(file))) for file in files])
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None
    with torch.no_grad():
        module.train()(torch.from_numpy(planes))
    torch.onnx.export(
        module.eval(), (torch.from_numpy(planes[:1]),), out, dynamo=True, external_data=False,
        opset_version=20, verbose=False, input_names=["input"], output_names=["logits"],
    )  # fmt: skip


def results(model, video, frames, threads):
    """Endless class indices; the first frames of the video, from memory."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    for frame in itertools.cycle(read_frames(video, frames)):
        (logits,) = session.run(None, {"input": prepare(frame)})
        yield logits.argmax()


def plain(index):
    return int(index)


def prepare(frame):
    """float32[1,3,224,224], normalized."""
    rgb = cv2.cvtColor(cv2.resize(frame, (SIZE, SIZE)), cv2.COLOR_BGR2RGB)
    normal = (rgb.astype(np.float32) / 255 - MEAN) / STD
    return np.ascontiguousarray(normal.transpose(2, 0, 1))[None]


def read_frames(video, count):
    capture = cv2.VideoCapture(video)
    return [capture.read()[1] for _ in range(count)]
