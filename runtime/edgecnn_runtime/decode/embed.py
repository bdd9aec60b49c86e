"""features[N,D] → Embedding."""

import numpy as np

from edgecnn_runtime.bundle.manifest import Embed, ModelSpec
from edgecnn_runtime.preprocess import Geometry
from edgecnn_runtime.types import Embedding, Tensors


class EmbedDecoder:
    """The feature vector, of unit length where the manifest says so."""

    def __init__(self, spec: Embed, _model: ModelSpec) -> None:
        self._spec = spec
        self._exact = np.empty(0)

    def decode(self, outputs: Tensors, item: int, _geometry: Geometry, /) -> Embedding:
        """One item's vector. Where it is not finite it is all zeros: like nobody."""
        raw = outputs[self._spec.output][item].reshape(-1)
        if self._exact.size != raw.size:
            self._exact = np.empty(raw.size)
        vector = self._exact
        np.copyto(vector, raw)
        length = float(np.linalg.norm(vector))
        if not np.isfinite(length):
            return Embedding(np.zeros(vector.size, np.float32))
        if self._spec.normalize:
            vector /= max(length, 1e-12)
        return Embedding(vector.astype(np.float32))
