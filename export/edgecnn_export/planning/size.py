"""What the network takes: from --input and --color, else what the model says of itself."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgecnn_export.config import ExportConfig
from edgecnn_runtime.errors import UsageError


@dataclass(frozen=True)
class Size:
    """What the network takes: one picture's width, height and channels."""

    width: int
    height: int
    channels: int


def network_size(
    config: ExportConfig, channels: int | None, shape: Sequence[int | None] | None
) -> Size:
    """Width, height and channels: from --input and --color, else what the model says of itself.

    channels: of the model's picture, None where it is not certain. shape: of its input,
    N, C, H, W, None where it does not say.
    """
    _, _, height, width = shape or (None,) * 4
    if config.input:
        numbers = [int(number) for number in config.input.split("x")]
        width, height = numbers[0], numbers[-1]
    if not width or not height:
        raise UsageError(
            "how large is the network's input? Nothing in the file says it: "
            "add --input WIDTHxHEIGHT, for instance --input 224x224"
        )
    if channels not in {None, 1, 3}:
        raise UsageError(
            f"the model's input has {channels} channels; a camera gives 3, or 1 with --color gray"
        )
    asked = {"gray": 1, "rgb": 3, "bgr": 3, None: channels}[config.color]
    if channels is not None and asked != channels:
        raise UsageError(
            f"--color {config.color} does not fit: the model's input has {channels} "
            f"channel{'s' if channels > 1 else ''}"
        )
    return Size(width, height, asked or 3)
