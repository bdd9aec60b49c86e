"""Run lengths and filled polygons, bit by bit as COCO's own code makes them."""

from contextlib import suppress

import numpy as np
import pycocotools.mask as coco
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgecnn_runtime.masks import run_lengths
from edgecnn_runtime.run_length import RunLengths, from_lengths, from_polygons

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
MASKS = SIZES.flatmap(lambda size: arrays(np.bool_, size))
NUMBERS = st.floats(-60, 100) | st.integers(-3, 45).map(float)


@given(MASKS)
def test_a_mask_and_back_as_coco_writes_it(mask: np.ndarray) -> None:
    runs = from_lengths(run_lengths(mask, (0, 0), *mask.shape), *mask.shape)
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert (theirs["size"], theirs["counts"]) == ([*mask.shape], runs.counts)
    assert (runs.pixels() == mask).all()
    assert from_lengths(runs.lengths().tolist(), *mask.shape) == runs


@given(
    SIZES,
    st.lists(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=3, max_size=7), min_size=1, max_size=3),
)
def test_polygons_are_filled_as_coco_fills_them(
    size: tuple[int, int], polygons: list[list[tuple[float, float]]]
) -> None:
    """Outside the picture, crossing themselves and of no area as well."""
    ours = from_polygons([np.array(points) for points in polygons], *size)
    each = coco.frPyObjects([np.ravel(points).tolist() for points in polygons], *size)
    assert (ours.pixels() == coco.decode(coco.merge(each)).astype(bool)).all()


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (b"3", "runs of 3 pixels, but 2 × 2 are 4"),
        (b"ooooooooooo", "not COCO's text"),
        (b"\x00", "not COCO's text"),
        (b"o", "in the middle"),
        (b"@", "runs of -16 pixels"),
    ],
)
def test_damaged_run_lengths_are_refused(counts: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RunLengths(2, 2, counts).pixels()


@given(st.binary(max_size=30), SIZES)
def test_any_bytes_are_a_mask_or_refused(counts: bytes, size: tuple[int, int]) -> None:
    with suppress(ValueError):
        assert RunLengths(*size, counts).pixels().shape == size
