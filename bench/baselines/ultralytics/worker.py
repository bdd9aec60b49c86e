"""Ultralytics: its YOLOv8n, trained on some faces and exported; any network from its ONNX file."""

import os
import runpy
import tempfile

# Set before the import: it would look for a network, install packages and store settings.
os.environ |= {
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_CONFIG_DIR": tempfile.mkdtemp(),
}

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import torch

NMS = runpy.run_path(str(Path(__file__).parents[1] / "torchvision_nms.py"))
from ultralytics import YOLO  # noqa: E402

WIDTH, HEIGHT, GRAY = 640, 384, 114
WINDOW = (320, 192)
"""width, height; a quarter of the frame costs a quarter of the time."""
BATCH, RATE = 8, 2e-3
GAINS = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
"""Weights of its losses, as in its own training."""


def train(out, video, detector, sizes, steps):
    """The network of its own yolov8n.yaml as ONNX, one file per size (height, width), in ``out``.

    Seeded random weights, then so many steps on the video's frames, towards the faces that YuNet
    (``detector``, an ONNX file) finds in them: unless its answers depend on the picture, rounding
    decides where the boxes are.
    """
    torch.manual_seed(0)
    yolo = YOLO("yolov8n.yaml")
    fit(yolo.model, *training_data(video, detector), steps)
    os.chdir(out)  # where it writes what it exports
    for height, width in sizes:
        file = yolo.export(format="onnx", imgsz=(height, width), simplify=False, device="cpu")
        Path(file).rename(f"yolov8n-{width}x{height}.onnx")


def results(model, video, task="detect", size=640):
    """Endless; its documented way to run over a video. size: 640 by default; or height, width."""
    yolo = YOLO(model, task=task)
    while True:
        yield from yolo.predict(video, imgsz=size, stream=True, verbose=False)


def plain(result):
    """outside_ms: its own clock around pre- and postprocessing."""
    boxes, speed = result.boxes, result.speed
    return {
        "result": torch.cat([boxes.xyxy, boxes.conf[:, None]], 1).tolist(),
        "outside_ms": speed["preprocess"] + speed["postprocess"],
    }


def training_data(video, detector):
    """uint8[N,3,384,640] RGB, and each frame's faces as float32[K,4] cx, cy, w, h in its pixels."""
    capture, planes, faces = cv2.VideoCapture(video), [], []
    yunet = cv2.FaceDetectorYN.create(detector, "", (WIDTH, HEIGHT), 0.7)
    while (read := capture.read())[0]:
        height, width = read[1].shape[:2]
        fitted = np.full((HEIGHT, WIDTH, 3), GRAY, np.uint8)
        inside = round(height * WIDTH / width)
        top = (HEIGHT - inside) // 2
        cv2.resize(read[1], (WIDTH, inside), dst=fitted[top : top + inside])
        _, rows = yunet.detect(fitted)
        corners = torch.zeros(0, 4) if rows is None else torch.from_numpy(rows[:, :4])
        faces.append(torch.hstack([corners[:, :2] + corners[:, 2:] / 2, corners[:, 2:]]))
        planes.append(torch.from_numpy(fitted[..., ::-1].transpose(2, 0, 1).copy()))
    return torch.stack(planes), faces


def fit(module, planes, faces, steps):
    """Windows of the frames, its own loss, AdamW, one cycle."""
    args, module.args = module.args, GAINS
    module.train()
    optimizer = torch.optim.AdamW(module.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    rng = np.random.default_rng(0)
    for step in range(steps):
        loss, _ = module(windows(planes, faces, rng))
        optimizer.zero_grad()
        loss.sum().backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 10.0)
        optimizer.step()
        schedule.step()
        print(f"step {step + 1} of {steps}: loss {float(loss.detach().sum()):.1f}", flush=True)
    module.eval()
    module.args = args


def windows(planes, faces, rng):
    """A batch as its loss takes it: boxes as shares of the window, those whose center is in it."""
    pictures, boxes, owners = [], [], []
    for owner in range(BATCH):
        frame = rng.integers(len(planes))
        left, top = rng.integers(WIDTH - WINDOW[0] + 1), rng.integers(HEIGHT - WINDOW[1] + 1)
        pictures.append(planes[frame, :, top : top + WINDOW[1], left : left + WINDOW[0]])
        inside = (faces[frame] - torch.tensor([left, top, 0, 0])) / torch.tensor(WINDOW * 2)
        inside = inside[((inside[:, :2] > 0) & (inside[:, :2] < 1)).all(1)]
        boxes.append(inside)
        owners.append(torch.full((len(inside),), float(owner)))
    return {
        "img": torch.stack(pictures).float() / 255,
        "cls": torch.zeros(sum(map(len, boxes)), 1),
        "bboxes": torch.cat(boxes).float(),
        "batch_idx": torch.cat(owners),
    }
