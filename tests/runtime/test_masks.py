"""Masks as run lengths and polygons, and how much two of them overlap."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from edgecnn_runtime.masks import from_run_lengths, mask_iou, polygons, run_lengths

Mask = NDArray[np.bool_]

masks = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=7))
margins = st.tuples(*[st.integers(0, 3)] * 4)


def whole(mask: Mask, margin: tuple[int, int, int, int]) -> Mask:
    left, top, right, bottom = margin
    return np.pad(mask, ((top, bottom), (left, right)))


def coco(mask: Mask) -> list[int]:
    """rleEncode of cocoapi, pixel by pixel."""
    counts, last, count = [], False, 0
    for pixel in mask.T.reshape(-1).tolist():
        if pixel != last:
            counts.append(count)
            count, last = 0, pixel
        count += 1
    return [*counts, count]


@given(masks, margins)
def test_run_lengths_are_those_of_coco(mask: Mask, margin: tuple[int, int, int, int]) -> None:
    picture = whole(mask, margin)
    counts = run_lengths(mask, margin[:2], *picture.shape)
    assert counts == coco(picture)
    assert (from_run_lengths(counts, *picture.shape) == picture).all()


def test_runs_go_on_from_one_full_column_to_the_next() -> None:
    assert run_lengths(np.ones((2, 3), np.bool_), (0, 0), 2, 4) == [0, 6, 2]
    assert run_lengths(np.ones((2, 3), np.bool_), (1, 0), 2, 4) == [2, 6]
    assert run_lengths(np.zeros((2, 3), np.bool_), (0, 0), 2, 4) == [8]


def test_runs_of_another_picture_are_refused() -> None:
    with pytest.raises(ValueError, match="5 pixels in runs, and 6"):
        from_run_lengths([2, 3], 2, 3)


def test_a_polygon_covers_its_mask_but_for_its_corners() -> None:
    mask = np.zeros((60, 80), np.uint8)
    cv2.circle(mask, (30, 30), 20, 1, -1)
    cv2.rectangle(mask, (60, 5), (70, 9), 1, -1)
    first, second = polygons(mask.astype(np.bool_), (100, 50))
    assert second == [(160.5, 55.5), (160.5, 59.5), (170.5, 59.5), (170.5, 55.5)]
    drawn = np.zeros_like(mask)
    for path in (first, second):
        points = (np.array(path) - 0.5 - (100, 50)).astype(np.int32)
        cv2.fillPoly(drawn, [points], 1)
    assert mask_iou(mask > 0, (0, 0), drawn > 0, (0, 0)) > 0.97
    assert len(first) < 40


def test_a_mask_without_an_area_has_no_polygon() -> None:
    assert polygons(np.zeros((3, 3), np.bool_)) == []
    assert polygons(np.eye(1, dtype=np.bool_)) == []


@given(masks, margins, masks, margins)
def test_overlap_is_that_of_the_whole_picture(
    one: Mask, at: tuple[int, int, int, int], other: Mask, to: tuple[int, int, int, int]
) -> None:
    pictures = []
    for mask, (left, top, _, _) in ((one, at), (other, to)):
        picture = np.zeros((10, 10), np.bool_)
        picture[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
        pictures.append(picture)
    first, second = pictures
    union = np.count_nonzero(first | second)
    expected = np.count_nonzero(first & second) / union if union else 0.0
    assert mask_iou(one, at[:2], other, to[:2]) == pytest.approx(expected)
