"""scores[N,C] → Classification."""

import numpy as np

from edgecnn_runtime.bundle.manifest import Classify, ModelSpec
from edgecnn_runtime.decode.activations import sigmoid_scores, softmax_scores
from edgecnn_runtime.preprocess import Geometry
from edgecnn_runtime.types import Classification, Tensors


class ClassifyDecoder:
    """Softmax, or sigmoids where the classes are independent, and the best of them."""

    def __init__(self, spec: Classify, model: ModelSpec) -> None:
        self._spec = spec
        self._labels = model.labels

    def decode(self, outputs: Tensors, item: int, _geometry: Geometry, /) -> Classification:
        """One item's classification; a class whose score is NaN is impossible."""
        raw = outputs[self._spec.output][item].reshape(-1)
        if raw.size == 1:
            positive = np.nan_to_num(sigmoid_scores(self._spec.values, raw))
            scores = np.concatenate((1.0 - positive, positive))
        elif self._spec.multi_label:
            scores = sigmoid_scores(self._spec.values, raw)
            np.fmax(scores, 0.0, out=scores)  # of a NaN and a number it takes the number
        else:
            scores = softmax_scores(self._spec.values, raw)
        index = int(scores.argmax())
        label = self._labels[index] if index < len(self._labels) else str(index)
        return Classification(label, index, float(scores[index]), scores)
