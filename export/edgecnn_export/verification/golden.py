"""golden.npz: a few pictures, and what the reference answers to them."""

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
    """Indices of ``count`` pictures whose outputs lie far from each other, in order.

    outputs: float32[N,…] by name; every one counts the same, whatever its scale. among: the
    pictures to choose from.
    """
    products = sum(_gram(values) for values in outputs.values())
    power = np.diag(products)
    distance = power[:, None] + power[None] - 2 * products
    rest = list(among)
    chosen = [max(rest, key=lambda index: float(power[index]))]
    while len(chosen) < min(count, len(rest)):
        nearest = distance[:, chosen].min(1)
        free = [index for index in rest if index not in chosen]
        chosen.append(max(free, key=lambda index: float(nearest[index])))
    return sorted(chosen)


def write_golden(
    folder: Path, pictures: NetworkImages, outputs: Mapping[str, Floats], chosen: list[int]
) -> Golden:
    """Write golden.npz and describe it."""
    path = folder / FILE
    arrays: dict[str, Any] = {f"output.{name}": values[chosen] for name, values in outputs.items()}
    np.savez(path, allow_pickle=False, pixels=pictures.pixels[chosen], **arrays)
    return Golden(
        file=FILE,
        sha256=sha256_file(path),
        bytes=path.stat().st_size,
        count=len(chosen),
        pictures=pictures.origin,
    )


def _gram(values: Floats) -> np.ndarray:
    """float64[N,N]: products of the centered outputs, scaled to a mean square of one."""
    flat = values.reshape(len(values), -1)
    centered = flat - flat.mean(0)
    products = (centered @ centered.T).astype(np.float64)
    scale = np.trace(products) / len(products)
    return products / scale if scale > 0 else np.zeros_like(products)
