"""The story of a training: data → network → epochs → figures → checkpoint."""

import dataclasses
import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgecnn.models import MODELS
from edgecnn.models.recipe import Recipe
from edgecnn.train.config import TrainConfig
from edgecnn.train.data import Data, TrainingImages, load_data
from edgecnn.train.loop import History, TrainCallbacks, fit, outputs_of, predict
from edgecnn.train.metrics import Metrics, measure
from edgecnn.train.pretrained import Pretrained, load_pretrained
from edgecnn.train.resize import make_resizer
from edgecnn_export.checkpoint import save_checkpoint
from edgecnn_runtime.errors import EdgecnnError, UsageError

SAMPLES = 16


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A finished training. metrics: on the test pictures, never seen while training."""

    checkpoint: Path
    model: nn.Module
    recipe: Recipe
    data: Data
    started: Pretrained
    history: History
    metrics: Metrics


def train(config: TrainConfig, watch: TrainCallbacks) -> TrainResult:
    """Train a network and write a checkpoint that ``edgecnn export`` needs no flag for.

    It is written after every epoch that is kept, so that a crash loses one epoch and no more.
    Raises UsageError for data, labels or flags that cannot be meant, CheckpointError for an
    ``init_from`` that does not fit, EdgecnnError where the checkpoint cannot be written (before
    training, not after) or the loss is no longer a number.
    """
    _check_writable(Path(config.out))
    recipe = resolve(config)
    shape = (recipe.size, recipe.size, recipe.channels)
    data = load_data(config, make_resizer(recipe, config), shape, watch.reading)
    return train_in_memory(data, config, watch)


def train_in_memory(data: Data, config: TrainConfig, watch: TrainCallbacks) -> TrainResult:
    """The same from data already in memory, at the network's input size; ``config.data`` is unused.

    Sets torch's thread count for the process.
    """
    torch.set_num_threads(config.threads)
    recipe = dataclasses.replace(resolve(config), classes=len(data.labels))
    arch_args = {"channels": recipe.channels, "size": recipe.size, "classes": recipe.classes}
    model = _build(config, arch_args)
    started = load_pretrained(model, config.init_from, config.freeze)

    def keep() -> None:
        save_checkpoint(
            config.out,
            model,
            arch=MODELS[config.model],
            arch_args=arch_args,
            spec=checkpoint_spec(recipe, data.labels, config),
            samples=_samples(data.test),
        )

    history = fit(model, recipe, data, config, keep=keep, watch=watch)
    predicted = predict(outputs_of(model, recipe, data.test), recipe.loss).numpy()
    metrics = measure(data.test.targets, predicted, recipe.classes)
    return TrainResult(Path(config.out), model, recipe, data, started, history, metrics)


def resolve(config: TrainConfig) -> Recipe:
    """The network's own recipe with what ``config`` overrides. Raises UsageError."""
    if config.model not in MODELS:
        raise UsageError(f"no network {config.model!r}; known: {', '.join(MODELS)}")
    recipe: Recipe = importlib.import_module(MODELS[config.model].split(":")[0]).RECIPE
    return dataclasses.replace(
        recipe,
        size=config.size or recipe.size,
        epochs=config.epochs or recipe.epochs,
        batch=config.batch or recipe.batch,
        lr=config.lr or recipe.lr,
    )


def checkpoint_spec(recipe: Recipe, labels: tuple[str, ...], config: TrainConfig) -> dict[str, Any]:
    """What the checkpoint says of itself, in the keys of ``ExportConfig``."""
    return {
        "task": "classify",
        "input": f"{recipe.size}x{recipe.size}",
        "color": recipe.color,
        "mean": recipe.mean,
        "std": recipe.std,
        "resize": config.resize,
        "interpolation": config.interpolation,
        "labels": labels,
        "decode": {"values": recipe.values},
    }


def _build(config: TrainConfig, arch_args: dict[str, int]) -> nn.Module:
    module, _, name = MODELS[config.model].partition(":")
    factory: Callable[..., nn.Module] = getattr(importlib.import_module(module), name)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            return factory(**arch_args)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _samples(pictures: TrainingImages) -> NDArray[np.uint8]:
    """uint8[N,H,W,3] BGR: a few pictures, the classes in turn, for export to verify on."""
    order = np.argsort(pictures.targets, kind="stable")
    grouped = pictures.targets[order]
    rank_in_class = np.arange(len(order)) - np.searchsorted(grouped, grouped)
    chosen = pictures.pixels[order[np.argsort(rank_in_class, kind="stable")[:SAMPLES]]]
    return np.ascontiguousarray(np.broadcast_to(chosen, (*chosen.shape[:3], 3)))


def _check_writable(out: Path) -> None:
    folder = out.resolve().parent
    if out.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        what = "is a folder" if out.is_dir() else f"{folder} is missing or not writable"
        raise EdgecnnError(f"cannot write {out}: {what}; name another --out")
