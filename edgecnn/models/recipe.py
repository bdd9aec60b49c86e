"""How a network is trained, as a value beside the network."""

from dataclasses import dataclass
from typing import Literal

from edgecnn_runtime.bundle.manifest import Color, Values

Loss = Literal["nll", "cross_entropy", "bce"]
VALUES: dict[Loss, Values] = {
    "nll": "log_probabilities", "cross_entropy": "logits", "bce": "probabilities"
}  # fmt: skip
"""What a network that is trained with a loss gives."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A network's default training; flags override most of it.

    Attributes:
        size: Side of the square input in pixels.
        color: ``gray`` or ``bgr``, what the network is given.
        mean: One value per channel, in 0..255 pixel units.
        std: One value per channel, in 0..255 pixel units.
        loss: ``nll`` after log-softmax, ``cross_entropy`` on logits, ``bce`` after a sigmoid.
        classes: Number of classes; 2 with ``bce``, whose one output is label 1's probability.
        optimizer: ``sgd`` (with ``momentum``) or ``adam``.
        lr: Learning rate of the first step.
        momentum: Of ``sgd``.
        decay: Whether the learning rate falls from ``lr`` to zero along half a cosine
            (I. Loshchilov, F. Hutter, "SGDR", 2017) instead of being constant.
        epochs: Passes over the training pictures.
        batch: Pictures per step.
    """

    size: int
    color: Color
    mean: tuple[float, ...]
    std: tuple[float, ...]
    loss: Loss
    classes: int
    optimizer: Literal["sgd", "adam"] = "adam"
    lr: float = 1e-3
    momentum: float = 0.0
    decay: bool = True
    epochs: int = 5
    batch: int = 64

    @property
    def channels(self) -> int:
        """Input channels: 1 for gray, 3 otherwise."""
        return 1 if self.color == "gray" else 3

    @property
    def values(self) -> Values:
        """What the network's output contains, in the manifest's terms."""
        return VALUES[self.loss]
