"""Labeled objects of every shape, in YOLO texts, COCO JSON and tables, and what does not match."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.evaluation.dataset import LabeledObject, LabeledSet, SourceLocation
from edgecnn_runtime.evaluation.label_shapes import (
    BOXES,
    MASKS,
    ROTATED,
    LabelShape,
    keypoints,
)
from edgecnn_runtime.evaluation.object_labels import read_object_labels
from edgecnn_runtime.masks import run_lengths
from edgecnn_runtime.run_length import RunLengths, from_lengths
from edgecnn_runtime.types import Box

AsTask = Callable[[str], ModelSpec]
WIDTH, HEIGHT = 100, 50
POINTS = keypoints(2)


@pytest.fixture(scope="session")
def model(task: AsTask) -> ModelSpec:
    """A detector with the classes car and bus."""
    return task("detect")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "1.png"), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    return tmp_path / "1.png"


def read(path: Path, model: ModelSpec, shape: LabelShape) -> LabeledSet:
    return read_object_labels(SourceLocation(path, argument="--eval-data"), model, shape)


def square(x1: int, y1: int, x2: int, y2: int) -> RunLengths:
    inside = np.ones((y2 - y1, x2 - x1), np.bool_)
    return from_lengths(run_lengths(inside, (x1, y1), HEIGHT, WIDTH), HEIGHT, WIDTH)


def only(labeled: LabeledSet) -> LabeledObject:
    ((each,),) = (sample.objects for sample in labeled.samples)
    return each


@pytest.mark.parametrize(
    ("line", "visible"),
    [
        ("1 0.5 0.5 0.2 0.4 0.4 0.5 0.6 0.6", (2, 2)),
        ("1 0.5 0.5 0.2 0.4 0.4 0.5 0 0", (2, 0)),
        ("1 0.5 0.5 0.2 0.4 0.4 0.5 -1 -1", (2, 0)),
        ("1 0.5 0.5 0.2 0.4 0.4 0.5 1 0.6 0.6 2", (1, 2)),
        ("1 0.5 0.5 0.2 0.4 0.4 0.5 2 7 7 0", (2, 0)),
    ],
)
def test_yolo_texts_of_key_points(
    picture: Path, model: ModelSpec, line: str, visible: tuple[int, int]
) -> None:
    picture.with_suffix(".txt").write_text(line)
    labeled = only(read(picture.parent, model, POINTS))
    assert labeled.index == 1
    assert labeled.box == pytest.approx((40, 15, 60, 35))
    assert labeled.area == pytest.approx(0.53 * 20 * 20)
    assert tuple(v for _, _, v in labeled.points) == visible
    assert labeled.points[0][:2] == pytest.approx((40, 25))
    assert labeled.points[1][:2] == pytest.approx((60, 30) if visible[1] else (0, 0))


def test_yolo_texts_of_rotated_boxes(picture: Path, model: ModelSpec) -> None:
    picture.with_suffix(".txt").write_text("0 0.2 0.4 0.4 0.2 0.6 0.6 0.4 0.8")
    labeled = only(read(picture.parent, model, ROTATED))
    expected = [(20, 20), (40, 10), (60, 30), (40, 40)]
    around = cv2.boxPoints(cv2.minAreaRect(np.array(expected, np.float32)))
    assert np.array(labeled.corners) == pytest.approx(around)
    assert labeled.box == pytest.approx((*around.min(0), *around.max(0)))


def test_a_rotated_box_at_the_border_may_reach_out(picture: Path, model: ModelSpec) -> None:
    picture.with_suffix(".txt").write_text("0 -0.1 0.2 0.1 -0.2 0.3 0.2 0.1 0.6")
    assert len(list(read(picture.parent, model, ROTATED).frames())) == 1
    table = picture.with_name("l.csv")
    table.write_text("file,corners\n1.png,-20 10 10 -15 30 10 10 30\n")
    assert len(list(read(table, model, ROTATED).frames())) == 1
    table.write_text("file,corners\n1.png,-120 10 -90 -15 -70 10 -90 30\n")
    with pytest.raises(UsageError, match=r"l\.csv:2: the box .* lies outside 1\.png"):
        list(read(table, model, ROTATED).frames())


def test_yolo_texts_of_outlines(picture: Path, model: ModelSpec) -> None:
    picture.with_suffix(".txt").write_text("1 0.2 0.4 0.4 0.4 0.4 0.8 0.2 0.8")
    labeled = only(read(picture.parent, model, MASKS))
    assert labeled.box == pytest.approx((20, 20, 40, 40))
    assert labeled.mask == square(20, 20, 40, 40)


@pytest.mark.parametrize(
    ("shape", "line", "words"),
    [
        (POINTS, "1 0.5 0.5 0.2 0.4", "the model's 2 key points .* 8 or 10 numbers .*; here are 4"),
        (POINTS, "1 0.5 0.5 0.2 0.4 0.4 0.5 3 0.6 0.6 2", ":1: v is 0 .not labeled"),
        (POINTS, "1 0.5 0.5 0.2 0.4 40 25 2 0.6 0.6 2", "x and y of key points are fractions"),
        (POINTS, "1 0.5 0.5 0.2 0.4 nan 0.5 2 0.6 0.6 2", "x and y of key points are fractions"),
        (POINTS, "1 0.5 0.5 0.2 0.4 0.4 0.5 nan 0.6 0.6 2", ":1: v is 0 .not labeled"),
        (POINTS, "1 0.5 0.5 0 0.4 0.4 0.5 0.6 0.6", ":1: w is 0; a box has a width"),
        (POINTS, "9 0.5 0.5 0.1 0.4 0.4 0.5 0.6 0.6", ":1: class 9, but the model has 2"),
        (POINTS, "1 0.5 0.5 0.2 0.4 0 0 0 0", "1 image and not one box"),
        (ROTATED, "1 0.5 0.5 0.2 0.4", "not `class x1 y1 .* four corners .*; here are 4 numbers"),
        (ROTATED, "1 0.1 0.1 0.2 0.2 0.3 0.3 0.4 0.4", ":1: the corners lie on one line"),
        (ROTATED, "1 0.1 0.1 0.2 nan 0.3 0.3 0.4 0.4", ":1: y2 is nan; coordinates are fractions"),
        (ROTATED, "1 10 10 20 10 20 20 10 20", ":1: x1 is 10; coordinates are fractions"),
        (MASKS, "1 0.1 0.1 0.2 0.2", ":1: a polygon with 2 points; it has 3 or more"),
        (MASKS, "1 0.1 0.1 0.2 0.2 0.3", ":1: not `class x1 y1 x2 y2 x3 y3 …`.*; here are 5"),
        (MASKS, "1 0.1 0.1 0.2 0.2 0.3 30", ":1: y3 is 30; coordinates are fractions"),
        (MASKS, "car 0.1 0.1 0.2 0.2 0.3 0.3", ":1: not `class x1 y1"),
        (BOXES, "1 0.1 0.1 0.2 0.2 0.3 0.3 0.3 0.3", ":1: not `class cx cy w h`.*; here are 8"),
    ],
)
def test_yolo_lines_that_do_not_match(
    picture: Path, model: ModelSpec, shape: LabelShape, line: str, words: str
) -> None:
    picture.with_suffix(".txt").write_text(line)
    with pytest.raises(UsageError, match=words):
        read(picture.parent, model, shape)


@given(
    st.lists(
        st.sampled_from(["0", "1", "0.5", "-1", "nan", "inf", "1e400", "x", "0.25"]), max_size=12
    ),
    st.sampled_from([BOXES, POINTS, ROTATED, MASKS]),
)
def test_any_line_is_an_object_or_refused_where_it_stands(
    tmp_path_factory: pytest.TempPathFactory, model: ModelSpec, words: list[str], shape: LabelShape
) -> None:
    folder = tmp_path_factory.getbasetemp() / "lines"
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "1.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    (folder / "1.txt").write_text(" ".join(words))
    refusal = f"--eval-data {folder}"
    try:
        corners = only(read(folder, model, shape)).box
    except UsageError as error:
        refusal, corners = str(error), Box(0, 0, 0, 0)
    assert refusal.startswith(f"--eval-data {folder}")
    assert np.isfinite(corners).all()


PLACE = {"x": 40, "y": 15, "w": 20, "h": 20}
TABLES = {
    "boxes": (BOXES, "file,x,y,w,h\n1.png,40,15,20,20\n", PLACE),
    "key points": (
        POINTS,
        "file,x,y,w,h,points\n1.png,40,15,20,20,41 16 2 0 0 0\n",
        PLACE | {"points": [[41, 16, 2], [0, 0, 0]]},
    ),
    "rotated boxes": (
        ROTATED,
        "file,corners\n1.png,40 15 60 15 60 35 40 35\n",
        {"corners": [[40, 15], [60, 15], [60, 35], [40, 35]]},
    ),
    "masks": (
        MASKS,
        'file,polygon\n1.png,"40, 15, 60, 15, 60, 35, 40, 35"\n',
        {"polygon": [40, 15, 60, 15, 60, 35, 40, 35]},
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_every_shape(picture: Path, model: ModelSpec, name: str) -> None:
    shape, text, row = TABLES[name]
    table, lines = picture.with_name("l.csv"), picture.with_name("l.jsonl")
    table.write_text(text)
    labeled = read(table, model, shape)
    assert only(labeled).box == pytest.approx((40, 15, 60, 35), abs=1e-3)
    assert len(list(labeled.frames())) == 1
    lines.write_text(json.dumps({"file": "1.png", **row}))
    assert read(lines, model, shape).samples == labeled.samples


@pytest.mark.parametrize(
    ("shape", "text", "words"),
    [
        (POINTS, "file,x,y,w,h,points\n1.png,1,1,5,5,1 2 2\n", ":2: `points` has 3 numbers; .* 6"),
        (POINTS, "file,x,y,w,h,points\n1.png,1,1,5,5,1 2 2 1 2 5\n", ":2: v is 0"),
        (POINTS, "file,x,y,w,h,points\n1.png,1,1,5,5,1 2 2 1 2 inf\n", ":2: `points` is '1 2"),
        (ROTATED, "file,corners\n1.png,1 2 3\n", ":2: `corners` has 3 numbers"),
        (MASKS, "file,polygon\n1.png,1 2 3\n", ":2: `polygon` has 3 numbers; points are x and y"),
        (MASKS, "file,polygon\n1.png,1 2 3 4\n", ":2: a polygon with 2 points"),
        (MASKS, "file,polygon\n1.png,1 2 3 4 900 4\n", r":2: a polygon reaches .* 100 × 50 pixels"),
        (MASKS, "file,polygon\n1.png,1 2 x\n", ":2: `polygon` is '1 2 x', which is not numbers"),
        (MASKS, "file,x,y,w,h\n1.png,1,2,3,4\n", ":1: no `polygon` column"),
    ],
)
def test_rows_that_do_not_match(
    picture: Path, model: ModelSpec, shape: LabelShape, text: str, words: str
) -> None:
    table = picture.with_name("l.csv")
    table.write_text(text)
    with pytest.raises(UsageError, match=words):
        read(table, model, shape)


def coco(annotation: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A file with one image and one annotation of it."""
    content: dict[str, Any] = {
        "info": {"year": 2026},
        "images": [{"id": 7, "file_name": "1.png", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 3, "name": "car"}, {"id": 90, "name": "bus"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 90, "bbox": [40, 15, 20, 20], "iscrowd": 0}
            | (annotation or {})
        ],
    }
    return content | changes


