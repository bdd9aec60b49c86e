"""The metrics that labeled data is scored by, on answers whose score is known."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.evaluation.dataset import LabeledImage, LabeledObject
from edgecnn_runtime.evaluation.measures import BOXES
from edgecnn_runtime.evaluation.metrics import (
    Score,
    average_precision_by_class,
    recall_by_class,
    wilson,
)
from edgecnn_runtime.evaluation.ranking import Ranking
from edgecnn_runtime.tasks import task_of
from edgecnn_runtime.types import Box, Classification, Detection, Embedding, Reading

AsTask = Callable[[str], ModelSpec]


def score(samples: list[LabeledImage], results: list[Any], model: ModelSpec) -> Score:
    return task_of(model).score(samples, results, model)


def said(index: int) -> Classification:
    return Classification(str(index), index, 0.9, np.zeros(6, np.float32))


def test_top1_and_its_interval(classifier: ModelSpec) -> None:
    samples = [LabeledImage(Path(), label=label) for label in "aabb"]
    found = score(samples, [said(0), said(0), said(1), said(0)], classifier)
    assert (found.metric, found.value, found.samples) == ("top-1", 0.75, 4)
    assert found.low < 0.75 < found.high
    assert found.chance == pytest.approx(1 / 6)


def test_exact_match(task: AsTask) -> None:
    samples = [LabeledImage(Path(), label="A1"), LabeledImage(Path(), label="B2")]
    found = score(samples, [Reading("A1", 1.0), Reading("B3", 1.0)], task("ocr"))
    assert (found.metric, found.value) == ("exact match", 0.5)


LEFT = LabeledObject(0, Box(0, 0, 10, 10))
RIGHT = LabeledObject(0, Box(50, 0, 60, 10))


def box(x: float, confidence: float = 0.9, index: int = 0) -> Detection:
    return Detection(Box(x, 0, x + 10, 10), confidence, "car", index)


def test_map50_counts_misses_false_alarms_and_doubles(task: AsTask) -> None:
    detect = task("detect")
    truth = [LabeledImage(Path(), objects=(LEFT, RIGHT))]
    assert score(truth, [[box(0), box(51)]], detect).value == 1.0
    assert score(truth, [[box(0)]], detect).value == pytest.approx(51 / 101)
    assert score(truth, [[box(0, 0.8), box(51, 0.7), box(90, 0.9)]], detect).value < 0.7
    doubled = score(truth, [[box(0, 0.9), box(1, 0.8), box(51, 0.7)]], detect).value
    assert 0.5 < doubled < 1.0
    assert score(truth, [[box(0, index=1), box(51, index=1)]], detect).value == 0.0


def test_tar_at_far_separates_people(task: AsTask) -> None:
    random = np.random.default_rng(0)
    people = random.normal(0, 1, (12, 16))
    samples = [LabeledImage(Path(), label=str(i % 12)) for i in range(48)]

    def vectors(noise: float) -> list[Embedding]:
        return [
            Embedding((people[i % 12] + random.normal(0, noise, 16)).astype(np.float32))
            for i in range(48)
        ]

    embed = task("embed")
    sharp, blurred = score(samples, vectors(0.05), embed), score(samples, vectors(3.0), embed)
    assert sharp.value == 1.0
    assert blurred.value < 0.5
    assert blurred.low <= blurred.value <= blurred.high


def test_metrics_of_nothing_are_not_zero(task: AsTask) -> None:
    detect, embed = task("detect"), task("embed")
    assert np.isnan(score([LabeledImage(Path())] * 2, [[], [box(0)]], detect).value)
    vectors = [Embedding(np.ones(4, np.float32))] * 2
    assert np.isnan(score([LabeledImage(Path(), label="a")] * 2, vectors, embed).value)


def test_choices_of_pictures_that_say_nothing_do_not_widen_the_interval(
    task: AsTask,
) -> None:
    samples = [LabeledImage(Path(), label=label) for label in "aabb"]
    vectors = [Embedding(np.array(v, np.float32)) for v in [(1, 0), (1, 0), (0, 1), (0, 1)]]
    found = score(samples, vectors, task("embed"))
    assert (found.low, found.value, found.high) == (1.0, 1.0, 1.0)


@given(st.integers(1, 5000), st.data())
def test_wilson_holds_the_share(total: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, total))
    low, high = wilson(right, total)
    assert 0 <= low <= right / total + 1e-12
    assert right / total - 1e-12 <= high <= 1


def test_average_precision_of_a_known_ranking() -> None:
    """At 51 of the 101 recalls the precision is 1, at the others 2 of 3."""
    hits = np.array([[True, False, True, False]])
    ranking = Ranking(np.array([0, 2]), np.arange(4), hits, ~hits)
    assert ranking.average_precisions(np.ones(4), 1) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_recall_class_by_class(classifier: ModelSpec) -> None:
    samples = [LabeledImage(Path(), label=label) for label in "caabca"]
    answers = [said(index) for index in (2, 0, 1, 0, 2, 0)]
    scores = recall_by_class(samples, answers, classifier)
    assert list(scores) == ["a", "b", "c"]
    assert [score.value for score in scores.values()] == [pytest.approx(2 / 3), 0.0, 1.0]
    assert [score.samples for score in scores.values()] == [3, 1, 2]
    assert all(0 <= score.low <= score.value <= score.high <= 1 for score in scores.values())


def test_average_precision_class_by_class(task: AsTask) -> None:
    """A class without boxes has no value; its false alarms count nowhere."""
    first = LabeledImage(Path(), objects=(LEFT, RIGHT))
    samples = [first, LabeledImage(Path(), objects=(LEFT,))]
    answers = [[box(0), box(51)], [box(70), box(0, index=1)]]
    scores = average_precision_by_class(samples, answers, task("detect"), BOXES)
    assert list(scores) == ["car"]
    assert scores["car"].samples == 2
    assert scores["car"].value == pytest.approx(67 / 101)
    assert scores["car"].low < scores["car"].value < scores["car"].high


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 3)), min_size=1, max_size=12)
)
def test_a_weight_is_as_many_copies(rows: list[tuple[bool, bool, int]]) -> None:
    truth, hits, weights = (np.array(column) for column in zip(*rows, strict=True))
    places = np.flatnonzero(truth | hits)
    images = np.arange(len(rows))
    ranking = Ranking(places, images, hits[None], ~hits[None])
    several = np.repeat(images, weights)
    copies = Ranking(
        np.flatnonzero((truth | hits)[several]),
        np.arange(len(several)),
        hits[None, several],
        ~hits[None, several],
    )
    expected = copies.average_precisions(np.ones(len(several)), 1)
    weighted = ranking.average_precisions(weights.astype(float), 1)
    assert weighted == pytest.approx(expected, nan_ok=True)


def test_tar_at_far_of_many_images_pairs_those_of_some_persons(
    task: AsTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole persons, because an image alone has no pair."""
    monkeypatch.setattr("edgecnn_runtime.evaluation.metrics.MAX_PAIRED", 40)
    random = np.random.default_rng(0)
    people = random.normal(0, 1, (50, 16))
    samples = [LabeledImage(Path(), label=str(person)) for person in range(50) for _ in range(3)]
    vectors = [people[int(s.label)] + random.normal(0, 0.05, 16) for s in samples]
    found = score(samples, [Embedding(v.astype(np.float32)) for v in vectors], task("embed"))
    assert found.value == 1.0
    assert found.samples % 3 == 0
    assert 20 <= found.samples <= 40


def test_the_interval_of_a_ranking_holds_its_value(task: AsTask) -> None:
    """Pictures that are drawn twice make rankings look better; the interval is free of that."""
    random = np.random.default_rng(1)
    samples = [LabeledImage(Path(), objects=(LEFT, RIGHT))] * 60
    results = [
        [box(x, float(random.random())) for x in (0, 51, 90, 120) if random.random() < 0.6]
        for _ in samples
    ]
    found = score(samples, results, task("detect"))
    assert found.low < found.value < found.high
    assert set(found.others) == {"mAP50-95"}
    assert found.others["mAP50-95"] < found.value
