"""Scores of classes per cell, [C,h,w] → the class of every pixel of the frame."""

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import ModelSpec, Semantic
from edgecnn_runtime.decode.activations import raw_threshold
from edgecnn_runtime.decode.resample import OUTSIDE, Resampler, visible
from edgecnn_runtime.decode.scratch import Scratch
from edgecnn_runtime.decode.shapes import check_output_shape
from edgecnn_runtime.errors import BundleError
from edgecnn_runtime.preprocess import Geometry, Rect
from edgecnn_runtime.types import UNSEEN, ClassMap, Floats, Tensors


class ClassMapDecoder:
    """The best class of each pixel, of scores that are resampled to the frame.

    Only classes that are the best of some cell are resampled, and only around those cells. A class
    that is best between cells alone is not found.
    """

    def __init__(self, spec: Semantic, model: ModelSpec) -> None:
        """Allocate for one model.

        Raises:
            BundleError: The output is no map over the input, or it has too many classes.
        """
        channels, rows, columns = check_output_shape(model, spec.output, None, None, None)
        if channels > UNSEEN:
            raise BundleError(
                f"output {spec.output!r} has {channels} classes, and a class map holds {UNSEEN}"
            )
        if not _covers(model.input.width, columns, model.input.height, rows):
            raise BundleError(
                f"output {spec.output!r} has {columns}x{rows} cells, which are no map of the whole "
                f"{model.input.width}x{model.input.height} input: a cell would be "
                f"{model.input.width / columns:.1f} pixels wide and "
                f"{model.input.height / rows:.1f} high"
            )
        self._output, self._labels = spec.output, model.labels
        self._threshold = raw_threshold(spec.values, spec.score) if channels == 1 else None
        self._resampler = Resampler(model.input, rows, columns)
        self._best = np.empty((rows, columns), np.float32)
        self._over = np.empty((rows, columns), np.bool_)
        self._classes = np.empty((rows, columns), np.uint8)
        self._planes = np.empty((channels, rows, columns), np.float32)
        self._highest = Scratch()

    def decode(self, outputs: Tensors, item: int, geometry: Geometry, /) -> ClassMap:
        """The class of every pixel; UNSEEN where the model did not look."""
        planes = outputs[self._output][item]
        if planes.dtype != np.float32:
            np.copyto(self._planes, planes)
            planes = self._planes
        classes = np.full((geometry.height, geometry.width), UNSEEN, np.uint8)
        if self._threshold is not None:
            self._split(planes[0], self._threshold, classes, geometry)
        else:
            self._choose(planes, classes, geometry)
        return ClassMap(classes, self._labels)

    def _split(
        self, plane: Floats, threshold: float, classes: NDArray[np.uint8], geometry: Geometry
    ) -> None:
        """One channel: class 1 over the threshold, else class 0."""
        left, top, right, bottom = rect = visible(geometry)
        cells = self._resampler.cells(rect, geometry)
        values = self._resampler.sample(_part(plane, cells), cells, rect, geometry)
        into = classes[top:bottom, left:right]
        np.greater(values, threshold, out=into.view(np.bool_))
        if geometry.matrix is not None:
            into[values <= OUTSIDE / 2] = UNSEEN

    def _choose(self, planes: Floats, classes: NDArray[np.uint8], geometry: Geometry) -> None:
        """Several channels: the best one."""
        self._rank(planes)
        left, top, right, bottom = seen = visible(geometry)
        highest = self._highest.array(bottom - top, right - left)
        highest.fill(OUTSIDE / 2)
        for index in np.flatnonzero(np.bincount(self._classes.reshape(-1))).tolist():
            rect = self._reach(index, seen, geometry)
            if rect is None:
                continue
            cells = self._resampler.cells(rect, geometry)
            values = self._resampler.sample(_part(planes[index], cells), cells, rect, geometry)
            before = highest[rect[1] - top : rect[3] - top, rect[0] - left : rect[2] - left]
            better = np.greater(values, before)
            np.copyto(before, values, where=better)
            into = classes[rect[1] : rect[3], rect[0] : rect[2]]
            into[better] = index

    def _rank(self, planes: Floats) -> None:
        """The best class of each cell; NaN is never better, and class 0 where nothing is."""
        np.copyto(self._best, planes[0])
        self._best[np.isnan(self._best)] = -np.inf
        self._classes.fill(0)
        for index in range(1, len(planes)):
            np.greater(planes[index], self._best, out=self._over)
            np.copyto(self._best, planes[index], where=self._over)
            np.copyto(self._classes, index, where=self._over)

    def _reach(self, index: int, seen: Rect, geometry: Geometry) -> Rect | None:
        """The pixels next to cells of a class; None where the frame shows none of them."""
        np.equal(self._classes, index, out=self._over)
        x, y, width, height = cv2.boundingRect(self._over.view(np.uint8))
        return self._resampler.pixels((x, y, x + width, y + height), seen, geometry)


def _covers(width: int, columns: int, height: int, rows: int) -> bool:
    """Whether cells are about as wide as high: a side of the map may be a cell off by rounding."""
    return all(
        size / (cells + 1) < other / max(other_cells - 1, 0.5)
        for size, cells, other, other_cells in (
            (width, columns, height, rows),
            (height, rows, width, columns),
        )
    )


def _part(plane: Floats, cells: Rect) -> Floats:
    return plane[cells[1] : cells[3], cells[0] : cells[2]]
