"""Masks and class maps as results: recorded, drawn, compared."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgecnn_runtime.draw import Canvas, class_color
from edgecnn_runtime.masks import from_run_lengths
from edgecnn_runtime.sinks.csv import open_table
from edgecnn_runtime.tasks import segment
from edgecnn_runtime.types import UNSEEN, Box, ClassMap, Detection, FrameResult, InstanceMask

WIDTH, HEIGHT = 80, 60


def instance(
    x: int = 10, score: float = 0.9, index: int = 0, rows: slice = slice(0, 20)
) -> InstanceMask:
    mask = np.zeros((20, 30), np.bool_)
    mask[rows] = True
    box = Box(float(x), 5.0, x + 30.0, 25.0)
    return InstanceMask(box, score, "cat", index, mask, (x, 5), (HEIGHT, WIDTH))


def class_map(road: int = 50, labels: tuple[str, ...] = ("background", "road", "car")) -> ClassMap:
    """Road from a row on, a car on it, background above, and a column that was not looked at."""
    classes = np.zeros((HEIGHT, WIDTH), np.uint8)
    classes[road:] = 1
    classes[52:56, 20:30] = 2
    classes[:, 0] = UNSEEN
    return ClassMap(classes, labels)


def test_a_record_has_the_mask_of_the_whole_frame() -> None:
    (record,) = segment.serialize([instance(rows=slice(0, 10))])
    assert (record["label"], record["score"], record["area"]) == ("cat", 0.9, 300)
    assert record["mask"] == {"size": [HEIGHT, WIDTH], "counts": record["mask"]["counts"]}  # type: ignore[index] # plain JSON
    whole = from_run_lengths(record["mask"]["counts"], HEIGHT, WIDTH)  # type: ignore[index] # plain JSON
    assert whole.sum() == 300
    assert whole[5:15, 10:40].all()
    assert record["polygons"] == [[[10.5, 5.5], [10.5, 14.5], [39.5, 14.5], [39.5, 5.5]]]


def test_a_class_map_has_one_record_per_class() -> None:
    records = segment.serialize(class_map())
    assert [record["label"] for record in records] == ["background", "road", "car"]
    assert [record["area"] for record in records] == [50 * 79, 10 * 79 - 40, 40]
    assert records[2]["box"] == [20.0, 52.0, 30.0, 56.0]
    assert all("score" not in record for record in records)
    assert segment.count(class_map()) == 3
    assert segment.summarize(class_map()) == "background 83 %, road 16 %, car 1 %"
    nothing = ClassMap(np.full((HEIGHT, WIDTH), UNSEEN, np.uint8), ())
    assert (segment.count(nothing), segment.serialize(nothing)) == (0, [])
    assert segment.summarize(nothing) == "nothing found"


@pytest.mark.parametrize("result", [[instance()], class_map()])
def test_cells_of_a_table_are_numbers_with_spaces(
    tmp_path: Path, frame_result: Callable[..., FrameResult], result: segment.Segments
) -> None:
    table = open_table(tmp_path / "out.csv")
    table.write(frame_result(result, task="segment"))
    table.close()
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row, record in zip(rows, segment.serialize(result), strict=True):
        numbers = [int(number) for number in row["mask"].split()]
        assert numbers[:2] == [HEIGHT, WIDTH]
        assert sum(numbers[2:]) == HEIGHT * WIDTH
        paths = [path.split() for path in row["polygons"].split(";")]
        points = [len(path) for path in record["polygons"]]  # type: ignore[attr-defined] # plain JSON
        assert [len(path) for path in paths] == [2 * count for count in points]


def test_masks_are_translucent_and_backgrounds_stay() -> None:
    pixels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    canvas = Canvas(pixels)
    canvas.mask(instance().mask, (10, 5), class_color(0))
    inside, outside = pixels[15, 25], pixels[40, 25]
    assert (outside == 90).all()
    expected = [0.6 * 90 + 0.4 * value for value in class_color(0)]
    assert inside.tolist() == pytest.approx(expected, abs=1)
    pixels[:] = 90
    Canvas(pixels).class_map(class_map().classes, hidden=[0])
    assert (pixels[:50] == 90).all()
    assert (pixels[:, 0] == 90).all()
    assert pixels[51, 5].tolist() != pixels[55, 25].tolist() != [90, 90, 90]
    Canvas(pixels).class_map(np.zeros((3, 3), np.uint8))  # of another picture
    segment.draw(Canvas(pixels), class_map())
    segment.draw(Canvas(np.empty((0, 0, 3), np.uint8)), [])


def test_objects_are_the_same_by_their_masks() -> None:
    same = segment.matches([instance()], [instance(11)], 0.25)
    assert same.equal == same.total == 2
    for other in (
        [instance(rows=slice(0, 10))],  # the same box, half of the mask
        [instance(index=1)],
        [instance(score=0.8)],
        [instance(30)],
        [],
    ):
        result = segment.matches([instance()], other, 0.25)
        assert result.equal < result.total
    empty = instance(rows=slice(0, 0))
    assert segment.matches([empty], [empty], 0.25) == (2, 2)
    assert segment.matches([instance()], class_map(), 0.25).equal == 0


def test_class_maps_are_the_same_by_their_classes() -> None:
    assert segment.matches(class_map(), class_map(), 0.0) == (2, 2)  # the car is a small one
    result = segment.matches(class_map(), class_map(45), 0.0)
    assert (result.equal, result.total) == (1, 2)
    other_size = ClassMap(np.zeros((10, 10), np.uint8), ())
    assert segment.matches(class_map(), other_size, 0.0).equal == 0
    assert segment.distances(class_map(), class_map(), 0.0) == [0.0, 0.0]
    assert max(segment.distances(class_map(), class_map(45), 0.0)) > 1.0


def test_boxes_are_followed_and_class_maps_are_not() -> None:
    found = instance()
    (detection,) = segment.detections([found])
    assert detection == Detection(found.box, 0.9, "cat", 0, shape=found)
    assert segment.detections(class_map()) == ()
