"""The story of a plate reader's training: rendered crops → network → photographs → checkpoint."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecnn.models.plate_reader import PlateReader
from edgecnn.train.plates.crops import INPUT, CropMaker
from edgecnn.train.plates.fonts import find_fonts
from edgecnn.train.plates.grammar import CHARSET, choose_grammars, grammars, read_grammar
from edgecnn.train.plates.photographs import read_plates
from edgecnn.train.plates.reader_batches import IGNORED, STEPS, Batch, Pool, examples
from edgecnn.train.plates.reader_config import ReaderConfig
from edgecnn.train.plates.readings import GroupScore, read_plate_images, score_groups
from edgecnn.train.plates.training_state import (
    choose_device,
    prefers_bfloat16,
    restore_state,
    save_state,
)
from edgecnn.train.pretrained import load_pretrained
from edgecnn_export.checkpoint import save_checkpoint
from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.types import Pixels

ARCH = "edgecnn.models.plate_reader:PlateReader"
COUNTRY_LOSS = 0.1
"""Weight of the country's loss beside the text's."""
STEP_WEIGHTS = torch.tensor([0.1] + [1.0 if char.isascii() else 3.0 for char in CHARSET])
"""Of the classes in the loss of single steps: most are blank, and Chinese ones are rare."""
WARM_UP = 300
"""Steps in which the learning rate rises."""
DECAY = 0.9995
"""Of the mean of the weights, which is what is measured and written."""
SAMPLES = 16
"""Crops in the checkpoint, for export to verify with."""


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
        The scores of the last measurement; empty without photographs.

    Raises:
        UsageError: A country, a font or a photograph is missing.
        ConfigError: A grammar file is wrong.
        CheckpointError: The state, or ``init_from``, is of another network.
        EdgecnnError: The loss is no number any more.
    """
    torch.set_num_threads(config.threads)
    cv2.setNumThreads(1)
    torch.manual_seed(config.seed)
    training = Training(config)
    saved = time.monotonic()
    while training.done < config.steps:
        loss = training.step()
        watch.step(training.done, config.steps, loss)
        last = training.done == config.steps
        if training.done % config.measure_every == 0 and not last:
            watch.measured(training.done, training.measure())
            training.write()
        if last or time.monotonic() - saved > config.save_every:
            training.save()
            saved = time.monotonic()
    training.write()
    scores = training.measure()
    watch.measured(training.done, scores)
    return scores


