"""Labeled images as people have them, and what does not match."""

import csv
import io
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.evaluation.dataset import (
    LabeledImage,
    LabeledObject,
    LabeledSet,
    SourceLocation,
    class_index,
)
from edgecnn_runtime.evaluation.table_labels import read_table
from edgecnn_runtime.tasks import task_of
from edgecnn_runtime.types import Box, Classification

AsTask = Callable[[str], ModelSpec]


def read_labels(path: Path, model: ModelSpec) -> LabeledSet:
    return task_of(model).read_labels(SourceLocation(path, argument="--eval-data"), model)


def picture(path: Path, width: int = 40, height: int = 20) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))
    return path


def test_a_folder_a_class(tmp_path: Path, classifier: ModelSpec) -> None:
    for label in ("a", "c"):
        picture(tmp_path / label / "1.png")
    found = read_labels(tmp_path, classifier)
    assert [sample.label for sample in found.samples] == ["a", "c"]
    assert [frame.shape for _, frame in found.frames()] == [(20, 40, 3)] * 2


def test_folders_that_are_no_labels_of_the_model_are_named(
    tmp_path: Path, classifier: ModelSpec
) -> None:
    picture(tmp_path / "zebra" / "1.png")
    with pytest.raises(UsageError, match=r"zebra.*--labels"):
        read_labels(tmp_path, classifier)