def write(path: Path, content: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("file", "image", "given"),
    [
        ("l.json", "1.png", "l.json"),
        (
            "annotations/instances_val2017.json",
            "val2017/1.png",
            "annotations/instances_val2017.json",
        ),
        ("annotations/l.json", "images/1.png", "annotations/l.json"),
        ("_annotations.coco.json", "1.png", "."),
    ],
)
def test_coco_files_and_their_images(
    picture: Path, model: ModelSpec, file: str, image: str, given: str
) -> None:
    root = picture.parent / "data"
    (root / image).parent.mkdir(parents=True)
    picture.rename(root / image)
    write(root / file, coco())
    labeled = read(root / given, model, BOXES)
    assert only(labeled) == LabeledObject(1, Box(40, 15, 60, 35))
    assert labeled.samples[0].file == root / image
    assert len(list(labeled.frames())) == 1


SQUARE = [40, 15, 60, 15, 60, 35, 40, 35]


@pytest.mark.parametrize(
    "segmentation",
    [
        [SQUARE],
        [SQUARE, [42, 17, 50, 17, 50, 30]],
        {"size": [HEIGHT, WIDTH], "counts": square(40, 15, 60, 35).counts.decode()},
        {
            "size": [HEIGHT, WIDTH],
            "counts": square(40, 15, 60, 35).lengths().tolist(),
        },
    ],
)
def test_coco_masks(picture: Path, model: ModelSpec, segmentation: Any) -> None:
    content = coco({"segmentation": segmentation, "iscrowd": 1})
    content["annotations"].append({**content["annotations"][0], "id": 2, "iscrowd": 0})
    path = write(picture.with_name("l.json"), content)
    (sample,) = read(path, model, MASKS).samples
    crowd, other = sample.objects
    assert (crowd.crowd, other.crowd) == (True, False)
    assert other.mask == square(40, 15, 60, 35)
    assert other.box == pytest.approx((40, 15, 60, 35))


