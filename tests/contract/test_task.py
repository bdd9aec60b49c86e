"""What every task must do, whoever writes the next one: it adds its own examples below."""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import cv2
import msgspec
import numpy as np
import pytest

from edgecnn_runtime.bundle.manifest import Decode, ModelSpec
from edgecnn_runtime.draw import Canvas
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.evaluation.dataset import SourceLocation
from edgecnn_runtime.sinks.annotator import Annotator
from edgecnn_runtime.sinks.csv import FRAME_COLUMNS, open_table
from edgecnn_runtime.tasks import TASKS, fake
from edgecnn_runtime.types import (
    Box,
    Classification,
    Detection,
    Embedding,
    FrameResult,
    InstanceMask,
    Keypoint,
    PoseDetection,
    Reading,
    RotatedBox,
    RotatedDetection,
)

MakeResult = Callable[..., FrameResult]
AsTask = Callable[[str], ModelSpec]
HOSTILE = "\x1b[31mred\n\u202e"
THRESHOLD = 0.25


def scores(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def detection(x: float, label: str = "car", index: int = 0) -> Detection:
    points = ((x + 20.0, 60.0), (x + 40.0, 60.0))
    return Detection(Box(x, 20.0, x + 100.25, 140.0), 0.93, label, index, points)


def pose(x: float, label: str = "car", index: int = 0) -> PoseDetection:
    keypoints = (Keypoint(x + 20.0, 60.0, 0.9), Keypoint(x + 40.0, 60.0, 0.1))
    box = Box(x, 20.0, x + 100.25, 140.0)
    return PoseDetection(box, 0.93, label, index, keypoints, ((0, 1),))


def instance(x: int, label: str = "car", index: int = 0) -> InstanceMask:
    mask = np.ones((120, 100), np.bool_)
    box = Box(x, 20.0, x + 100.25, 140.0)
    return InstanceMask(box, 0.93, label, index, mask, (x, 20), (240, 320))


def rotated(x: float, label: str = "car", index: int = 0) -> RotatedDetection:
    return RotatedDetection(RotatedBox(x + 50, 50.0, 100.0, 60.0, 0.1), 0.93, label, index)


@dataclass(frozen=True)
class Example:
    """Results of one task.

    Attributes:
        result: One with something in it.
        different: A clearly different one.
        nothing: One with nothing in it; None where a result always holds something.
        hostile: One whose words come from a stranger; None for a task without words.
        table: A table of labels, for images 1.png to 4.png.
        perfect: The results that fit the table.
    """

    result: Any
    different: Any
    nothing: Any
    hostile: Any
    table: str
    perfect: Sequence[Any]


ON, OFF = (
    Classification("b", 1, 0.9, scores(0.1, 0.9)),
    Classification("a", 0, 0.9, scores(0.9, 0.1)),
)
ANNA, BEN = Embedding(scores(1, 0)), Embedding(scores(0, 1))
EXAMPLES = {
    "classify": Example(
        result=ON,
        different=OFF,
        nothing=None,
        hostile=Classification(HOSTILE, 0, 0.9, scores(0.9, 0.1)),
        table="file,label\n1.png,a\n2.png,b\n",
        perfect=[OFF, ON],
    ),
    "ocr": Example(
        result=Reading("苏A·1", 0.6, (0.9, 0.6, 0.8, 0.7)),
        different=Reading("苏B·2", 0.6, (0.9, 0.6, 0.8, 0.7)),
        nothing=Reading("", 1.0),
        hostile=Reading(HOSTILE, 0.6, (0.6,) * len(HOSTILE)),
        table="file,text\n1.png,AB 12\n2.png,CD\n",
        perfect=[Reading("AB 12", 1.0), Reading("CD", 1.0)],
    ),
    "detect": Example(
        result=[detection(10), detection(150, "bus", 1)],
        different=[detection(60)],
        nothing=[],
        hostile=[detection(10, HOSTILE)],
        table="file,x,y,w,h,label\n1.png,10,20,100.25,120,car\n2.png,150,20,100.25,120,bus\n3.png,,,,,\n",
        perfect=[[detection(10)], [detection(150, "bus", 1)], []],
    ),
    "pose": Example(
        result=[pose(10), pose(150, "bus", 1)],
        different=[pose(60)],
        nothing=[],
        hostile=[pose(10, HOSTILE)],
        table="file,x,y,w,h,points,label\n1.png,10,20,100.25,120,30 60 2 50 60 1,car\n"
        "2.png,150,20,100.25,120,170 60 2 0 0 0,bus\n3.png,,,,,,\n",
        perfect=[[pose(10)], [pose(150, "bus", 1)], []],
    ),
    "obb": Example(
        result=[rotated(10), rotated(150, "bus", 1)],
        different=[rotated(60)],
        nothing=[],
        hostile=[rotated(10, HOSTILE)],
        table="file,corners,label\n1.png,13.24 15.16 112.75 25.14 106.76 84.84 7.25 74.86,car\n"
        "2.png,153.24 15.16 252.75 25.14 246.76 84.84 147.25 74.86,bus\n3.png,,\n",
        perfect=[[rotated(10)], [rotated(150, "bus", 1)], []],
    ),
    "fake": Example(
        result=0.25,
        different=0.5,
        nothing=None,
        hostile=None,
        table="file,label\n1.png,0.25\n2.png,0.5\n",
        perfect=[0.25, 0.5],
    ),
    "segment": Example(
        result=[instance(10), instance(150, "bus", 1)],
        different=[instance(60)],
        nothing=[],
        hostile=[instance(10, HOSTILE)],
        table="file,polygon,label\n1.png,10 20 110 20 110 140 10 140,car\n"
        "2.png,150 20 250 20 250 140 150 140,bus\n3.png,,\n",
        perfect=[[instance(10)], [instance(150, "bus", 1)], []],
    ),
    "embed": Example(
        result=ANNA,
        different=BEN,
        nothing=None,
        hostile=None,
        table="file,label\n1.png,anna\n2.png,anna\n3.png,ben\n4.png,ben\n",
        perfect=[ANNA, ANNA, BEN, BEN],
    ),
}  # fmt: skip


NAMES = [*TASKS, "fake"]
FINDERS = [name for name in NAMES if EXAMPLES[name].nothing is not None]
"""Tasks whose result may hold nothing."""


@pytest.fixture(autouse=True)
def one_more_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "fake", fake)