def test_pictures_beside_the_folders_of_classes_are_refused(
    tmp_path: Path, classifier: ModelSpec
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        picture(tmp_path / name / "1.png")
    picture(tmp_path / "loose.png")
    with pytest.raises(UsageError, match=r"1 image beside its subfolders .*: loose\.png; move"):
        read_labels(tmp_path, classifier)


def test_one_file_spelt_twice_is_one_file(tmp_path: Path, classifier: ModelSpec) -> None:
    picture(tmp_path / "1.png")
    table = tmp_path / "l.csv"
    table.write_text(f"file,label\n1.png,a\n../{tmp_path.name}/1.png,b\n")
    with pytest.raises(UsageError, match=r":3: 1\.png is in line 2 already as a, and here as b"):
        read_labels(table, classifier)


def test_numbered_folders_fit_a_model_without_names(tmp_path: Path, classifier: ModelSpec) -> None:
    picture(tmp_path / "3" / "1.png")
    nameless = msgspec.structs.replace(classifier, labels=())
    sample = read_labels(tmp_path, nameless).samples[0]
    answer = Classification("3", 3, 0.9, np.zeros(6, np.float32))
    assert task_of(nameless).score([sample], [answer], nameless).value == 1.0


@pytest.mark.parametrize("form", ["tsv", "csv", "jsonl"])
def test_tables(tmp_path: Path, task: AsTask, form: str) -> None:
    picture(tmp_path / "p" / "1.png")
    rows = [("p/1.png", "AB,12")]
    if form == "jsonl":
        text = "\n".join(json.dumps({"file": f, "text": t}) for f, t in rows)
    else:
        mark = {"tsv": "\t", "csv": ","}[form]
        text = f"file{mark}text\n" + "\n".join(f'{f}{mark}"{t}"' for f, t in rows)
    (tmp_path / f"labels.{form}").write_text(text)
    found = read_labels(tmp_path / f"labels.{form}", task("ocr"))
    assert found.samples == (LabeledImage(tmp_path / "p/1.png", label="AB,12"),)


def test_boxes_in_a_table_one_row_each(tmp_path: Path, task: AsTask) -> None:
    picture(tmp_path / "1.png")
    picture(tmp_path / "2.png")
    (tmp_path / "l.tsv").write_text(
        "file\tx\ty\tw\th\tlabel\n1.png\t1\t2\t10\t5\tbus\n1.png\t20\t2\t10\t5\t\n2.png\t\t\t\t\t\n"
    )
    found = read_labels(tmp_path / "l.tsv", task("detect"))
    assert found.samples[0].objects == (
        LabeledObject(1, Box(1, 2, 11, 7)),
        LabeledObject(0, Box(20, 2, 30, 7)),
    )
    assert found.samples[1].objects == ()


@pytest.mark.parametrize(
    ("file", "text", "given"),
    [
        ("1.png", "1.txt", "."),
        ("images/1.png", "labels/1.txt", "."),
        ("images/val/1.png", "labels/val/1.txt", "images/val"),
    ],
)
def test_yolo_text_files(tmp_path: Path, task: AsTask, file: str, text: str, given: str) -> None:
    picture(tmp_path / file, width=100, height=50)
    label = tmp_path / text
    label.parent.mkdir(exist_ok=True, parents=True)
    label.write_text("1 0.5 0.5 0.2 0.4\n" * 2)
    (label.parent / "classes.txt").write_text("car\nbus\n")
    found = read_labels(tmp_path / given, task("detect"))
    (labeled,) = found.samples[0].objects
    assert labeled.index == 1
    assert labeled.box == pytest.approx((40, 15, 60, 35))
    label.write_text("1 0.5 0.5 0.2 0.4\n", "utf-8-sig")
    assert read_labels(tmp_path / given, task("detect")) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file\ttext\nmissing.png\tA\n", "1 of 1 labeled files do not exist: .*missing.png"),
        ("file\ttext\n1.png\t\n", ":2: no `text` for 1.png"),
        ("file\ttext\n\tA\n", ":2: no `file` in this row"),
        ('file\ttext\n2.png\t"A\nB"\n1.png\t\n', ":4: no `text` for 1.png"),
        ("name\ttext\n1.png\tA\n", ":1: no `file` column; the header has name, text; needed are"),
        ("file\tlabel\n1.png\tA\n", ":1: no `text` column; the header has file, label"),
        ("\n\na\tb\n", ":3: no `file`, `text` columns; the header has a, b"),
        ("file\ttext\tFile\n1.png\tA\t2.png\n", ":1: `file` is there twice"),
        ("", "^--eval-data [^:]*l.tsv: is empty; it needs a table with file, text"),
        ("\n\t\n \n", "l.tsv: is empty"),
        ("file\ttext\n\n", ":1: a header and no row below it"),
        (f"file\ttext\n{'x' * 5000}\tA\n", "1 of 1 labeled files do not exist"),
        (f"file\ttext\n{'x' * 200_000}\tA\n", "field larger than"),
        (
            "file,text\n1.png,A\n",
            ":1: l.tsv is split at tabs and its header has none: file,text; "
            "save it with tabs, or as .csv with commas",
        ),
        ("file\ttext\n1.png\tA\tB\n", ":2: 3 cells, but the header has 2; .*tabs"),
        ('file\ttext\n2.png\tA\n1.png\t"A\n3.png\tB\n', ":3: not a row of a table"),
        ("file\ttext\n\n1.png\tA\n\n1.png\tA\n", ":5: 1.png is in line 3 already; keep"),
        ("file\ttext\n1.png\tA\n1.png\tB\n", ":3: .* in line 2 already as A, and here as B"),
        ("\t".join(["c" * 500] * 500), r":1: no .* has (c{40}…, ){11}c{40}… …; needed"),
    ],
)
def test_tables_that_do_not_match(tmp_path: Path, task: AsTask, text: str, words: str) -> None:
    picture(tmp_path / "1.png")
    (tmp_path / "l.tsv").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_labels(tmp_path / "l.tsv", task("ocr"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("9 0.5 0.5 0.1 0.1", "class 9, but the model has 2"),
        ("1 0.5 half 0.1 0.1", ":1: not `class cx cy w h`"),
        ("1 0.1 0.1 0.2 0.1 0.2 0.2", ":1: not `class cx cy w h`"),
        ("-1 0.5 0.5 0.1 0.1", ":1: class -1, but classes count from 0"),
        ("1 0.5 0.5 nan 0.1", ":1: w is nan; cx, cy, w, h are fractions"),
        ("1 320 240 40 30", ":1: cx is 320; cx, cy, w, h are fractions"),
        ("\n\n1 0.5 0.5 0.1 -0.1", "^--eval-data .*1.txt:3: h is -0.1; cx, cy"),
        ("1 0.5 0.5 -0.001 0.1", ":1: w is -0.001; a box has a width and a height above 0"),
        (b"\xff\xfe\x00", "^--eval-data .*1.txt: is not text"),
    ],
)
def test_yolo_files_that_do_not_match(
    tmp_path: Path, task: AsTask, text: str | bytes, words: str
) -> None:
    picture(tmp_path / "1.png")
    (tmp_path / "1.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=words):
        read_labels(tmp_path, task("detect"))


def test_yolo_files_whose_picture_is_missing_are_named(tmp_path: Path, task: AsTask) -> None:
    picture(tmp_path / "1.png")
    for name in ("1", "2"):
        (tmp_path / f"{name}.txt").write_text("1 0.5 0.5 0.1 0.1\n")
    with pytest.raises(UsageError, match=r"1 of 2 label files have no image: .*2\.txt"):
        read_labels(tmp_path, task("detect"))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"file": ["1.png"], "x": 1, "y": 1, "w": 1, "h": 1}, ":1: `file` is neither text"),
        ({"file": "1.png", "x": {}, "y": 1, "w": 1, "h": 1}, ":1: `x` is neither text"),
        ({"file": "1.png", "x": float("nan"), "y": 1, "w": 1, "h": 1}, ":1: `x` is 'nan', which"),
        (
            {"file": "1.png", "x": 1, "y": "a", "w": 1, "h": 1},
            ":1: `y` is 'a', which is not",
        ),
        ({"file": "1.png", "x": 1, "y": 1, "w": -1, "h": 1}, ":1: `w` is -1; a box has a width"),
        ({"file": "1.png", "x": 1, "y": 1, "w": 1, "h": 0}, ":1: `h` is 0; a box has a height"),
        ({"file": "1.png", "x": 1, "y": 1, "w": 1, "h": None}, ":1: `h` is empty"),
        (
            {"file": "1.png", "x": 1, "y": 1, "w": 1},
            ":1: no `h`; the row has file, x, y, w; needed",
        ),
        ({"file": "1.png", "bbox": [1, 2, 3, 4]}, "no `x`, `y`, `w`, `h`; the row has file, bbox"),
        ({"file": "1.png", "x": 1, "X": 2, "y": 1, "w": 1, "h": 1}, ":1: `x` is there twice"),
        (
            {"file": "1.png"},
            "1 image and not one box, and the score of nothing",
        ),
        ({"file": 3, "x": 1, "y": 1, "w": 1, "h": 1}, "1 of 1 labeled files do not exist"),
        ({"file": "1.png", "x": 1, "y": 1, "w": 1, "h": 1, "label": 7}, "'7' is none of"),
    ],
)
def test_rows_that_cannot_be_meant(
    tmp_path: Path, task: AsTask, row: dict[str, object], words: str
) -> None:
    picture(tmp_path / "1.png")
    (tmp_path / "l.jsonl").write_text(json.dumps(row))
    with pytest.raises(UsageError, match=words):
        read_labels(tmp_path / "l.jsonl", task("detect"))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("1.png"),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)


