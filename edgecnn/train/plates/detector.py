"""The story of a plate detector's training: rendered scenes → network → photographs → checkpoint.

No photograph of a plate is trained on. Scenes are made while the network learns.
"""

import math
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch import nn

from edgecnn.models.plate_detector import CORNERS, STRIDES, PlateDetector
from edgecnn.train.plates.corner_loss import corner_loss
from edgecnn.train.plates.detector_config import DetectorConfig
from edgecnn.train.plates.fonts import find_fonts
from edgecnn.train.plates.grammar import choose_grammars
from edgecnn.train.plates.scenes import NARROWEST, PAD, Scene, SceneMaker
from edgecnn.train.plates.scenes_backgrounds import read_backgrounds
from edgecnn.train.plates.scenes_faces import rendered_faces
from edgecnn.train.plates.scenes_photographs import (
    Finder,
    RegionScore,
    measure,
    read_photographs,
    summarize,
)
from edgecnn.train.plates.training_state import choose_device, restore_state, save_state
from edgecnn.train.pretrained import load_pretrained
from edgecnn_export.checkpoint import save_checkpoint
from edgecnn_runtime.bundle.manifest import Input, ModelSpec, Normalization, Output, Yolo
from edgecnn_runtime.decode.yolo import YoloDecoder
from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.preprocess import Preprocessor
from edgecnn_runtime.types import Detection, Pixels

ARCH = "edgecnn.models.plate_detector:PlateDetector"
WIDTH, HEIGHT = 640, 384
"""Of the exported network's input, in pixels."""
SCORE = 0.4
SPEC: dict[str, Any] = {
    "task": "detect", "head": "yolov8", "input": f"{WIDTH}x{HEIGHT}", "color": "bgr",
    "preset": "unit", "resize": "letterbox", "labels": ("plate",), "score": SCORE,
    "decode": {"points": CORNERS, "point_dims": 2},
}  # fmt: skip
WARM_UP, COOL_DOWN = 200, 0.25
"""Steps in which the learning rate rises, and the share of all steps in which it falls to zero."""
AVERAGE = 0.998
"""Of the weights that are measured and written: a mean over the last 500 steps or so."""
DECAY, CLIP = 0.02, 10.0
"""Of the weights in each step, and of the gradient's length."""
POOL = 1200
"""Scenes that are held to be used again."""
ZOOM = 0.5
"""How far, as a logarithm, they are then scaled."""
SAMPLES = 16
SAMPLE_SEED = 1 << 60
"""No scene that is trained on has a seed as high."""


class DetectorCallbacks(Protocol):
    """Receives the progress of a training."""

    def reading(self, photographs: int) -> None:
        """Called once, with the number of photographs behind the scenes."""

    def step(self, done: int, total: int, loss: float) -> None:
        """Called after each step."""


def train_detector(config: DetectorConfig, watch: DetectorCallbacks) -> list[RegionScore]:
    """Train a plate detector, going on from its state where there is one.

    It writes a checkpoint that ``edgecnn export`` takes without a flag.

    Args:
        config: The settings.
        watch: Receives the progress.

    Returns:
        What it finds in ``config.photographs``, by region; empty without any.

    Raises:
        UsageError: Photographs are missing.
        CheckpointError: The state, or ``init_from``, is of another network.
        EdgecnnError: The loss is no number any more, or a file cannot be written.
    """
    torch.set_num_threads(config.threads)
    cv2.setNumThreads(1)
    torch.manual_seed(config.seed)
    photographs = read_photographs(config.photographs) if config.photographs else []
    backgrounds = read_backgrounds(config.backgrounds)
    watch.reading(len(backgrounds))
    faces = rendered_faces(choose_grammars(()), find_fonts(config.fonts))
    training = Training(config, SceneMaker(faces, backgrounds))
    saved = time.monotonic()
    while training.step < config.steps:
        loss = training.advance()
        watch.step(training.step, config.steps, loss)
        if time.monotonic() - saved > config.save_every or training.step == config.steps:
            training.save()
            saved = time.monotonic()
    return summarize(measure(finder(training.average), photographs)) if photographs else []


