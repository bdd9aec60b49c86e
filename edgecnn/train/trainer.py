"""The story of a training: data → network → epochs → metrics → checkpoint."""

import dataclasses
import importlib
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
from edgecnn.train.config import TrainConfig, check_config
from edgecnn.train.data import Data, TrainingImages, load_data
from edgecnn.train.loop import History, TrainCallbacks, fit, outputs_of, predict
from edgecnn.train.metrics import Metrics, measure
from edgecnn.train.pretrained import Pretrained, load_pretrained
from edgecnn.train.resize import make_resizer
from edgecnn_export.checkpoint import save_checkpoint
from edgecnn_runtime.errors import UsageError

SAMPLES = 16
"""Pictures in the checkpoint, for export to verify with."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A finished training.

    Attributes:
        checkpoint: The file that was written.
        model: The trained network.
        recipe: How it was trained.
        data: What it was trained on.
        pretrained: Where its first weights came from.
        history: Its epochs.
        metrics: On the test pictures, which training never used.
    """

    checkpoint: Path
    model: nn.Module
    recipe: Recipe
    data: Data
    pretrained: Pretrained
    history: History
    metrics: Metrics


def train(config: TrainConfig, watch: TrainCallbacks) -> TrainResult:
    """Train a network and write a checkpoint that ``edgecnn export`` takes without a flag.

    The checkpoint is written after every epoch that is the best so far, so a crash loses at most
    the epoch that was running.

    Args:
        config: The settings.
        watch: Receives the progress.

    Raises:
        UsageError: Data, labels or settings cannot be right.
        CheckpointError: ``config.init_from`` does not fit.
        EdgecnnError: The checkpoint cannot be written (which is checked before the training), or
            the loss is not a finite number any more.
    """
    check_config(config)
    recipe = resolve(config)
    shape = (recipe.size, recipe.size, recipe.channels)
    data = load_data(config, make_resizer(recipe, config), shape, watch.reading)
    return train_in_memory(data, config, watch)


def train_in_memory(data: Data, config: TrainConfig, watch: TrainCallbacks) -> TrainResult:
    """Train on data that is in memory already; sets torch's thread count for the process.

    Args:
        data: Pictures at the network's input size.
        config: The settings; ``config.data`` is not used.
        watch: Receives the progress.
    """
    torch.set_num_threads(config.threads)
    recipe = dataclasses.replace(resolve(config), classes=len(data.labels))
    arch_args = {"channels": recipe.channels, "size": recipe.size, "classes": recipe.classes}
    model = _build(config, arch_args)
    pretrained = load_pretrained(model, config.init_from, config.freeze, config.weights_key)

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
    return TrainResult(Path(config.out), model, recipe, data, pretrained, history, metrics)


def resolve(config: TrainConfig) -> Recipe:
    """The network's recipe with the settings that override it.

    Args:
        config: The settings, checked.
    """
    recipe: Recipe = importlib.import_module(MODELS[config.model].split(":")[0]).RECIPE
    return dataclasses.replace(
        recipe,
        size=config.size or recipe.size,
        epochs=config.epochs or recipe.epochs,
        batch=config.batch or recipe.batch,
        lr=config.lr or recipe.lr,
    )


def checkpoint_spec(recipe: Recipe, labels: tuple[str, ...], config: TrainConfig) -> dict[str, Any]:
    """The checkpoint's spec, in the keys of ``ExportConfig``."""
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
    """uint8[N,H,W,3] BGR: a few pictures, the classes in turn, for export to verify with."""
    order = np.argsort(pictures.targets, kind="stable")
    grouped = pictures.targets[order]
    rank_in_class = np.arange(len(order)) - np.searchsorted(grouped, grouped)
    chosen = pictures.pixels[order[np.argsort(rank_in_class, kind="stable")[:SAMPLES]]]
    return np.ascontiguousarray(np.broadcast_to(chosen, (*chosen.shape[:3], 3)))