@pytest.fixture
def model(request: pytest.FixtureRequest, classifier: ModelSpec, task: AsTask) -> ModelSpec:
    """A model of the task ``name``."""
    name = request.getfixturevalue("name")
    if name in {"classify", "fake"}:
        return msgspec.structs.replace(classifier, task=name)
    return task(name)


def results_of(name: str) -> list[Any]:
    example = EXAMPLES[name]
    optional = [result for result in (example.nothing, example.hostile) if result is not None]
    return [example.result, example.different, *optional]


def test_every_task_has_examples() -> None:
    assert {*EXAMPLES} == {*NAMES}


def test_every_head_of_the_manifest_has_one_decoder() -> None:
    heads = [head for task in TASKS.values() if task is not fake for head in task.decoders]
    assert sorted(heads, key=str) == sorted(get_args(Decode), key=str)


@pytest.mark.parametrize("name", NAMES)
def test_records_are_plain_json_values(name: str) -> None:
    for result in results_of(name):
        records = TASKS[name].serialize(result)
        assert json.loads(json.dumps(records, allow_nan=False)) == records
        assert len(records) == TASKS[name].count(result)
    assert TASKS[name].serialize(EXAMPLES[name].result)


@pytest.mark.parametrize("name", FINDERS)
def test_nothing_counts_as_nothing_and_can_still_be_said(name: str) -> None:
    task, nothing = TASKS[name], EXAMPLES[name].nothing
    assert task.count(nothing) == 0
    assert task.serialize(nothing) == []
    assert task.summarize(nothing)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_of_a_table_fills_the_columns_of_the_task(
    tmp_path: Path, frame_result: MakeResult, name: str
) -> None:
    table = open_table(tmp_path / "out.csv")
    for result in results_of(name):
        table.write(frame_result(result, task=name))
    table.close()
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = {column for column, cell in rows[0].items() if cell} - {*FRAME_COLUMNS}
    assert columns == {*TASKS[name].columns}


