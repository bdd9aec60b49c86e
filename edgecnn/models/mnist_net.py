"""conv 1→10 k5, conv 10→20 k5, one max-pool, 2000→50→10, log-softmax."""

import torch.nn.functional as F
from torch import Tensor, nn

from edgecnn.models.recipe import Recipe

RECIPE = Recipe(
    size=28,
    color="gray",
    mean=(0.1307 * 255,),
    std=(0.3081 * 255,),
    loss="nll",
    classes=10,
    optimizer="sgd",
    lr=0.01,
    momentum=0.5,
    decay=False,
    epochs=10,
)


class MnistNet(nn.Module):
    """float32[N,channels,size,size], normalized → float32[N,classes] log-probabilities.

    It pools once, after both convolutions, so a 28 pixel digit arrives at the linear layer as
    20 x 10 x 10 = 2000 features. (The widely copied variant with 320 pools twice.)
    """

    def __init__(self, channels: int = 1, size: int = 28, classes: int = 10) -> None:
        super().__init__()
        side = (size - 8) // 2
        if side < 1:
            raise ValueError(f"mnist_net needs pictures of at least 10 pixels, not {size}")
        self.conv1 = nn.Conv2d(channels, 10, 5)
        self.conv2 = nn.Conv2d(10, 20, 5)
        self.fc1 = nn.Linear(20 * side * side, 50)
        self.fc2 = nn.Linear(50, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Log-probabilities of a batch."""
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return F.log_softmax(self.fc2(x), dim=1)
