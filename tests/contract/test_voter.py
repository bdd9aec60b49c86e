"""What every vote must do, whoever writes the next one: it adds its answers to ANSWERS."""

from typing import Any, NamedTuple

import numpy as np
import pytest

from edgecnn_runtime.tasks import TASKS
from edgecnn_runtime.types import (
    Box,
    Classification,
    Decision,
    Detection,
    Embedding,
    Frame,
    Observation,
    Reading,
    Track,
)
from edgecnn_runtime.vote import VOTERS, TrackVoter, voter_for_task

BOX = Box(10.0, 20.0, 50.0, 40.0)


class Answers(NamedTuple):
    """Two different results of one task, and one that says nothing (None where there is none)."""

    one: Any
    other: Any
    nothing: Any


def classification(*scores: float) -> Classification:
    index = int(np.argmax(scores))
    return Classification("ab"[index], index, scores[index], np.array(scores, np.float32))


ANSWERS = {
    "text": Answers(
        Reading("AB123", 0.8, (0.9, 0.8, 0.9, 0.9, 0.9)), Reading("XY987", 0.9), Reading("", 1.0)
    ),
    "label": Answers(classification(0.9, 0.1), classification(0.2, 0.8), None),
    "embedding": Answers(
        Embedding(np.array([0.6, 0.8], np.float32)),
        Embedding(np.array([-0.8, 0.6], np.float32)),
        Embedding(np.zeros(2, np.float32)),
    ),
}
everyone = pytest.mark.parametrize("name", VOTERS)


def observe(result: Any, quality: float = 0.5, track: int = 1, index: int = 0) -> Observation:
    pixels = np.zeros((60, 80, 3), np.uint8)
    frame = Frame(pixels, index, index / 25, None, "camera")
    return Observation(track, result, quality, frame.captured, pixels[20:40, 10:50], frame, BOX)


def make_track(number: int = 1) -> Track:
    detection = Detection(BOX, 0.9, "plate", 0)
    return Track(number, "ended", detection, BOX, (0.0, 0.0), 0.0, 1.0, 5)


def same(one: Decision | None, result: Any) -> bool:
    """Whether a decision is what a result says."""
    if one is None:
        return False
    if isinstance(result, Embedding):
        assert one.vector is not None
        return bool(np.allclose(one.vector, result.vector, atol=1e-6))
    return one.text == (result.text if isinstance(result, Reading) else result.label)


def test_every_vote_has_answers_and_a_task() -> None:
    assert {*ANSWERS} == {*VOTERS}
    for name, kind in VOTERS.items():
        assert kind.task in TASKS
        assert voter_for_task(kind.task) == name
    assert voter_for_task("detect") == ""


@everyone
def test_it_decides_once_there_are_enough_observations(name: str) -> None:
    voter, track = TrackVoter(VOTERS[name], votes=3), make_track()
    assert voter.decide(track) is None
    for index in range(3):
        assert voter.decide(track) is None
        voter.add(observe(ANSWERS[name].one, index=index))
    decision = voter.decide(track)
    assert decision is not None
    assert same(decision, ANSWERS[name].one)
    assert decision.votes == 3
    assert 0 <= decision.score <= 1
    assert decision == voter.decide(track), "asking changes nothing"


@everyone
def test_the_last_word_needs_one_observation_and_is_the_last(name: str) -> None:
    voter, track = TrackVoter(VOTERS[name], votes=3), make_track()
    voter.add(observe(ANSWERS[name].one))
    assert same(voter.close(track), ANSWERS[name].one)
    assert voter.close(track) is None
    assert voter.decide(track) is None


@everyone
def test_the_majority_wins_and_its_best_crop_is_the_evidence(name: str) -> None:
    voter = TrackVoter(VOTERS[name], votes=1, score=0.0)
    one, other, _ = ANSWERS[name]
    for quality, result in ((0.3, one), (0.6, one), (0.5, one), (0.55, one)):
        voter.add(observe(result, quality))
    if name != "embedding":  # which has no answers that could differ
        voter.add(observe(other, 0.7))
    decision = voter.close(make_track())
    assert same(decision, one)
    assert decision is not None
    assert decision.best.quality == 0.6
    assert decision.best.crop.size


@everyone
def test_a_good_crop_outvotes_bad_ones(name: str) -> None:
    voter = TrackVoter(VOTERS[name], votes=1, score=0.0)
    for _ in range(3):
        voter.add(observe(ANSWERS[name].one, 0.02))
    voter.add(observe(ANSWERS[name].other, 0.9))
    decision = voter.close(make_track())
    assert decision is not None
    if name == "embedding":
        assert decision.vector is not None
        assert decision.vector @ ANSWERS[name].other.vector > 0.95
    else:
        assert same(decision, ANSWERS[name].other)


@everyone
def test_disagreement_is_no_decision(name: str) -> None:
    voter = TrackVoter(VOTERS[name], votes=1, score=0.8)
    for result in ANSWERS[name][:2]:
        voter.add(observe(result))
    assert voter.decide(make_track()) is None


@everyone
def test_tracks_do_not_mix(name: str) -> None:
    voter = TrackVoter(VOTERS[name], votes=1)
    one, other, _ = ANSWERS[name]
    voter.add(observe(one, track=1))
    voter.add(observe(other, track=2))
    assert same(voter.close(make_track(1)), one)
    assert same(voter.close(make_track(2)), other)


@everyone
def test_a_reset_forgets_everything(name: str) -> None:
    voter = TrackVoter(VOTERS[name], votes=1)
    voter.add(observe(ANSWERS[name].one))
    voter.reset()
    assert voter.close(make_track()) is None


@pytest.mark.parametrize("name", [name for name, each in ANSWERS.items() if each.nothing])
def test_nothing_is_no_decision(name: str) -> None:
    voter = TrackVoter(VOTERS[name], votes=1, score=0.0)
    for _ in range(3):
        voter.add(observe(ANSWERS[name].nothing))
    assert voter.close(make_track()) is None


@everyone
def test_it_holds_few_frames_of_a_track(name: str) -> None:
    """A frame of 1080p is 6 MB."""
    import gc
    import weakref

    voter = TrackVoter(VOTERS[name], votes=1)
    frames = []
    for index in range(40):
        result = ANSWERS[name].one
        if isinstance(result, Reading):
            result = Reading(f"AB{index}", 0.9)
        observation = observe(result, quality=0.2 + index / 100, index=index)
        frames.append(weakref.ref(observation.crop.base))
        voter.add(observation)
    del observation
    gc.collect()
    assert 1 <= sum(frame() is not None for frame in frames) <= 4
