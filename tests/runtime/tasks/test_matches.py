"""Results that a person would call equal, and the share of findings that are."""

from typing import Any

import numpy as np
import pytest

from edgecnn_runtime.geometry import iou
from edgecnn_runtime.tasks import TASKS
from edgecnn_runtime.types import Box, Classification, Detection, Embedding, Reading
from edgecnn_runtime.verification.result_matching import agreement_rate, results_match

THRESHOLD = 0.5


def face(x: float, score: float = 0.9, index: int = 0) -> Detection:
    return Detection(Box(x, 0, x + 10, 10), score, "face", index)


SCORES = np.array([0.9, 0.1], np.float32)
CASES: list[tuple[str, Any, Any, bool]] = [
    ("classify", Classification("a", 0, 0.9, SCORES), Classification("a", 0, 0.6, SCORES), True),
    ("classify", Classification("a", 0, 0.9, SCORES), Classification("b", 1, 0.9, SCORES), False),
    ("ocr", Reading("AB12", 0.9), Reading("AB12", 0.5), True),
    ("ocr", Reading("AB12", 0.9), Reading("A812", 0.9), False),
    ("ocr", Reading("AB", 0.5, (0.9, 0.5)), Reading("A8", 0.5, (0.9, 0.5)), True),
    ("ocr", Reading("AB", 0.5, (0.9, 0.5)), Reading("A8", 0.7, (0.9, 0.7)), False),
    ("ocr", Reading("AB", 0.5, (0.9, 0.5)), Reading("A", 0.9, (0.9,)), False),
    ("embed", Embedding(SCORES), Embedding(SCORES * 2), True),
    ("embed", Embedding(SCORES), Embedding(SCORES[::-1]), False),
    ("detect", [], [], True),
    ("detect", [face(0), face(50)], [face(50), face(0.5)], True),
    ("detect", [face(0)], [face(3)], False),
    ("detect", [face(0)], [face(0, index=1)], False),
    ("detect", [face(0, 0.9)], [face(0, 0.8)], False),
    ("detect", [face(0)], [], False),
    ("detect", [face(0), face(0.2)], [face(0)], False),
    ("detect", [face(0)], [face(0), face(80, 0.53)], True),
    ("detect", [face(0)], [face(0), face(80, 0.60)], False),
]


@pytest.mark.parametrize(("task", "ours", "reference", "same"), CASES)
def test_equal_results_are_what_a_person_would_call_equal(
    task: str, ours: Any, reference: Any, same: bool
) -> None:
    for pair in ((ours, reference), (reference, ours)):
        equal, total = TASKS[task].matches(*pair, THRESHOLD)
        assert (equal == total) is same


def test_boxes_are_counted_one_by_one_and_pictures_where_there_are_none(build: Any) -> None:
    detector = build.yunet_manifest(32, 32, decode={"score": THRESHOLD}).model
    pairs: list[tuple[Any, Any]] = [
        ([face(0), face(50), face(99)], [face(0), face(50)]),  # 4 of 5
        ([], []),  # 1 of 1
        ([face(0)], [face(0), face(80, 0.53)]),  # 2 of 2: what barely passes needs no partner
    ]
    assert agreement_rate(detector, pairs) == pytest.approx(7 / 8)
    assert [results_match(detector, *pair) for pair in pairs] == [False, True, True]


@pytest.mark.parametrize("least", [0.6, 0.88])
def test_the_last_ones_of_a_full_result_may_be_others(build: Any, least: float) -> None:
    """The head keeps the best five: which of those about as sure is the fifth, rounding decides.

    Not where most of them are as sure: then two results may differ in everything.
    """
    decode = {"score": THRESHOLD, "max_detections": 5}
    detector = build.yunet_manifest(32, 32, decode=decode).model
    sure = [face(50 * place, 0.9) for place in range(4)]
    last, other = face(300, least), face(400, least + 0.001)
    assert (agreement_rate(detector, [([*sure, last], [*sure, other])]) == 1.0) is (least < 0.8)
    assert agreement_rate(detector, [(sure, [*sure[:3], other])]) < 1.0
    assert agreement_rate(detector, [([*sure, last], [*sure[:3], other, last])]) < 1.0


def test_texts_are_counted_by_picture(task: Any) -> None:
    texts = [(Reading("A", 1.0), Reading("A", 1.0)), (Reading("A", 1.0), Reading("B", 1.0))]
    assert agreement_rate(task("ocr"), texts) == 0.5


@pytest.mark.parametrize(("off", "same"), [(2.4, True), (2.6, False)])
def test_a_landmark_may_move_a_quarter_of_the_side(off: float, same: bool) -> None:
    one, other = (
        Detection(Box(0, 0, 10, 10), 0.9, "face", 0, ((4.0, 4.0), (4.0 + x, 8.0))) for x in (0, off)
    )
    detect = TASKS["detect"]
    assert detect.matches([one], [other], 0.0) == ((2, 2) if same else (0, 2))
    assert detect.matches([one], [face(0)], 0.0) == (0, 2)


def test_iou() -> None:
    assert iou(Box(0, 0, 2, 2), Box(1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert iou(Box(0, 0, 1, 1), Box(1, 0, 2, 1)) == 0.0
    assert iou(Box(0, 0, 0, 0), Box(0, 0, 0, 0)) == 0.0
