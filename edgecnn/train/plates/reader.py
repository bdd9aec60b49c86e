"""The story of a plate reader's training: rendered crops → network → photographs → checkpoint."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from edgecnn.models.plate_reader import PlateReader
from edgecnn.train.plates.crops import INPUT, Crop, CropMaker
from edgecnn.train.plates.fonts import find_fonts
from edgecnn.train.plates.grammar import CHARSET, choose_grammars, grammars
from edgecnn.train.plates.photographs import PlateImage, read_plates
from edgecnn_export.checkpoint import save_checkpoint
from edgecnn_runtime.bundle.atomic import atomic_file
from edgecnn_runtime.errors import CheckpointError, EdgecnnError
from edgecnn_runtime.types import Pixels

ARCH = "edgecnn.models.plate_reader:PlateReader"
COUNTRY_LOSS = 0.1
"""Weight of the country's loss beside the text's."""
WARM_UP = 500
"""Steps in which the learning rate rises."""
EMA = 0.9995
"""Of the weights that are measured and written: a mean over the last 2000 steps or so."""
IGNORED = -100
STRIDE = 4
"""Pixels of the input for each step."""
STEP_WEIGHTS = torch.tensor([0.1] + [1.0] * len(CHARSET))
"""Of the classes in the loss of single steps: most steps are blank."""
FEW = 16
"""Samples in the checkpoint."""
ALIKE = str.maketrans("OI", "01")
"""Characters that many countries print alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderConfig:
    """Settings of a plate reader's training.

    Attributes:
        out: The checkpoint to write; beside it, ``OUT.state`` is what a training goes on from.
        steps: How many steps there are in all.
        batch: Crops per step.
        lr: The highest learning rate; it falls to nothing in the last third.
        fresh: Crops that are rendered for each step; the others of a batch were used before.
        pool: Crops that are held for reuse.
        countries: Whose plates are rendered; all of them when empty.
        fonts: Folders with fonts.
        measure: Photographs to measure on: tables or folders.
        data: Photographs to train with, beside rendered crops.
        share: The share of a batch that photographs are.
        init_from: A checkpoint whose weights the training begins with.
        seed: Of the crops and of the first weights.
        threads: Of torch.
        every: Steps between two measurements.
        save_every: Seconds between two states.
        device: ``cpu``, ``cuda`` or ``auto``.
    """

    out: Path
    steps: int = 40_000
    batch: int = 32
    lr: float = 2e-3
    fresh: int = 8
    pool: int = 12_000
    countries: tuple[str, ...] = ()
    fonts: tuple[str, ...] = ()
    measure: tuple[Path, ...] = ()
    data: Path | None = None
    share: float = 0.25
    init_from: Path | None = None
    seed: int = 0
    threads: int = 1
    every: int = 2000
    save_every: float = 180.0
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class GroupScore:
    """How well photographs of one folder are read.

    Attributes:
        group: The folder.
        count: How many there are.
        right: How many texts are right, O and 0, I and 1 counted as equal.
        strict: How many are right to the last character.
    """

    group: str
    count: int
    right: int
    strict: int


class ReaderCallbacks(Protocol):
    """Receives the progress of a training."""

    def step(self, done: int, total: int, loss: float) -> None:
        """Called after each step."""

    def measured(self, done: int, scores: Sequence[GroupScore]) -> None:
        """Called after each measurement, the last one included."""


def train_reader(config: ReaderConfig, watch: ReaderCallbacks) -> tuple[GroupScore, ...]:
    """Train a plate reader, going on from its state where there is one.

    Args:
        config: The settings.
        watch: Receives the progress.

    Returns:
        The scores of the last measurement.

    Raises:
        UsageError: A country, a font or a photograph is missing.
        CheckpointError: The state, or ``init_from``, is of another network.
        EdgecnnError: The loss is no number any more.
    """
    torch.set_num_threads(config.threads)
    cv2.setNumThreads(1)
    torch.manual_seed(config.seed)
    training = Training(config)
    scores: tuple[GroupScore, ...] = ()
    saved = time.monotonic()
    while training.step < config.steps:
        watch.step(training.step, config.steps, training.advance())
        last = training.step == config.steps
        if training.step % config.every == 0 or last:
            scores = training.measure()
            watch.measured(training.step, scores)
            training.write()
        if last or time.monotonic() - saved > config.save_every:
            training.save()
            saved = time.monotonic()
    return scores