@given(
    st.dictionaries(st.sampled_from(["file", "x", "y", "w", "h", "label", "text"]), ANYTHING),
    st.sampled_from(["detect", "ocr", "embed"]),
)
def test_any_row_is_read_or_refused(task: AsTask, row: dict[str, object], name: str) -> None:
    with TemporaryDirectory() as folder:
        table = Path(folder) / "l.jsonl"
        table.write_text(json.dumps(row))
        (Path(folder) / "1.png").touch()
        with suppress(UsageError):
            assert read_labels(table, task(name)).samples


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
"""What csv.writer writes on every Python; that of 3.10 refuses NUL."""


@given(
    st.lists(st.tuples(CELLS, CELLS), min_size=1),
    st.permutations(["file", "text", "more"]),
    st.sampled_from([".csv", ".tsv"]),
)
def test_a_written_table_is_read_back(
    rows: list[tuple[str, str]], columns: list[str], suffix: str
) -> None:
    rows = [(f"{number}{file}", text) for number, (file, text) in enumerate(rows)]
    text = io.StringIO()
    writer = csv.writer(text, delimiter={".csv": ",", ".tsv": "\t"}[suffix])
    writer.writerow(f" {column.title()} " for column in columns)
    for file, value in rows:
        cells = {"file": file, "text": value, "more": ""}
        writer.writerow(cells[column] for column in columns)
    with TemporaryDirectory() as folder:
        table = Path(folder) / f"l{suffix}"
        table.write_bytes(text.getvalue().encode())
        found = read_table(SourceLocation(table), ("file", "text"))

    def kept(cell: str) -> str:
        return cell.replace("\r\n", "\n").replace("\r", "\n").strip()

    assert [(row.cells["file"], row.cells["text"]) for row in found] == [
        (kept(file), kept(value)) for file, value in rows
    ]


