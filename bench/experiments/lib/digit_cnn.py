"""The network of digit-recognizer-py 0.1.0, by the shapes of its weights: 3 conv, 2 linear."""

from torch import Tensor, nn


class DigitCnn(nn.Module):
    """float32[N,1,28,28], normalized → logits[N,10]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((1, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.conv_layers = nn.Sequential(*layers)
        self.fc_layers = nn.Sequential(nn.Linear(128 * 9, 256), nn.ReLU(), nn.Linear(256, 10))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        logits: Tensor = self.fc_layers(self.conv_layers(x).flatten(1))
        return logits
