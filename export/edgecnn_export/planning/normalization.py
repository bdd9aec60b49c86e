"""Mean and std in pixel units; an assumption always comes with a warning."""

import math
from collections.abc import Mapping

from edgecnn_export.config import ExportConfig
from edgecnn_export.planning.settings import ExportSettings
from edgecnn_runtime.bundle.manifest import Color, Normalization
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.tasks import TASKS

IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
PRESETS: Mapping[str, tuple[float, float]] = {
    "unit": (0.0, 255.0),
    "signed": (127.5, 127.5),
    "raw": (0.0, 1.0),
}


def normalization(
    settings: ExportSettings, color: Color, task: str | None
) -> tuple[Normalization, list[str]]:
    """Mean and std in the order of ``color``.

    Args:
        settings: The merged settings.
        color: The channel order the model was trained on.
        task: What a result is; None where it is not known yet.

    Returns:
        Mean and std with their origin, and a warning for each assumption.

    Raises:
        UsageError: No source gives the normalization of a model whose task is not to decide
            (detect, embed): its outputs degrade without any later check noticing; or the numbers
            are invalid.
    """
    config, origin = settings.config, settings.normalization
    channels = 1 if color == "gray" else 3
    warnings = []
    if not config.color and channels > 1:
        warnings.append(f"ASSUMED color order: {color}. No source gives it: set --color")
    if origin == "assumed":
        if task and not TASKS[task].decides:
            raise UsageError(
                f"how were the pixels of this {task} model normalized? A wrong guess loses "
                "accuracy without any error: set --mean and --std (in 0..255), or --preset unit "
                "(pixels / 255, most YOLO models), raw (0..255), signed (-1..1) or imagenet"
            )
        preset = "unit" if channels == 1 else "imagenet"
        mean, std = _preset(preset, color)
        texts = [",".join(f"{value:g}" for value in values) for values in (mean, std)]
        warnings.insert(
            0,
            f"ASSUMED normalization: {preset} (mean {texts[0]} std {texts[1]}). No source says "
            "how the model was trained: set --mean and --std, or --preset",
        )
    elif config.preset:
        mean, std = _preset(config.preset, color)
    else:
        mean, std = _mean_std(config, channels)
    return Normalization(mean=mean, std=std, origin=origin), warnings


def check_numbers(config: ExportConfig) -> None:
    """Check the numbers that are set, as far as that needs no model.

    Raises:
        UsageError: ``normalization`` would refuse them.
    """
    if config.preset and config.color:
        _preset(config.preset, config.color)
    if config.mean is not None and config.std is not None:
        gray = config.color == "gray" or len(config.mean) == len(config.std) == 1
        _mean_std(config, 1 if gray else 3)


def _preset(name: str, color: Color) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if name != "imagenet":
        mean, std = PRESETS[name]
        channels = 1 if color == "gray" else 3
        return (mean,) * channels, (std,) * channels
    if color == "gray":
        raise UsageError("--preset imagenet is for color; a gray model takes --mean X --std Y")
    order = 1 if color == "rgb" else -1
    return IMAGENET[0][::order], IMAGENET[1][::order]


def _mean_std(config: ExportConfig, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if config.mean is None or config.std is None:
        raise UsageError("--mean and --std belong together: set both (raw pixels: --preset raw)")
    for flag, values in (("--mean", config.mean), ("--std", config.std)):
        if len(values) not in {1, channels}:
            raise UsageError(f"{flag} has {len(values)} numbers for {channels} channels")
        if not all(math.isfinite(value) for value in values):
            raise UsageError(f"{flag} must be finite numbers")
    if any(value <= 0 for value in config.std):
        raise UsageError("--std must be over 0: it divides the pixels")
    if max(config.std) < 1:
        scaled = [",".join(f"{v * 255:g}" for v in values) for values in (config.mean, config.std)]
        raise UsageError(
            "--mean and --std look like 0..1 units; edgecnn takes 0..255 pixel units: "
            f"--mean {scaled[0]} --std {scaled[1]}"
        )
    mean, std = (v * channels if len(v) == 1 else v for v in (config.mean, config.std))
    return mean, std
