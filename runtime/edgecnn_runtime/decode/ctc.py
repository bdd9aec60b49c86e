"""Per-step character scores → Reading, by best path (Graves et al., 2006, section 3.2)."""

import numpy as np

from edgecnn_runtime.bundle.manifest import Ctc, ModelSpec
from edgecnn_runtime.decode.activations import softmax_scores
from edgecnn_runtime.decode.shapes import check_output_shape
from edgecnn_runtime.errors import BundleError
from edgecnn_runtime.preprocess import Geometry
from edgecnn_runtime.types import Floats, Reading, Tensors


class CtcDecoder:
    """The best class of every step; repeats merged, then blanks dropped."""

    def __init__(self, spec: Ctc, model: ModelSpec) -> None:
        """Raises BundleError where the classes are not the charset and a blank."""
        classes = len(spec.charset) + 1
        if spec.blank >= classes:
            raise BundleError(f"decode.blank {spec.blank} is none of its {classes}")
        shape = (classes, None) if spec.layout == "NCT" else (None, classes)
        check_output_shape(model, spec.output, *shape, batch_axis=spec.layout.index("N"))
        self._spec = spec
        self._chars = (*spec.charset[: spec.blank], "", *spec.charset[spec.blank :])

    def decode(self, outputs: Tensors, item: int, _geometry: Geometry, /) -> Reading:
        """One item's text. A step that holds no usable number reads as blank."""
        steps = self._steps(outputs, item)
        best = steps.argmax(axis=1)
        starts = np.empty(len(best), bool)
        starts[:1] = True
        np.not_equal(best[1:], best[:-1], out=starts[1:])
        starts &= best != self._spec.blank
        found = np.flatnonzero(starts)
        rows = steps[found].astype(np.float32)
        scores = softmax_scores(self._spec.values, rows)[
            np.arange(len(found)), best[found]
        ].tolist()
        pairs = [
            (self._chars[index], score)
            for index, score in zip(best[found].tolist(), scores, strict=True)
            if score > 0.0
        ]
        text = "".join(char for char, _ in pairs)
        char_scores = tuple(score for _, score in pairs)
        return Reading(text, min(char_scores, default=1.0), char_scores)

    def _steps(self, outputs: Tensors, item: int) -> Floats:
        """A view of one item as [T,C]."""
        tensor = outputs[self._spec.output]
        steps: Floats = tensor[:, item] if self._spec.layout == "TNC" else tensor[item]
        return steps.T if self._spec.layout == "NCT" else steps