def test_coco_outlines_of_rotated_boxes(picture: Path, model: ModelSpec) -> None:
    content = coco({"segmentation": [[40, 15, 60, 15, 60, 35, 50, 34, 40, 35]], "iscrowd": 1})
    content["annotations"].append({**content["annotations"][0], "iscrowd": 0})
    path = write(picture.with_name("l.json"), content)
    crowd, other = read(path, model, ROTATED).samples[0].objects
    assert (crowd.crowd, other.crowd) == (True, False)
    assert sorted(np.round(other.corners).tolist()) == [[40, 15], [40, 35], [60, 15], [60, 35]]


def test_coco_key_points(picture: Path, model: ModelSpec) -> None:
    content = coco({"keypoints": [41, 16, 2, 0, 0, 0], "area": 123.5, "num_keypoints": 1})
    labeled = only(read(write(picture.with_name("l.json"), content), model, POINTS))
    assert labeled.points == ((41.0, 16.0, 2), (0.0, 0.0, 0))
    assert labeled.area == 123.5


IMAGE = coco()["images"][0]


@pytest.mark.parametrize(
    ("shape", "content", "words"),
    [
        (BOXES, coco(categories=[{"id": 90, "name": "zebra"}]),
         r"l\.json: 1 of its categories, of 1 annotations, is not among .*: zebra \(id 90\); the "
         "model says car, bus: rename"),
        (BOXES, coco({"category_id": 4}), r"annotations\[0\] \(id 1\): no category has the id 4"),
        (BOXES, coco({"image_id": 8}), r"annotations\[0\] \(id 1\): no image has the id 8"),
        (BOXES, coco({"bbox": [1, 2, 3]}), "`bbox` is .x, y, width, height."),
        (BOXES, coco({"bbox": [1, 2, -3, 4]}), "a box has a width and a height"),
        (BOXES, coco({"bbox": [90, 2, 30, 4]}), r"lies outside 1\.png, which has 100 × 50"),
        (BOXES, coco({"bbox": "a"}), r"is not COCO JSON: .*\$\.annotations\[0\]\.bbox"),
        (BOXES, coco(images=[]), "lists no image"),
        (BOXES, coco(annotations=[]), "1 image and not one box"),
        (BOXES, coco({"iscrowd": 1}), "1 image and not one box"),
        (BOXES, coco(images=[IMAGE | {"file_name": "../1.png"}]), r"images\[0\] \(id 7\).*leaves"),
        (BOXES, coco(images=[IMAGE | {"file_name": "/etc/passwd"}]), "leaves the folder"),
        (BOXES, coco(images=[IMAGE | {"file_name": "a\\..\\..\\1.png"}]), "leaves the folder"),
        (BOXES, coco(images=[IMAGE | {"file_name": "C:\\1.png"}]), "leaves the folder"),
        (BOXES, coco(images=[IMAGE | {"file_name": ""}]), "leaves the folder"),
        (BOXES, coco(images=[IMAGE | {"file_name": "2.png"}]), "1 of 1 labeled files do not exist"),
        (BOXES, coco(images=[IMAGE, IMAGE]), r"images\[1\] \(id 7\): 1\.png is there twice"),
        (BOXES, coco(images=[IMAGE | {"width": 1 << 40}]), "more than any image has"),
        (BOXES, coco(images=[IMAGE | {"height": 0}]), "`height` is 0"),
        (BOXES, coco(categories=[{"id": 90, "name": "car"}] * 2), "the same id"),
        (POINTS, coco(), "no `keypoints`; COCO has them in another file"),
        (POINTS, coco({"keypoints": [1, 2, 2]}), "`keypoints` has 3 numbers; the model's 2 .* 6"),
        (POINTS, coco({"keypoints": [1, 2, 2, 1, 2, 9]}), "v of `keypoints` is 0"),
        (POINTS, coco({"keypoints": [1, 2, 2, 1, 2, 2], "area": -1}), "`area` is -1"),
        (ROTATED, coco(), "no polygon in `segmentation`; a rotated box"),
        (ROTATED, coco({"segmentation": [[1, 2, 3]]}), "a polygon of 3 numbers"),
        (ROTATED, coco({"segmentation": [[1, 2, 3, 4]]}), "2 corners are no rotated box"),
        (ROTATED, coco({"segmentation": [[1, 2, 3, 4, 1e300, 4]]}), "3 corners are no rotated"),
        (ROTATED, coco({"segmentation": [[1, 1, 2, 2, 3, 3]]}), "the corners lie on one line"),
        (MASKS, coco(), "no `segmentation`; masks cannot be scored by boxes alone"),
        (MASKS, coco({"segmentation": [[1, 2, 3]]}), "a polygon of 3 numbers"),
        (MASKS, coco({"segmentation": [[1, 2, 3, 4]]}), "a polygon with 2 points"),
        (MASKS, coco({"segmentation": [[]]}), "a polygon with 0 points"),
        (MASKS, coco({"segmentation": [[1, 2, 3, 4, 1e300, 4]]}), "a polygon reaches"),
        (MASKS, coco({"segmentation": {"size": [4, 4], "counts": "0"}}), "of 4 × 4 pixels, and"),
        (MASKS, coco({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "0"}}),
         "runs of 0 pixels, but 100 × 50 are 5,000"),
        (MASKS, coco({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "ä"}}),
         "not COCO's text"),
        (MASKS, coco({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [-1, 5001]}}),
         "a run length is negative"),
        (MASKS, coco({"segmentation": [SQUARE]}, images=[{"id": 7, "file_name": "1.png"}]),
         "has no `width` and `height`"),
    ],
)  # fmt: skip
def test_coco_files_that_do_not_match(
    picture: Path, model: ModelSpec, shape: LabelShape, content: dict[str, Any], words: str
) -> None:
    path = write(picture.with_name("l.json"), content)
    with pytest.raises(UsageError, match=words) as caught:
        read(path, model, shape)
    assert str(caught.value).startswith(f"--eval-data {path}: ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"images": [],\n"annotations": [NaN]}', r"l\.json:2: is not JSON"),
        ('{"images": [', "is not JSON"),
        ('{"images": ' + "[" * 100_000, "is not"),
        ('{"images": []}', "is not COCO JSON: .*missing required field"),
    ],
)
def test_files_that_are_no_coco_json(
    picture: Path, model: ModelSpec, text: str, words: str
) -> None:
    picture.with_name("l.json").write_text(text)
    with pytest.raises(UsageError, match=words):
        read(picture.with_name("l.json"), model, BOXES)


def test_an_image_of_another_size_than_its_labels(picture: Path, model: ModelSpec) -> None:
    content = coco(images=[IMAGE | {"width": HEIGHT, "height": WIDTH}])
    content["annotations"][0]["bbox"] = [1, 1, 5, 5]
    labeled = read(write(picture.with_name("l.json"), content), model, BOXES)
    with pytest.raises(UsageError, match=r"turned by its EXIF tag, 100 × 50 .* for 50 × 100"):
        list(labeled.frames())