class Training:
    """A network, its optimizer, and the crops that it learns from.

    Attributes:
        done: Steps so far.
    """

    def __init__(self, config: ReaderConfig) -> None:
        """Begin, or go on from the state.

        Args:
            config: The settings.
        """
        self.done = 0
        self._config = config
        self._countries = tuple(grammars())
        self._device = choose_device(config.device)
        self._net = PlateReader(len(CHARSET), len(self._countries)).to(self._device)
        load_pretrained(self._net, config.init_from, (), "")
        self._mean = PlateReader(len(CHARSET), len(self._countries)).to(self._device)
        self._mean.load_state_dict(self._net.state_dict())
        self._optimizer = torch.optim.AdamW(self._net.parameters(), config.lr, weight_decay=1e-3)
        self._plates = [plate for path in config.photographs for plate in read_plates(path)]
        self._own = examples(read_plates(config.data)) if config.data else None
        countries = [*choose_grammars(config.countries), *map(read_grammar, config.grammars)]
        self._maker = CropMaker(countries, find_fonts(config.fonts))
        self._state = Path(f"{config.out}.state")
        if self._state.exists():
            parts = self._net, self._mean, self._optimizer
            self.done = restore_state(self._state, *parts, self._device)
        self._pool = Pool(self._maker, config, self._countries, self.done)

    def step(self) -> float:
        """Learn from one batch; its loss."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._config.lr * _schedule(self.done, self._config.steps)
        loss = self._loss(self._pool.batch(self._own))
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call] # torch does not say what it takes
        nn.utils.clip_grad_norm_(self._net.parameters(), 5.0)
        self._optimizer.step()
        self.done += 1
        self._average()
        value = loss.item()
        if not math.isfinite(value):
            raise EdgecnnError(
                f"the loss became {value} in step {self.done}: try --lr {self._config.lr / 10:g}"
            )
        return value

    def measure(self) -> tuple[GroupScore, ...]:
        """Read the photographs with the mean of the weights."""
        return score_groups(self._plates, read_plate_images(self._mean, self._plates))

    def write(self) -> None:
        """Write the checkpoint."""
        crops = [self._maker.crop((15, 1 << 40, number)) for number in range(SAMPLES)]
        samples = np.stack([crop.picture for crop in crops])
        save_reader(self._config.out, self._mean, self._countries, samples)

    def save(self) -> None:
        """Write the state that a training goes on from."""
        save_state(self._state, self._net, self._mean, self._optimizer, self.done)

    def _loss(self, batch: Batch) -> Tensor:
        """CTC of both lines, the classes of the steps, and the country."""
        self._net.train()
        pixels = torch.from_numpy(batch.pixels).to(self._device)
        images = (pixels[:, None].float() / 255).contiguous(memory_format=torch.channels_last)
        with torch.autocast(
            self._device.type, torch.bfloat16, enabled=prefers_bfloat16(self._device)
        ):
            logits, countries = self._net(images)
        likely = logits.float().log_softmax(2)
        upper, lower = likely[:, :STEPS], likely[:, STEPS:]
        loss = _ctc(upper, [lines[0] for lines in batch.lines])
        loss = loss + _ctc(lower, [lines[1] for lines in batch.lines])
        loss = loss + COUNTRY_LOSS * _nll(countries.float().log_softmax(1), batch.countries)
        return loss + _nll(likely.flatten(0, 1), batch.steps.ravel(), STEP_WEIGHTS)

    def _average(self) -> None:
        """Move the mean of the weights; the more slowly, the more of them there have been."""
        share = max(1 - DECAY, 9 / (10 + self.done))
        with torch.no_grad():
            for mean, new in zip(
                self._mean.state_dict().values(), self._net.state_dict().values(), strict=True
            ):
                if mean.is_floating_point():
                    mean.lerp_(new, share)
                else:
                    mean.copy_(new)


def save_reader(
    out: str | Path, net: nn.Module, countries: Sequence[str], samples: Pixels | None
) -> None:
    """Write a checkpoint that ``edgecnn export`` takes without a flag.

    Args:
        out: The file.
        net: A PlateReader.
        countries: The classes of its second output.
        samples: uint8[N,40,160,3] BGR, for export to verify with.
    """
    save_checkpoint(
        out,
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


def _ctc(likely: Tensor, texts: list[list[int]]) -> Tensor:
    """Mean over the crops of a line's loss, for each character of a usual plate."""
    if not any(texts):  # which F.ctc_loss does not take
        return -likely[:, :, 0].sum(1).mean() / 7
    steps = torch.full((len(texts),), likely.shape[1])
    lengths = torch.tensor([len(text) for text in texts])
    targets = torch.tensor([number for text in texts for number in text])
    turned = likely.permute(1, 0, 2)
    losses = F.ctc_loss(turned, targets, steps, lengths, reduction="none", zero_infinity=True)
    return losses.mean() / 7


def _nll(likely: Tensor, classes: Any, weights: Tensor | None = None) -> Tensor:
    """Of those whose class is known; nothing where none is."""
    target = torch.from_numpy(classes).to(likely.device)
    if not bool((target != IGNORED).any()):
        return likely.new_zeros(())
    weights = None if weights is None else weights.to(likely.device)
    return F.nll_loss(likely, target, weights, ignore_index=IGNORED)


def _schedule(done: int, steps: int) -> float:
    """A rise, a plain, and half a cosine down over the last third."""
    rise = min(1.0, (done + 1) / WARM_UP)
    left = max(0.0, min(1.0, (steps - done) / (steps / 3)))
    return rise * (0.01 + 0.99 * (0.5 - 0.5 * math.cos(math.pi * left)))
