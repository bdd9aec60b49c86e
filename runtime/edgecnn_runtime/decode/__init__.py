"""From output tensors to results; a new head is one file here and one line in DECODERS.

A decoder is made once per model, with its grids and scratch buffers. Decoding selects by score
before it computes anything, so its cost follows what is in the picture, not the size of the head.
Outputs may hold anything, NaN and infinities too: no decoder raises on them or passes them on.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from edgecnn_runtime.bundle import manifest
from edgecnn_runtime.decode.anchor_free import anchor_free_decoder
from edgecnn_runtime.decode.classify import ClassifyDecoder
from edgecnn_runtime.decode.ctc import CtcDecoder
from edgecnn_runtime.decode.embed import EmbedDecoder
from edgecnn_runtime.decode.ssd import SsdDecoder
from edgecnn_runtime.decode.yolo import YoloDecoder
from edgecnn_runtime.preprocess import Geometry
from edgecnn_runtime.types import Result, Tensors


class Decoder(Protocol):
    """Turns one item of a batch of outputs into its result."""

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> Result:
        """The result for batch item ``item``, in pixels of the frame that ``geometry`` fitted.

        Reads the outputs during the call only; the result shares no memory with them. Uses its
        own scratch buffers: one decoder, one thread at a time.
        """


DECODERS: Mapping[type, Callable[[Any, manifest.ModelSpec], Decoder]] = {
    manifest.Classify: ClassifyDecoder,
    manifest.Yolo: YoloDecoder,
    manifest.AnchorFree: anchor_free_decoder,
    manifest.Ssd: SsdDecoder,
    manifest.Ctc: CtcDecoder,
    manifest.Embed: EmbedDecoder,
}


def make_decoder(model: manifest.ModelSpec) -> Decoder:
    """The decoder of a bundle. Raises BundleError where head and output shapes disagree."""
    return _Calm(DECODERS[type(model.decode)](model.decode, model))


class _Calm:
    """A decoder that may meet infinities without NumPy warning of each: they are dropped."""

    def __init__(self, head: Decoder) -> None:
        self._head = head

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> Result:
        """What the head decodes."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self._head.decode(outputs, item, geometry)
