"""The network of digits without its last layer: an embedder."""

import torch.nn.functional as F
from torch import Tensor

from edgecnn.models.mnist_cnn3 import MnistCnn3


class DigitFeatures(MnistCnn3):
    """What ``digits.pt`` knows of a digit before it chooses a class: float32[N,64]."""

    def __init__(self) -> None:
        super().__init__()
        del self.fc2

    def forward(self, x: Tensor) -> Tensor:
        """A batch's features."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.conv3(x))
        features: Tensor = self.fc1(x.flatten(1))
        return features
