"""The training loop: epochs over pictures held in memory, early stopping, one seed."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecnn.models.recipe import Loss, Recipe
from edgecnn.train.augment import augment
from edgecnn.train.config import TrainConfig
from edgecnn.train.data import Data, TrainingImages
from edgecnn_runtime.errors import EdgecnnError

EVAL_BATCH = 500
Stopped: TypeAlias = Literal["done", "patience", "interrupted"]


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the training pictures.

    Attributes:
        number: 1 for the first epoch.
        loss: Mean over the pictures as they were trained on.
        accuracy: Fraction of correct labels, likewise.
        val_loss: Mean over the validation pictures afterwards; None without any.
        val_accuracy: Fraction of correct labels among them; None without any.
        seconds: How long the epoch took, with its validation.
    """

    number: int
    loss: float
    accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class History:
    """How a training went.

    Attributes:
        epochs: The epochs, in order.
        weights_epoch: Number of the epoch whose weights the model has.
        stopped: Why the training ended.
    """

    epochs: tuple[Epoch, ...]
    weights_epoch: int
    stopped: Stopped


class TrainCallbacks(Protocol):
    """Receives the progress of a training."""

    def reading(self, done: int, total: int) -> None:
        """Called when ``done`` of ``total`` picture files have been read."""

    def step(self, epoch: int, done: int, total: int, loss: float) -> None:
        """Called after each step.

        Args:
            epoch: Number of the epoch.
            done: How many of its pictures have been used.
            total: How many pictures it has.
            loss: Mean loss of the epoch so far.
        """

    def epoch(self, epoch: Epoch) -> None:
        """Called at the end of each epoch."""


def fit(
    model: nn.Module,
    recipe: Recipe,
    data: Data,
    config: TrainConfig,
    *,
    keep: Callable[[], None],
    watch: TrainCallbacks,
) -> History:
    """Train ``model`` in place.

    With ``config.patience`` the training ends after that many epochs without a lower validation
    loss, and the model has the weights of the best epoch. Ctrl-C after the first epoch ends it
    too, with the weights that an uninterrupted training would have had at that time.

    Args:
        model: The network; its weights are replaced.
        recipe: How it is trained.
        data: What it is trained on.
        config: Seed, augmentation and patience.
        keep: Called after every epoch that is the best so far, while the model has its weights.
        watch: Receives the progress.

    Raises:
        EdgecnnError: The loss is not a finite number any more.
    """
    state = _State(model, recipe, data.train, config)
    epochs: list[Epoch] = []
    best, weights_epoch = math.inf, 0
    weights = copy.deepcopy(model.state_dict())
    stopped: Stopped = "done"
    try:
        for number in range(1, recipe.epochs + 1):
            epochs.append(_epoch(state, number, data.valid, watch))
            watch.epoch(epochs[-1])
            loss = epochs[-1].val_loss
            if not config.patience or loss is None or loss < best:
                best = math.inf if loss is None else loss
                weights_epoch, weights = number, copy.deepcopy(model.state_dict())
                keep()
            elif number - weights_epoch >= config.patience:
                stopped = "patience"
                break
    except KeyboardInterrupt:
        if not epochs:
            raise
        stopped = "interrupted"
    model.load_state_dict(weights)
    return History(tuple(epochs), weights_epoch, stopped)


def evaluate(model: nn.Module, recipe: Recipe, pictures: TrainingImages) -> tuple[float, float]:
    """Mean loss and accuracy on pictures, in evaluation mode."""
    outputs, targets = outputs_of(model, recipe, pictures), torch.from_numpy(pictures.targets)
    accuracy = (predict(outputs, recipe.loss) == targets).float().mean().item()
    return LOSSES[recipe.loss](outputs, targets).item(), accuracy


def outputs_of(model: nn.Module, recipe: Recipe, pictures: TrainingImages) -> Tensor:
    """The model's output for each picture, float32[N,…], in evaluation mode."""
    pixels = torch.from_numpy(pictures.pixels)
    normalize = normalizer(recipe)
    model.eval()
    with torch.inference_mode():
        return torch.cat([model(normalize(part)) for part in torch.split(pixels, EVAL_BATCH)])


def predict(outputs: Tensor, loss: Loss) -> Tensor:
    """The label of each output, int64[N]."""
    return (outputs[:, 0] > 0.5).long() if loss == "bce" else outputs.argmax(dim=1)


def normalizer(recipe: Recipe) -> Callable[[Tensor], Tensor]:
    """A function uint8[N,H,W,C] → float32[N,C,H,W], normalized, channels last in memory."""
    mean = torch.tensor(recipe.mean).view(1, -1, 1, 1)
    std = torch.tensor(recipe.std).view(1, -1, 1, 1)
    return lambda pixels: (pixels.permute(0, 3, 1, 2).float() - mean) / std


LOSSES: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    "nll": F.nll_loss,
    "cross_entropy": F.cross_entropy,
    "bce": lambda outputs, targets: F.binary_cross_entropy(outputs[:, 0], targets.float()),
}


class _State:
    """What one epoch shares with the next: optimizer state and the stream of random numbers."""

    def __init__(
        self, model: nn.Module, recipe: Recipe, train: TrainingImages, config: TrainConfig
    ) -> None:
        self.model, self.recipe = model, recipe
        self.augmentation = config.augment
        self.pixels, self.targets = torch.from_numpy(train.pixels), torch.from_numpy(train.targets)
        self.random = torch.Generator().manual_seed(config.seed)
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.SGD(trainable, recipe.lr, recipe.momentum)
            if recipe.optimizer == "sgd"
            else torch.optim.Adam(trainable, recipe.lr)
        )
        steps = recipe.epochs * math.ceil(len(train) / recipe.batch)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda step: 0.5 + 0.5 * math.cos(math.pi * step / steps) if recipe.decay else 1.0,
        )

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield uint8[B,H,W,C] and int64[B]: every picture once, in a new order each time."""
        order = torch.randperm(len(self.targets), generator=self.random)
        for index in torch.split(order, self.recipe.batch):
            yield self.pixels[index], self.targets[index]


def _epoch(state: _State, number: int, valid: TrainingImages, watch: TrainCallbacks) -> Epoch:
    model, recipe, total = state.model, state.recipe, len(state.targets)
    normalize, criterion = normalizer(recipe), LOSSES[recipe.loss]
    start, loss_sum, correct, done = time.monotonic(), 0.0, 0, 0
    model.train()
    for pixels, targets in state.batches():
        outputs = model(augment(normalize(pixels), state.augmentation, state.random))
        loss = criterion(outputs, targets)
        state.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch does not say what it takes
        state.optimizer.step()
        state.schedule.step()
        done += len(targets)
        loss_sum += loss.item() * len(targets)
        correct += int((predict(outputs, recipe.loss) == targets).sum())
        if not math.isfinite(loss_sum):
            raise EdgecnnError(
                f"the loss became {loss.item()} in epoch {number}: try --lr {recipe.lr / 10:g}"
            )
        watch.step(number, done, total, loss_sum / done)
    val_loss, val_accuracy = evaluate(model, recipe, valid) if len(valid) else (None, None)
    seconds = time.monotonic() - start
    return Epoch(number, loss_sum / done, correct / done, val_loss, val_accuracy, seconds)