PIECES = ["file", "label", "text", "x", "y", "w", "h", "1.png", "5", "-1", "a", '"', " "]


@given(
    st.binary() | st.lists(st.sampled_from([*PIECES, *"\t,;\n\r"])).map("".join).map(str.encode),
    st.sampled_from([".csv", ".tsv", ".txt", ".jsonl"]),
    st.sampled_from(["detect", "ocr", "embed"]),
)
def test_any_table_is_read_or_refused(task: AsTask, content: bytes, suffix: str, name: str) -> None:
    with TemporaryDirectory() as folder:
        table = Path(folder) / f"l{suffix}"
        table.write_bytes(content)
        picture(Path(folder) / "1.png")
        with suppress(UsageError):
            list(read_labels(table, task(name)).frames())


def test_brackets_without_end_are_refused(tmp_path: Path, classifier: ModelSpec) -> None:
    (tmp_path / "l.jsonl").write_text("[" * 200_000)
    assert "l.jsonl:1: not one JSON object" in refused(tmp_path / "l.jsonl", classifier)


def refused(path: Path, manifest: ModelSpec) -> str:
    """What is said of a set, at the latest when its pictures are read."""
    with pytest.raises(UsageError) as error:
        list(read_labels(path, manifest).frames())
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "file,left,top,width,height\n1.png,1,1,5,5\n",
            "l.csv:1: no `x`, `y`, `w`, `h` columns; the header has file, left, top, width, "
            "height; needed are file, x, y, w, h",
        ),
        ("file,x,y,w\n1.png,1,1,5\n", ":1: no `h` column; the header has file, x, y, w; needed"),
        ("file;x;y;w;h\n1.png;1;1;5;5\n", "l.csv is split at commas and its header has none"),
        ("file\tx\ty\tw\th\n", "save it with commas, or as .tsv with tabs"),
        ("file,x,y,w,h\n1.png,,,,\n", "1 image and not one box"),
        ("file,x,y,w,h\n1.png,1,1,5,\n", ":2: `h` is empty"),
        (
            "file,x,y,w,h\n1.png,1,1,5,5\n1.png,1,1,6,5\n./1.png,1.0,1,5,5\n",
            "l.csv:4: the same box of 1.png is in line 2 already",
        ),
        ("file,x,y,w,h,label\n1.png,1,1,5,5,van\n", ":2: 'van' is none of the model's labels, car"),
    ],
)
def test_tables_of_boxes_that_are_refused(
    tmp_path: Path, task: AsTask, text: str, words: str
) -> None:
    picture(tmp_path / "1.png")
    (tmp_path / "l.csv").write_text(text)
    assert words in refused(tmp_path / "l.csv", task("detect"))


def test_spaces_and_letter_case_of_a_table_do_not_matter(tmp_path: Path, task: AsTask) -> None:
    picture(tmp_path / "1.png")
    (tmp_path / "l.csv").write_text(
        'File, X, y, W , h, Label\n1.png, 1, 2, 10, 5, bus\n"1.png", 1, 2, 10, 5, "car"\n,,,,,\n'
    )
    (sample,) = read_labels(tmp_path / "l.csv", task("detect")).samples
    assert sample == LabeledImage(
        tmp_path / "1.png",
        objects=(LabeledObject(1, Box(1, 2, 11, 7)), LabeledObject(0, Box(1, 2, 11, 7))),
    )


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        ("0,0,200,40", True),
        ("-9,-2,100,40", True),
        ("0,0,209,42", True),
        ("-11,0,100,40", False),
        ("0,-2.5,100,40", False),
        ("0,0,211,40", False),
        ("5000,0,10,10", False),
        ("150,30,180,39", False),  # two corners
        ("1e308,0,1e308,5", False),
    ],
)
def test_boxes_outside_their_picture(tmp_path: Path, task: AsTask, box: str, inside: bool) -> None:
    picture(tmp_path / "1.png", width=200, height=40)
    table = tmp_path / "l.csv"
    table.write_text(f"file,x,y,w,h\n1.png,1,1,5,5\n\n1.png,{box}\n")
    if inside:
        assert list(read_labels(table, task("detect")).frames())
    else:
        said = refused(table, task("detect"))
        x, y = (f"{float(value):g}" for value in box.split(",")[:2])
        assert said.startswith(f"--eval-data {table}:4: the box x={x}, y={y}, w=")
        assert "lies outside 1.png, which is 200 × 40 pixels" in said