class Training:
    """A network, its optimizer, and the crops it learns from."""

    def __init__(self, config: ReaderConfig) -> None:
        self._config = config
        self._countries = tuple(grammars())
        self._device = torch.device(_device(config.device))
        self._net = PlateReader(len(CHARSET), len(self._countries)).to(self._device)
        self._net.to(memory_format=torch.channels_last)
        if config.init_from:
            self._load(config.init_from)
        self._mean = torch.optim.swa_utils.AveragedModel(
            self._net,
            multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(EMA),
            use_buffers=True,
        )
        self._optimizer = torch.optim.AdamW(self._net.parameters(), config.lr, weight_decay=1e-3)
        self._photographs = [plate for path in config.measure for plate in read_plates(path)]
        self._own = _examples(read_plates(config.data)) if config.data else None
        maker = CropMaker(choose_grammars(config.countries), find_fonts(config.fonts))
        self.step = 0
        self._state = config.out.with_name(config.out.name + ".state")
        if self._state.exists():
            self._restore()
        self._pool = Pool(maker, config, self._countries, self.step)

    def advance(self) -> float:
        """One step; its loss."""
        config = self._config
        for group in self._optimizer.param_groups:
            group["lr"] = config.lr * _schedule(self.step, config.steps)
        batch = self._pool.batch(self._own)
        loss = self._loss(batch)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call] # torch does not say what it takes
        nn.utils.clip_grad_norm_(self._net.parameters(), 5.0)
        self._optimizer.step()
        self.step += 1
        if self.step < 2 / (1 - EMA):
            self._mean.multi_avg_fn = torch.optim.swa_utils.get_ema_multi_avg_fn(
                min(EMA, (1 + self.step) / (10 + self.step))
            )
        self._mean.update_parameters(self._net)
        value = loss.item()
        if not math.isfinite(value):
            raise EdgecnnError(f"the loss became {value} in step {self.step}: try a lower --lr")
        return value

    def _loss(self, batch: "Batch") -> Tensor:
        self._net.train()
        images = torch.from_numpy(batch.pixels).to(self._device)[:, None].float() / 255
        images = images.contiguous(memory_format=torch.channels_last)
        low = self._device.type == "cuda" or torch.cpu._is_amx_tile_supported()
        with torch.autocast(self._device.type, torch.bfloat16, enabled=low):
            logits, countries = self._net(images)
        half = logits.shape[1] // 2
        likely = logits.float().log_softmax(2)
        text = sum(
            (
                _ctc(part.permute(1, 0, 2), [lines[number] for lines in batch.lines])
                for number, part in enumerate((likely[:, :half], likely[:, half:]))
            ),
            start=torch.zeros((), device=self._device),
        )
        known = torch.tensor(batch.countries, device=self._device)
        steps = torch.from_numpy(batch.steps).to(self._device).flatten()
        if bool((steps != IGNORED).any()):
            weights = STEP_WEIGHTS.to(likely)
            text = text + F.nll_loss(likely.flatten(0, 1), steps, weights, ignore_index=IGNORED)
        return text + COUNTRY_LOSS * F.cross_entropy(countries.float(), known, ignore_index=-1)

    def measure(self) -> tuple[GroupScore, ...]:
        """Read the photographs with the mean of the weights."""
        pixels = [gray(plate.picture) for plate in self._photographs]
        if not pixels:
            return ()
        texts = [reading for reading, _ in read_pictures(self._mean.module, np.stack(pixels))]
        return score_groups(self._photographs, texts)

    def write(self) -> None:
        """Write the checkpoint."""
        samples = self._pool.samples(FEW)
        save_reader(self._config.out, self._mean.module, self._countries, samples)

    def save(self) -> None:
        """Write the state that a training goes on from."""
        with atomic_file(self._state) as path:
            torch.save(
                {
                    "net": self._net.state_dict(),
                    "mean": self._mean.state_dict(),
                    "optimizer": self._optimizer.state_dict(),
                    "step": self.step,
                },
                path,
            )

    def _restore(self) -> None:
        try:
            state = torch.load(self._state, weights_only=True, map_location=self._device)
            self._net.load_state_dict(state["net"])
            self._mean.load_state_dict(state["mean"])
            self._optimizer.load_state_dict(state["optimizer"])
            self.step = int(state["step"])
        except (RuntimeError, KeyError, ValueError, EOFError) as error:
            raise CheckpointError(
                f"{self._state}: cannot be gone on from; remove it to begin anew: {error}"
            ) from None

    def _load(self, path: Path) -> None:
        from edgecnn_export.checkpoint import read_checkpoint

        weights = read_checkpoint(path).state_dict
        try:
            self._net.load_state_dict(
                {
                    name: value.float() if value.is_floating_point() else value
                    for name, value in weights.items()
                }
            )
        except RuntimeError as error:
            raise CheckpointError(f"{path}: is no plate reader of this version: {error}") from None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from.

    Attributes:
        pixels: uint8[B,40,160], gray.
        lines: Class numbers of the upper and of the lower line.
        steps: int64[B,80], the class number of each step: of a character at its middle, of the
            blank away from all; IGNORED between both, or where it is not known.
        countries: Class numbers; -1 where it is not known.
    """

    pixels: NDArray[np.uint8]
    lines: list[tuple[list[int], list[int]]]
    steps: NDArray[np.int64]
    countries: list[int]


class Pool:
    """Rendered crops, of which the oldest are replaced at each step."""

    def __init__(
        self, maker: CropMaker, config: ReaderConfig, countries: Sequence[str], step: int
    ) -> None:
        self._maker, self._config, self._countries = maker, config, countries
        self._random = np.random.default_rng((config.seed, step))
        self._next = step * config.fresh
        self._pixels = np.empty((config.pool, INPUT[1], INPUT[0]), np.uint8)
        self._lines: list[tuple[list[int], list[int]]] = []
        self._steps = np.empty((config.pool, 2 * INPUT[0] // STRIDE), np.int64)
        self._labels: list[int] = []
        self._place = 0
        self._render(min(config.pool, 4 * config.batch))

    def batch(self, own: Batch | None) -> Batch:
        """The next batch; a share of it is ``own``."""
        config = self._config
        self._render(config.fresh)
        count = config.batch if own is None else round(config.batch * (1 - config.share))
        chosen = self._random.integers(0, len(self._lines), count)
        pixels = self._pixels[chosen]
        steps = self._steps[chosen]
        lines = [self._lines[k] for k in chosen]
        labels = [self._labels[k] for k in chosen]
        if own is not None:
            picked = self._random.integers(0, len(own.lines), config.batch - count)
            varied = np.stack([vary(own.pixels[k], self._random) for k in picked])
            pixels = np.concatenate([pixels, varied])
            steps = np.concatenate([steps, own.steps[picked]])
            lines += [own.lines[k] for k in picked]
            labels += [own.countries[k] for k in picked]
        return Batch(pixels, lines, steps, labels)

    def samples(self, count: int) -> Pixels:
        """uint8[N,40,160,3]: crops of other seeds, for export to verify with."""
        return np.stack([self._maker.crop((15, number)).picture for number in range(count)])

    def _render(self, count: int) -> None:
        for _ in range(count):
            crop = self._maker.crop((self._config.seed, self._next))
            upper = crop.lines[0] if len(crop.lines) > 1 else ""
            lines = (classes(upper), classes(crop.lines[-1]))
            label = self._countries.index(crop.country)
            self._pixels[self._place] = gray(crop.picture)
            self._steps[self._place] = step_classes(crop)
            if self._place < len(self._lines):
                self._lines[self._place], self._labels[self._place] = lines, label
            else:
                self._lines.append(lines)
                self._labels.append(label)
            self._place = (self._place + 1) % self._config.pool
            self._next += 1


def gray(picture: Pixels) -> NDArray[np.uint8]:
    """The brightness of a picture, as the exported graph computes it."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)


