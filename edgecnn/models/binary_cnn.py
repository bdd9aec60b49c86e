"""64x64x3: conv 32 k3, pool, linear 128, linear 1, sigmoid."""

import torch.nn.functional as F
from torch import Tensor, nn

from edgecnn.models.recipe import Recipe

RECIPE = Recipe(
    size=64, color="bgr", mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0), loss="bce", classes=2
)


class BinaryCnn(nn.Module):
    """float32[N,channels,size,size], normalized → float32[N,1]: the probability of label 1."""

    def __init__(self, channels: int = 3, size: int = 64, classes: int = 2) -> None:
        super().__init__()
        if classes != 2:
            raise ValueError(f"binary_cnn has 2 classes, not {classes}")
        side = (size - 2) // 2
        if side < 1:
            raise ValueError(f"binary_cnn needs pictures of at least 4 pixels, not {size}")
        self.conv1 = nn.Conv2d(channels, 32, 3)
        self.fc1 = nn.Linear(32 * side * side, 128)
        self.fc2 = nn.Linear(128, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Probability of label 1 for each picture of a batch."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        logits: Tensor = self.fc2(x)
        return logits.sigmoid()
