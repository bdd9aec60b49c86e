"""Width, height and channels of the network's input."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgecnn_export.config import ExportConfig
from edgecnn_runtime.errors import UsageError


@dataclass(frozen=True)
class Size:
    """What the network takes: width, height and channels of one picture."""

    width: int
    height: int
    channels: int

    @property
    def chw(self) -> tuple[int, int, int]:
        """Channels, height and width: one picture's axes in a float graph."""
        return self.channels, self.height, self.width


def network_size(
    config: ExportConfig, channels: int | None, shape: Sequence[int | None] | None
) -> Size:
    """Width, height and channels: from --input and --color, else from the model file.

    Args:
        config: The settings.
        channels: Of the model's picture; None where they are not certain.
        shape: Of its input, N,C,H,W; a None in it is a size the file does not give.

    Raises:
        UsageError: The size is unknown, or the model cannot take a camera's channels.
    """
    _, _, height, width = shape or (None,) * 4
    if config.input:
        sides = [int(side) for side in config.input.split("x")]
        width, height = sides[0], sides[-1]
    if not width or not height:
        raise UsageError(
            "how large is the network's input? The file does not contain its size: "
            "add --input WIDTHxHEIGHT, for instance --input 224x224"
        )
    if channels not in {None, 1, 3}:
        raise UsageError(
            f"the model's input has {channels} channels; a camera gives 3, or 1 with --color gray"
        )
    requested = {"gray": 1, "rgb": 3, "bgr": 3, None: channels}[config.color]
    if channels is not None and requested != channels:
        raise UsageError(
            f"--color {config.color} does not fit: the model's input has {channels} "
            f"channel{'s' if channels > 1 else ''}"
        )
    return Size(width, height, requested or 3)
