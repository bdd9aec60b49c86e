"""The seam of heads: what turns output tensors into a result."""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.preprocess import Geometry
from edgecnn_runtime.types import Tensors

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Decoder(Protocol[R_co]):
    """Turns one item of a batch of outputs into its result."""

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> R_co:
        """Decode one item; its scratch buffers serve one thread at a time.

        Args:
            outputs: Output tensors by name, read during the call only.
            item: Which item of the batch.
            geometry: How its frame was fitted into the network's input.

        Returns:
            The result in pixels of the frame; it shares no memory with the outputs.
        """


DecoderFactory: TypeAlias = Callable[[Any, ModelSpec], Decoder[R]]
"""Makes the decoder of a head: takes the head's Struct and the spec it stands in, and raises
BundleError where head and output shapes disagree."""


class QuietDecoder:
    """A decoder that meets infinities without a warning from NumPy about each; it drops them."""

    def __init__(self, decoder: Decoder[Any]) -> None:
        self._decoder = decoder

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> Any:
        """Decode one item."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self._decoder.decode(outputs, item, geometry)
