"""conv 32 k3, pool, conv 64 k3, pool, linear 128, linear 10."""

import torch.nn.functional as F
from torch import Tensor, nn

from edgecnn.models.recipe import Recipe

RECIPE = Recipe(size=28, color="gray", mean=(0.0,), std=(255.0,), loss="cross_entropy", classes=10)


class MnistCnn2(nn.Module):
    """float32[N,channels,size,size], normalized → float32[N,classes] logits."""

    def __init__(self, channels: int = 1, size: int = 28, classes: int = 10) -> None:
        super().__init__()
        side = ((size - 2) // 2 - 2) // 2
        if side < 1:
            raise ValueError(f"mnist_cnn2 needs pictures of at least 10 pixels, not {size}")
        self.conv1 = nn.Conv2d(channels, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.fc1 = nn.Linear(64 * side * side, 128)
        self.fc2 = nn.Linear(128, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        logits: Tensor = self.fc2(x)
        return logits