@pytest.mark.parametrize(
    ("files", "name", "words"),
    [
        ([], "classify", "holds no image (.avif, .bmp"),
        ([], "detect", "holds no image (.avif, .bmp"),
        (
            ["1.png"],
            "classify",
            "1 image and no label, none lies in a subfolder; make one for each class",
        ),
        (["1.png"], "embed", "make one for each person"),
        (["1.png"], "ocr", "does not give the text of its images; give a table"),
        (["images/1.png"], "detect", "1 image and no label; each needs a YOLO text file"),
        (["1.png", "1.txt"], "detect", "1 image and not one box"),
        (["anna/1.png", "anna/2.png"], "embed", "all images are of one person, anna; TAR@FAR"),
        (["anna/1.png", "ben/1.png"], "embed", "no person in it has two images; TAR@FAR"),
    ],
)
def test_folders_on_which_a_metric_says_nothing(
    tmp_path: Path, classifier: ModelSpec, files: list[str], name: str, words: str, task: AsTask
) -> None:
    for file in files:
        path = tmp_path / file
        path.touch() if path.suffix == ".txt" else picture(path)
    said = refused(tmp_path, classifier if name == "classify" else task(name))
    assert said.startswith(f"--eval-data {tmp_path}: ")
    assert words in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1.png,a\n2.png,a\n", "all images are of one person, a"),
        ("1.png,a\n2.png,b\n", "no person in it has two images"),
        ("1.png,a\n1.png,a\n2.png,b\n", ":3: 1.png is in line 2 already; keep one row"),
        ("1.png,a\n2.png,b\n1.png,b\n", ":4: 1.png is in line 2 already as a, and here as b"),
        ("1.png,a\n3.png,b\n4.png,b\n", ":3: 2 of 3 labeled files do not exist"),
    ],
)
def test_tables_of_people_that_are_refused(
    tmp_path: Path, task: AsTask, text: str, words: str
) -> None:
    for name in ("1.png", "2.png"):
        picture(tmp_path / name)
    (tmp_path / "l.csv").write_text(f"file,label\n{text}")
    assert words in refused(tmp_path / "l.csv", task("embed"))


def test_a_class_in_a_table_that_the_model_does_not_know_is_refused_with_its_line(
    tmp_path: Path, classifier: ModelSpec
) -> None:
    for name in ("1.png", "2.png"):
        picture(tmp_path / name)
    (tmp_path / "l.csv").write_text("file,label\n1.png,a\n2.png,zebra\n")
    assert "l.csv:3: 1 of its classes" in refused(tmp_path / "l.csv", classifier)


@given(st.text() | st.text("0123456789²٣"))
def test_any_label_is_a_class_or_none(label: str) -> None:
    assert class_index(label, ["a"]) == (0 if label == "a" else None)
    found = class_index(label, [])
    assert found is None or found == int(label)


def test_a_picture_whose_name_is_no_utf8(tmp_path: Path, classifier: ModelSpec) -> None:
    picture(tmp_path / "a" / "1.png").rename(tmp_path / "a" / os.fsdecode(b"\xff.png"))
    found = read_labels(tmp_path, classifier)
    assert [frame.shape for _, frame in found.frames()] == [(20, 40, 3)]
    assert found.sha256()


def test_a_table_keeps_its_digest_when_rows_move(tmp_path: Path, classifier: ModelSpec) -> None:
    picture(tmp_path / "1.png")
    digests = set()
    for blank in ("", "\n\n"):
        (tmp_path / "l.csv").write_text(f"file,label\n{blank}1.png,a\n")
        digests.add(read_labels(tmp_path / "l.csv", classifier).sha256())
    assert len(digests) == 1


def test_a_labeled_file_that_is_no_picture(tmp_path: Path, classifier: ModelSpec) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_text("not a picture")
    found = read_labels(tmp_path, classifier)
    with pytest.raises(UsageError, match=r"^--eval-data .*1\.png: is not an image"):
        list(found.frames())
    (tmp_path / "l.csv").write_text("file,label\na/1.png,a\n")
    found = read_labels(tmp_path / "l.csv", classifier)
    with pytest.raises(UsageError, match=r"^--eval-data .*l.csv:2: .*1\.png is not an image"):
        list(found.frames())
