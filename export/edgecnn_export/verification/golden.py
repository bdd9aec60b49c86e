"""golden.npz: a few images, and the reference's outputs for them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn_export.verification.images import NetworkImages
from edgecnn_runtime.bundle.bundle import sha256_file
from edgecnn_runtime.bundle.manifest import Golden
from edgecnn_runtime.types import Floats

FILE = "golden.npz"
COUNT = 4


def most_distinct(
    outputs: Mapping[str, Floats], among: Sequence[int], count: int = COUNT
) -> list[int]:
    """Indices of the images whose outputs differ most from each other, in order.

    Args:
        outputs: float32[N,…] by name; all count the same, whatever their scale.
        among: The images to choose from.
        count: How many to choose.
    """
    products = sum(_gram(values) for values in outputs.values())
    power = np.diag(products)
    distance = power[:, None] + power[None] - 2 * products
    chosen = [max(among, key=lambda index: float(power[index]))]
    while len(chosen) < min(count, len(among)):
        nearest = distance[:, chosen].min(1)
        free = [index for index in among if index not in chosen]
        chosen.append(max(free, key=lambda index: float(nearest[index])))
    return sorted(chosen)


def write_golden(
    folder: Path, images: NetworkImages, outputs: Mapping[str, Floats], chosen: list[int]
) -> Golden:
    """Write golden.npz and describe it.

    Args:
        folder: Of the bundle.
        images: The verification images.
        outputs: The reference's outputs for them, float32[N,…] by name.
        chosen: Which of the images to write.
    """
    path = folder / FILE
    arrays: dict[str, Any] = {f"output.{name}": values[chosen] for name, values in outputs.items()}
    np.savez(path, allow_pickle=False, pixels=images.pixels[chosen], **arrays)
    return Golden(
        file=FILE,
        sha256=sha256_file(path),
        bytes=path.stat().st_size,
        count=len(chosen),
        pictures=images.origin,
    )


def _gram(values: Floats) -> np.ndarray:
    """float64[N,N]: products of the centered outputs, scaled to a mean square of one."""
    flat = values.reshape(len(values), -1)
    centered = flat - flat.mean(0)
    products = (centered @ centered.T).astype(np.float64)
    scale = np.trace(products) / len(products)
    return products / scale if scale > 0 else np.zeros_like(products)