def classes(text: str) -> list[int]:
    """Class numbers of a text; 0 is the blank."""
    return [1 + CHARSET.index(char) for char in text]


def step_classes(crop: Crop) -> NDArray[np.int64]:
    """What each step should say, int64[80]: where the characters are is known of rendered crops.

    CTC alone needs many thousand steps until it has found that out (A. Graves et al., 2006).
    """
    half = INPUT[0] // STRIDE
    steps = np.zeros((2, half), np.int64)
    for row, text, xs in zip((1, 0), reversed(crop.lines), reversed(crop.columns), strict=False):
        places = np.floor(xs / STRIDE).astype(int)
        for near in (-1, 1):
            around = places + near
            steps[row, around[(around >= 0) & (around < half)]] = IGNORED
        for char, place in zip(text, places, strict=True):
            if 0 <= place < half:
                steps[row, place] = 1 + CHARSET.index(char)
    return steps.ravel()


def read_pictures(net: nn.Module, pixels: NDArray[np.uint8]) -> list[tuple[str, tuple[float, ...]]]:
    """Read pictures by best path.

    Args:
        net: A PlateReader; it is put into evaluation mode.
        pixels: uint8[N,40,160], gray.

    Returns:
        Texts, and the probability of each of their characters.
    """
    net.eval()
    device = next(net.parameters()).device
    with torch.inference_mode():
        batch = torch.from_numpy(pixels).to(device)[:, None].float() / 255
        likely = torch.cat([net(part)[0].softmax(2) for part in torch.split(batch, 64)])
    best, number = (value.cpu().tolist() for value in likely.max(2))
    return [decode(steps, values) for steps, values in zip(number, best, strict=True)]