@pytest.mark.parametrize("name", NAMES)
def test_words_are_one_line_that_a_terminal_may_print(name: str) -> None:
    for result in results_of(name):
        words = TASKS[name].summarize(result)
        assert words.isprintable()
        assert words.strip()


@pytest.mark.parametrize("name", NAMES)
def test_a_result_matches_itself_and_no_other(name: str) -> None:
    task, example = TASKS[name], EXAMPLES[name]
    for result in results_of(name):
        equal, total = task.matches(result, result, THRESHOLD)
        assert equal == total > 0
    for pair in ((example.result, example.different), (example.different, example.result)):
        equal, total = task.matches(*pair, THRESHOLD)
        assert equal < total


@pytest.mark.parametrize("name", NAMES)
def test_only_a_task_that_locates_says_how_far_results_are_apart(name: str) -> None:
    task, example = TASKS[name], EXAMPLES[name]
    assert not any(task.distances(example.result, example.result, THRESHOLD))
    apart = task.distances(example.result, example.different, THRESHOLD)
    assert any(distance > 1.0 for distance in apart) is task.locates


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (28, 28), (240, 320)])
def test_it_draws_on_the_canvas_and_nowhere_else(name: str, size: tuple[int, int]) -> None:
    height, width = size
    for result in results_of(name):
        memory = np.full((3 * height, width, 3), 90, np.uint8)
        pixels = memory[height : 2 * height]
        TASKS[name].draw(Canvas(pixels, labels=["a", "b"]), result)
        assert (memory[:height] == 90).all()
        assert (memory[2 * height :] == 90).all()
        if size == (240, 320) and TASKS[name].count(result):
            assert (pixels != 90).any()


@pytest.mark.parametrize("name", NAMES)
def test_a_frame_stays_as_it_was(frame_result: MakeResult, name: str) -> None:
    annotator = Annotator(["a", "b"], roi=(10, 10, 200, 100))
    for result in results_of(name):
        framed = frame_result(result, task=name, gray=90)
        assert not framed.frame.pixels.flags.writeable
        assert annotator.annotate(framed) is not framed.frame.pixels
        assert (framed.frame.pixels == 90).all()


@pytest.fixture
def labels(tmp_path: Path, name: str) -> Path:
    """The table of the example, with its images beside it."""
    for number in range(1, 5):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((240, 320, 3), 90, np.uint8))
    path = tmp_path / "labels.csv"
    path.write_text(EXAMPLES[name].table, "utf-8")
    return path


@pytest.mark.parametrize("name", NAMES)
def test_perfect_answers_score_one_and_others_less(
    name: str, model: ModelSpec, labels: Path
) -> None:
    task, perfect = TASKS[name], EXAMPLES[name].perfect
    labeled = task.read_labels(SourceLocation(labels), model)
    assert [frame.shape for _, frame in labeled.frames()] == [(240, 320, 3)] * len(perfect)
    score = task.score(labeled.samples, perfect, model)
    assert (score.value, score.high, score.samples) == (1.0, 1.0, len(perfect))
    assert score.metric
    assert task.score(labeled.samples, [*perfect[1:], perfect[0]], model).value < 1.0
    assert 0.0 <= score.chance < 1.0
    classes = task.score_classes(labeled.samples, perfect, model)
    assert {each.value for each in classes.values()} <= {1.0}
    assert classes.keys() <= set(model.labels)


@pytest.mark.parametrize("name", NAMES)
def test_labels_that_cannot_be_read_name_the_argument(
    name: str, model: ModelSpec, labels: Path
) -> None:
    labels.write_text("nonsense\n")
    for path, line in ((labels, ":1"), (labels.parent / "absent", "")):
        with pytest.raises(UsageError) as caught:
            TASKS[name].read_labels(SourceLocation(path, argument="--any-flag"), model)
        assert str(caught.value).startswith(f"--any-flag {path}{line}: ")


@pytest.mark.parametrize("name", FINDERS)
def test_a_model_that_finds_nothing_scores_zero(name: str, model: ModelSpec, labels: Path) -> None:
    samples = TASKS[name].read_labels(SourceLocation(labels), model).samples
    nothing = [EXAMPLES[name].nothing] * len(samples)
    assert TASKS[name].score(samples, nothing, model).value == 0.0
