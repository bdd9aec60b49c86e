"""Answers about whole frames: what lasts counts, what flickers does not."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.track.answer import Answer, AnswerTracker, answer_of
from edgecnn_runtime.track.still import StillTracker
from edgecnn_runtime.types import Box, Classification, Detection, Embedding, Frame, Reading, Track

WHOLE = Box(0.0, 0.0, 64.0, 48.0)
FRAME = Frame(np.zeros((48, 64, 3), np.uint8), 0, 0.0, None, "camera")


def say(text: str) -> list[Detection]:
    return [Detection(WHOLE, 0.9, text, 0)] if text else []


def listen(
    texts: Sequence[str], fps: float = 5.0, **settings: float
) -> list[tuple[float, str, str]]:
    """When an answer begins and ends."""
    tracker, known, changes = AnswerTracker(Answer(**settings)), set[int](), []
    for i, text in enumerate(texts):
        for track in tracker.update(say(text), i / fps):
            if track.state == "ended" or track.id not in known:
                changes.append((i / fps, track.state, track.detection.label))
            known.add(track.id)
    return changes


def test_an_answer_that_stands_counts_once() -> None:
    assert listen(["A"] * 20) == [(0.4, "confirmed", "A")]


def test_it_takes_two_frames_at_any_rate() -> None:
    assert listen(["A"], fps=0.5) == []
    assert listen(["A", "A"], fps=0.5) == [(2.0, "confirmed", "A")]
    assert listen(["A"] * 20, fps=25.0)[0][0] == pytest.approx(0.32)


@pytest.mark.parametrize("slip", [["B"], ["B", ""], ["B", "C"], ["", ""]])
def test_a_slip_changes_nothing(slip: list[str]) -> None:
    assert listen([*["A"] * 5, *slip, *["A"] * 5]) == [(0.4, "confirmed", "A")]


def test_another_answer_ends_the_one_before() -> None:
    changes = listen([*["A"] * 5, *["B"] * 5])
    assert changes == [(0.4, "confirmed", "A"), (1.4, "ended", "A"), (1.4, "confirmed", "B")]


def test_silence_ends_an_answer_after_a_while() -> None:
    changes = listen([*["A"] * 5, *[""] * 20, *["A"] * 5], max_gap=1.0)
    assert [change[1:] for change in changes] == [
        ("confirmed", "A"), ("ended", "A"), ("confirmed", "A")
    ]  # fmt: skip
    assert changes[1][0] == pytest.approx(2.0)


def test_frames_out_of_order_and_a_clock_that_is_set_back() -> None:
    tracker = AnswerTracker()
    for at in (100.0, 100.2, 100.4):
        tracks = tracker.update(say("A"), at)
    assert tracker.update(say("B"), 100.3) == tracks
    (ended,) = tracker.update(say("A"), 5.0)
    assert (ended.state, ended.id) == ("ended", tracks[0].id)
    for at in (5.2, 5.4):
        (track,) = tracker.update(say("A"), at) or [None]
    assert track is not None
    assert track.id > ended.id
    for wrong in (math.nan, math.inf):
        with pytest.raises(ValueError, match="finite"):
            tracker.update(say("A"), wrong)


@given(st.lists(st.tuples(st.floats(-2, 2), st.sampled_from(["", "A", "B"])), max_size=40))
def test_whatever_comes_there_is_one_answer_at_a_time(steps: list[tuple[float, str]]) -> None:
    tracker, at, over, alive = AnswerTracker(), 100.0, set[int](), dict[int, Track]()
    for step, text in steps:
        at += step
        tracks = tracker.update(say(text), at)
        numbers = [track.id for track in tracks]
        assert numbers == sorted(set(numbers))
        assert not over.intersection(numbers)
        assert set(alive) <= set(numbers)
        over |= {track.id for track in tracks if track.state == "ended"}
        alive = {track.id: track for track in tracks if track.state != "ended"}
        assert len(alive) <= 1


def test_results_become_answers() -> None:
    scores = np.array([0.1, 0.9], np.float32)
    (one,) = answer_of(FRAME, Classification("on", 1, 0.9, scores))
    assert (one.box, one.label, one.score) == (WHOLE, "on", 0.9)
    assert answer_of(FRAME, Reading("12", 0.8))[0].label == "12"
    assert answer_of(FRAME, Reading("", 1.0)) == []
    assert answer_of(FRAME, Embedding(scores)) == []


def test_each_thing_in_a_picture_is_one_of_its_own() -> None:
    tracker = StillTracker(score=0.5)
    first = tracker.update([*say("A"), *say("A"), Detection(WHOLE, 0.4, "A", 0)], 0.0)
    assert [(track.id, track.state) for track in first] == [(1, "confirmed"), (2, "confirmed")]
    second = tracker.update(say("A"), 0.0)
    assert [(track.id, track.state) for track in second] == [
        (1, "ended"), (2, "ended"), (3, "confirmed")
    ]  # fmt: skip
    tracker.reset()
    assert tracker.update([], 0.0) == []