def decode(steps: Sequence[int], values: Sequence[float]) -> tuple[str, tuple[float, ...]]:
    """Repeats merged, then blanks dropped; a character's probability is that of its first step."""
    text, scores, at = "", [], 0
    for kind, run in groupby(steps):
        if kind:
            text += CHARSET[kind - 1]
            scores.append(values[at])
        at += len(list(run))
    return text, tuple(scores)


def score_groups(plates: Sequence[PlateImage], texts: Sequence[str]) -> tuple[GroupScore, ...]:
    """How well each folder's plates are read."""
    tables: dict[str, list[tuple[bool, bool]]] = {}
    for plate, text in zip(plates, texts, strict=True):
        equal = text.translate(ALIKE) == plate.text.translate(ALIKE)
        tables.setdefault(plate.group, []).append((equal, text == plate.text))
    return tuple(
        GroupScore(group, len(rows), sum(r for r, _ in rows), sum(s for _, s in rows))
        for group, rows in tables.items()
    )


def save_reader(
    path: Path, net: nn.Module, countries: Sequence[str], samples: Pixels | None
) -> None:
    """Write a checkpoint that ``edgecnn export`` takes without a flag."""
    save_checkpoint(
        path,
        net,
        arch=ARCH,
        arch_args={"characters": len(CHARSET), "countries": len(countries)},
        spec=reader_spec(),
        samples=samples,
    )


def reader_spec() -> Mapping[str, Any]:
    """The checkpoint's spec, in the keys of ``ExportConfig``."""
    return {
        "task": "ocr",
        "input": f"{INPUT[0]}x{INPUT[1]}",
        "color": "gray",
        "preset": "unit",
        "resize": "stretch",
        "interpolation": "area",
        "labels": tuple(CHARSET),
    }


def vary(pixels: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """A photograph of a plate as another camera might have taken it, uint8[40,160]."""
    w, h = INPUT
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    moved = corners + random.normal(0, 0.03, (4, 2)) * (w, h)
    matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    turned = cv2.warpPerspective(pixels, matrix, INPUT, borderMode=cv2.BORDER_REPLICATE)
    if random.random() < 0.4:
        turned = cv2.GaussianBlur(turned, (0, 0), random.uniform(0.3, 1.2))
    bright = turned * np.float32(random.uniform(0.6, 1.3)) + np.float32(random.uniform(-25, 40))
    bright += random.normal(0, random.uniform(0, 6), bright.shape).astype(np.float32)
    return np.clip(bright, 0, 255).astype(np.uint8)


def _examples(plates: Sequence[PlateImage]) -> Batch:
    pixels = np.stack([gray(plate.picture) for plate in plates])
    unknown = np.full((len(plates), 2 * INPUT[0] // STRIDE), IGNORED)
    lines: list[tuple[list[int], list[int]]] = [([], classes(plate.text)) for plate in plates]
    return Batch(pixels, lines, unknown, [-1] * len(plates))


def _ctc(likely: Tensor, texts: list[list[int]]) -> Tensor:
    """Mean over the crops of a line's loss; likely is float32[T,B,C]."""
    steps = torch.full((len(texts),), likely.shape[0])
    lengths = torch.tensor([len(text) for text in texts])
    targets = torch.tensor([number for text in texts for number in text] or [0])
    losses = F.ctc_loss(likely, targets, steps, lengths, reduction="none", zero_infinity=True)
    return losses.mean() / 7


def _schedule(step: int, steps: int) -> float:
    """A rise, a plain, and half a cosine down over the last third."""
    rise = min(1.0, (step + 1) / WARM_UP)
    left = max(0.0, min(1.0, (steps - step) / (steps / 3)))
    return rise * (0.01 + 0.99 * (0.5 - 0.5 * math.cos(math.pi * left)))


def _device(name: str) -> str:
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
