"""Per-step character scores → Reading, by best path (Graves et al., 2006, section 3.2)."""

import numpy as np

from edgecnn_runtime.bundle.manifest import Ctc, ModelSpec
from edgecnn_runtime.decode.activations import softmax_scores
from edgecnn_runtime.decode.shapes import check_output_shape
from edgecnn_runtime.errors import BundleError
from edgecnn_runtime.preprocess import Geometry
from edgecnn_runtime.types import Floats, Reading, Tensors

MIN_ALTERNATIVE = 0.01
"""A character that is less probable was not seen."""


class CtcDecoder:
    """The best class of every step; repeats merged, then blanks dropped."""

    def __init__(self, spec: Ctc, model: ModelSpec) -> None:
        """Allocate for one model.

        Raises:
            BundleError: The output's classes are not the charset and a blank.
        """
        classes = len(spec.charset) + 1
        if spec.blank >= classes:
            raise BundleError(f"decode.blank is {spec.blank}, and the last class is {classes - 1}")
        shape = (classes, None) if spec.layout == "NCT" else (None, classes)
        check_output_shape(model, spec.output, *shape, batch_axis=spec.layout.index("N"))
        self._spec = spec
        self._row = np.empty(classes, np.float32)
        self._likely = np.empty(classes, bool)
        self._turned = np.empty((0, classes), np.float32)
        self._chars = (*spec.charset[: spec.blank], "", *spec.charset[spec.blank :])

    def decode(self, outputs: Tensors, item: int, _geometry: Geometry, /) -> Reading:
        """One item's text. A step that holds no usable number reads as blank."""
        steps = self._steps(outputs, item)
        best = steps.argmax(axis=1)
        starts = np.empty(len(best), bool)
        starts[:1] = True
        np.not_equal(best[1:], best[:-1], out=starts[1:])
        starts &= best != self._spec.blank
        chars: dict[int, float] = {}
        others: list[dict[str, float]] = []
        for step in np.flatnonzero(starts).tolist():
            scores = softmax_scores(self._spec.values, steps[step], self._row)
            if (score := float(scores[best[step]])) > 0.0:
                chars[step] = score
                others.append(self._alternatives(scores, int(best[step])))
        text = "".join(self._chars[best[step]] for step in chars)
        least = min(chars.values(), default=1.0)
        return Reading(text, least, tuple(chars.values()), tuple(others))

    def _alternatives(self, scores: Floats, best: int) -> dict[str, float]:
        """What else a character may be."""
        np.greater_equal(scores, MIN_ALTERNATIVE, out=self._likely)
        return {
            self._chars[index]: float(scores[index])
            for index in np.flatnonzero(self._likely).tolist()
            if index not in {best, self._spec.blank}
        }

    def _steps(self, outputs: Tensors, item: int) -> Floats:
        """One item as [T,C]: a view, or a copy where argmax would make one."""
        tensor = outputs[self._spec.output]
        steps: Floats = tensor[:, item] if self._spec.layout == "TNC" else tensor[item]
        if self._spec.layout != "NCT":
            return steps
        if self._turned.shape != steps.T.shape:
            self._turned = np.empty(steps.T.shape, np.float32)
        np.copyto(self._turned, steps.T)
        return self._turned