def finder(network: nn.Module, score: float = SCORE) -> Finder:
    """A network as the runtime runs its export: the same letterbox, the same decoder.

    Args:
        network: A ``PlateDetector``; it is put into evaluation mode.
        score: Detections below it are dropped.
    """
    normalization = Normalization(mean=(0.0,) * 3, std=(255.0,) * 3, origin="preset")
    spec = Input(
        width=WIDTH, height=HEIGHT, color="bgr", normalization=normalization, resize="letterbox"
    )
    cells = sum((WIDTH // stride) * (HEIGHT // stride) for stride in STRIDES)
    output = Output(name="plates", dtype="float32", shape=(None, 5 + 2 * CORNERS, cells))
    head = Yolo(output="plates", layout="v8", classes=1, points=CORNERS, score=score)
    model = ModelSpec(
        task="detect", input=spec, outputs=(output,), decode=head, labels=("plate",), batch=None
    )
    pixels = np.empty((1, HEIGHT, WIDTH, 3), np.uint8)
    preprocessor, decoder = Preprocessor(spec, pixels), YoloDecoder(head, model)
    network.eval()
    device = next(network.parameters()).device

    def find(picture: Pixels) -> list[Detection]:
        geometry = preprocessor.load_frame(picture)
        with torch.inference_mode():
            planes = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 255
            table = network(planes).float().cpu().numpy()
        return decoder.decode({"plates": table}, 0, geometry)

    return find


class Training:
    """A network, the mean of its weights, its optimizer, and the scenes it learns from.

    Attributes:
        step: Steps that are done.
        average: The network with the mean of the weights.
    """

    def __init__(self, config: DetectorConfig, maker: SceneMaker) -> None:
        self._config, self._maker, self.step = config, maker, 0
        device = choose_device(config.device)
        self._network, self.average = PlateDetector().to(device), PlateDetector().to(device)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's overloads lack it
        if config.init_from:
            load_pretrained(self._network, config.init_from, (), "")
        self.average.load_state_dict(self._network.state_dict())
        weights: list[nn.Parameter] = []
        biases: list[nn.Parameter] = []
        for parameter in self._network.parameters():
            (weights if parameter.ndim > 1 else biases).append(parameter)
        groups = [{"params": weights, "weight_decay": DECAY}, {"params": biases, "weight_decay": 0}]
        self._optimizer = torch.optim.AdamW(groups, config.lr)
        self._state = Path(config.out + ".state")
        if self._state.exists():
            parts = self._network, self.average, self._optimizer
            self.step = restore_state(self._state, *parts, device)
        self._scenes = _scenes(config, maker, self.step)
        self._samples: Pixels | None = None

    def advance(self) -> float:
        """One step; its loss.

        Raises:
            EdgecnnError: It is no number any more.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = self._config.lr * _schedule(self.step, self._config.steps)
        self._network.train()
        loss = corner_loss(self._network, list(islice(self._scenes, self._config.batch)))
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch does not say what it takes
        nn.utils.clip_grad_norm_(self._network.parameters(), CLIP)
        self._optimizer.step()
        self.step += 1
        self._follow()
        value = loss.item()
        if not math.isfinite(value):
            raise EdgecnnError(
                f"the loss became {value} in step {self.step}: "
                f"remove {self._state} and try --lr {self._config.lr / 4:g}"
            )
        return value

    def save(self) -> None:
        """Write the state that a training goes on from, and the checkpoint."""
        save_state(self._state, self._network, self.average, self._optimizer, self.step)
        if self._samples is None:
            self._samples = _samples(self._maker)
        weights = self.average.state_dict()
        save_checkpoint(
            self._config.out,
            {name: v.half() if v.is_floating_point() else v for name, v in weights.items()},
            arch=ARCH,
            arch_args={},
            spec=SPEC,
            samples=self._samples,
        )

    def _follow(self) -> None:
        """Let the mean of the weights follow them; faster in the beginning."""
        share = 1 - min(AVERAGE, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            ours = self._network.state_dict()
            for name, value in self.average.state_dict().items():
                if value.is_floating_point():
                    value.lerp_(ours[name], share)


def moved(scene: Scene, random: np.random.Generator) -> Scene:
    """The same scene in other light, scaled and moved; itself if that would cut a plate.

    No plate becomes narrower than NARROWEST: as small, any bright rectangle could be one.
    """
    h, w = scene.pixels.shape[:2]
    widths = np.ptp(scene.plates[..., 0], axis=1)
    least = min(0.0, float(np.log(NARROWEST / widths.min()))) if len(widths) else -ZOOM
    zoom = float(np.exp(random.uniform(max(-ZOOM, least), ZOOM)))
    spare = np.array([w, h]) * (1 - zoom)
    shift = random.uniform(np.minimum(spare, 0), np.maximum(spare, 0))
    plates = (scene.plates * zoom + shift).astype(np.float32)
    low, high = plates.min(1), plates.max(1)
    whole = (low >= 0).all(1) & (high <= [w, h]).all(1)
    outside = (high <= 0).any(1) | (low >= [w, h]).any(1)
    if not (whole | outside).all():
        return scene
    matrix = np.array([[zoom, 0, shift[0] + zoom / 2 - 0.5], [0, zoom, shift[1] + zoom / 2 - 0.5]])
    pixels = cv2.warpAffine(scene.pixels, matrix, (w, h), borderValue=PAD)
    gain = random.uniform(0.8, 1.2, 3) * random.uniform(0.8, 1.15)
    return Scene(np.clip(pixels * gain, 0, 255).astype(np.uint8), plates[whole])


def _scenes(config: DetectorConfig, maker: SceneMaker, step: int) -> Iterator[Scene]:
    """Endless scenes: of each batch some new ones, then earlier ones."""
    random = np.random.default_rng((config.seed, step))
    pool: list[Scene] = []
    first = (config.seed << 40) + step * config.batch
    for number in count():
        if number % config.batch >= config.fresh and pool:
            yield moved(pool[random.integers(len(pool))], random)
            continue
        scene = maker.scene(first + number, (config.width, config.height))
        if len(pool) < POOL:
            pool.append(scene)
        else:
            pool[random.integers(POOL)] = scene
        yield scene


def _samples(maker: SceneMaker) -> Pixels:
    """uint8[N,h,w,3]: a few scenes for export to verify with, small so that the file is."""
    size = (WIDTH // 2, HEIGHT // 2)
    scenes = [maker.scene(SAMPLE_SEED + k, size) for k in range(SAMPLES)]
    return np.stack([scene.pixels for scene in scenes])


def _schedule(step: int, steps: int) -> float:
    """The learning rate's share of the highest one."""
    return min(1.0, (step + 1) / WARM_UP, (steps - step) / max(1.0, COOL_DOWN * steps))
