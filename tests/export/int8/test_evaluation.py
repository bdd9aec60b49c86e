"""Labelled pictures as people have them, what does not match, and the metrics computed on them."""

import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_export.int8.evaluation import Sample, read_evaluation
from edgecnn_export.int8.metrics import average_precision, score, wilson
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.manifest import Ctc, Embed, Manifest, Yolo
from edgecnn_runtime.types import Box, Classification, Detection, Embedding, Reading


def picture(path: Path, width: int = 40, height: int = 20) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))
    return path


def task(manifest: Manifest, name: str) -> Manifest:
    decode = {
        "detect": Yolo(output="logits", layout="v8", classes=2),
        "ocr": Ctc(output="logits", charset=("A",)),
        "embed": Embed(output="logits"),
    }[name]
    labels = ("car", "bus") if name == "detect" else ()
    return msgspec.structs.replace(manifest, task=name, decode=decode, labels=labels)


def test_a_folder_a_class(tmp_path: Path, classifier: Manifest) -> None:
    for label in ("a", "c"):
        picture(tmp_path / label / "1.png")
    found = read_evaluation(tmp_path, classifier)
    assert [sample.label for sample in found.samples] == ["a", "c"]
    assert [frame.shape for _, frame in found.frames()] == [(20, 40, 3)] * 2


def test_folders_that_are_no_labels_of_the_model_are_named(
    tmp_path: Path, classifier: Manifest
) -> None:
    picture(tmp_path / "zebra" / "1.png")
    with pytest.raises(UsageError, match=r"zebra.*--labels"):
        read_evaluation(tmp_path, classifier)


def test_numbered_folders_fit_a_model_without_names(tmp_path: Path, classifier: Manifest) -> None:
    picture(tmp_path / "3" / "1.png")
    nameless = msgspec.structs.replace(classifier, labels=())
    sample = read_evaluation(tmp_path, nameless).samples[0]
    assert score([sample], [said(3)], nameless).value == 1.0


@pytest.mark.parametrize("form", ["tsv", "csv", "jsonl"])
def test_tables(tmp_path: Path, classifier: Manifest, form: str) -> None:
    picture(tmp_path / "p" / "1.png")
    rows = [("p/1.png", "AB,12")]
    if form == "jsonl":
        text = "\n".join(json.dumps({"file": f, "text": t}) for f, t in rows)
    else:
        mark = {"tsv": "\t", "csv": ","}[form]
        text = f"file{mark}text\n" + "\n".join(f'{f}{mark}"{t}"' for f, t in rows)
    (tmp_path / f"labels.{form}").write_text(text)
    found = read_evaluation(tmp_path / f"labels.{form}", task(classifier, "ocr"))
    assert found.samples == (Sample(tmp_path / "p/1.png", text="AB,12"),)


def test_boxes_in_a_table_one_row_each(tmp_path: Path, classifier: Manifest) -> None:
    picture(tmp_path / "1.png")
    picture(tmp_path / "2.png")
    (tmp_path / "l.tsv").write_text(
        "file\tx\ty\tw\th\tlabel\n1.png\t1\t2\t10\t5\tbus\n1.png\t20\t2\t10\t5\t\n2.png\t\t\t\t\t\n"
    )
    found = read_evaluation(tmp_path / "l.tsv", task(classifier, "detect"))
    assert found.samples[0].boxes == ((1, Box(1, 2, 11, 7)), (0, Box(20, 2, 30, 7)))
    assert found.samples[1].boxes == ()


@pytest.mark.parametrize(
    ("file", "text", "given"),
    [
        ("1.png", "1.txt", "."),
        ("images/1.png", "labels/1.txt", "."),
        ("images/val/1.png", "labels/val/1.txt", "images/val"),
    ],
)
def test_yolo_text_files(
    tmp_path: Path, classifier: Manifest, file: str, text: str, given: str
) -> None:
    picture(tmp_path / file, width=100, height=50)
    label = tmp_path / text
    label.parent.mkdir(exist_ok=True, parents=True)
    label.write_text("1 0.5 0.5 0.2 0.4\n")
    (label.parent / "classes.txt").write_text("car\nbus\n")
    found = read_evaluation(tmp_path / given, task(classifier, "detect"))
    ((index, box),) = found.samples[0].boxes
    assert index == 1
    assert box == pytest.approx((40, 15, 60, 35))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file\ttext\nmissing.png\tA\n", "1 of 1 labelled files do not exist: .*missing.png"),
        ("file\ttext\n1.png\t\n", ":2: no `text`"),
        ("name\ttext\n1.png\tA\n", ":2: no `file`"),
        ("", "no labelled picture"),
        (f"file\ttext\n{'x' * 5000}\tA\n", "1 of 1 labelled files do not exist"),
        (f"file\ttext\n{'x' * 200_000}\tA\n", "field larger than"),
        ("file,text\n1.png,A\n", ":2: no `file` in file,text"),
    ],
)
def test_tables_that_do_not_match(
    tmp_path: Path, classifier: Manifest, text: str, words: str
) -> None:
    picture(tmp_path / "1.png")
    (tmp_path / "l.tsv").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_evaluation(tmp_path / "l.tsv", task(classifier, "ocr"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("9 0.5 0.5 0.1 0.1", "class 9, but the model has 2"),
        ("1 0.5 half 0.1 0.1", ":1: not `class cx cy w h`"),
        ("1 0.1 0.1 0.2 0.1 0.2 0.2", ":1: not `class cx cy w h`"),
        ("1 0.5 0.5 nan 0.1", ":1: cx, cy, w, h are fractions"),
        ("1 320 240 40 30", ":1: cx, cy, w, h are fractions"),
        (b"\xff\xfe\x00", "1.txt is no text"),
    ],
)
def test_yolo_files_that_do_not_match(
    tmp_path: Path, classifier: Manifest, text: str | bytes, words: str
) -> None:
    picture(tmp_path / "1.png")
    (tmp_path / "1.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=words):
        read_evaluation(tmp_path, task(classifier, "detect"))


def test_yolo_files_whose_picture_is_missing_are_named(
    tmp_path: Path, classifier: Manifest
) -> None:
    picture(tmp_path / "1.png")
    for name in ("1", "2"):
        (tmp_path / f"{name}.txt").write_text("1 0.5 0.5 0.1 0.1\n")
    with pytest.raises(UsageError, match=r"1 of 2 label files have no picture: .*2\.txt"):
        read_evaluation(tmp_path, task(classifier, "detect"))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"file": ["1.png"], "x": 1, "y": 1, "w": 1, "h": 1}, ":1: `file` is no text"),
        ({"file": "1.png", "x": {}, "y": 1, "w": 1, "h": 1}, ":1: `x` is no text"),
        ({"file": "1.png", "x": float("nan"), "y": 1, "w": 1, "h": 1}, ":1: x, y, w, h are not"),
        ({"file": "1.png", "x": 1, "y": 1, "w": -1, "h": 1}, ":1: x, y, w, h are not"),
        ({"file": "1.png", "x": 1, "y": 1, "w": 1}, ":1: x, y, w, h are not"),
        ({"file": 3, "x": 1, "y": 1, "w": 1, "h": 1}, "1 of 1 labelled files do not exist"),
        ({"file": "1.png", "x": 1, "y": 1, "w": 1, "h": 1, "label": 7}, "'7' is none of"),
    ],
)
def test_rows_that_cannot_be_meant(
    tmp_path: Path, classifier: Manifest, row: dict[str, object], words: str
) -> None:
    picture(tmp_path / "1.png")
    (tmp_path / "l.jsonl").write_text(json.dumps(row))
    with pytest.raises(UsageError, match=words):
        read_evaluation(tmp_path / "l.jsonl", task(classifier, "detect"))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("1.png"),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)


@given(
    st.dictionaries(st.sampled_from(["file", "x", "y", "w", "h", "label", "text"]), ANYTHING),
    st.sampled_from(["detect", "ocr", "embed"]),
)
def test_any_row_is_read_or_refused(
    classifier: Manifest, row: dict[str, object], name: str
) -> None:
    with TemporaryDirectory() as folder:
        table = Path(folder) / "l.jsonl"
        table.write_text(json.dumps(row))
        (Path(folder) / "1.png").touch()
        with suppress(UsageError):
            assert read_evaluation(table, task(classifier, name)).samples


def test_a_labelled_file_that_is_no_picture(tmp_path: Path, classifier: Manifest) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_text("not a picture")
    found = read_evaluation(tmp_path, classifier)
    with pytest.raises(UsageError, match=r"1\.png is no picture"):
        list(found.frames())


def said(index: int) -> Classification:
    return Classification(str(index), index, 0.9, np.zeros(6, np.float32))


def test_top1_and_its_interval(classifier: Manifest) -> None:
    samples = [Sample(Path(), label=label) for label in "aabb"]
    found = score(samples, [said(0), said(0), said(1), said(0)], classifier)
    assert (found.metric, found.value, found.samples) == ("top-1", 0.75, 4)
    assert found.low < 0.75 < found.high


def test_exact_match(classifier: Manifest) -> None:
    samples = [Sample(Path(), text="A1"), Sample(Path(), text="B2")]
    found = score(samples, [Reading("A1", 1.0), Reading("B3", 1.0)], task(classifier, "ocr"))
    assert (found.metric, found.value) == ("exact match", 0.5)


def box(x: float, confidence: float = 0.9, index: int = 0) -> Detection:
    return Detection(Box(x, 0, x + 10, 10), confidence, "car", index)


def test_map50_counts_misses_false_alarms_and_doubles(classifier: Manifest) -> None:
    detect = task(classifier, "detect")
    truth = [Sample(Path(), boxes=((0, Box(0, 0, 10, 10)), (0, Box(50, 0, 60, 10))))]
    assert score(truth, [[box(0), box(51)]], detect).value == 1.0
    assert score(truth, [[box(0)]], detect).value == pytest.approx(0.5)
    assert score(truth, [[box(0, 0.8), box(51, 0.7), box(90, 0.9)]], detect).value < 0.7
    doubled = score(truth, [[box(0, 0.9), box(1, 0.8), box(51, 0.7)]], detect).value
    assert 0.5 < doubled < 1.0
    assert score(truth, [[box(0, index=1), box(51, index=1)]], detect).value == 0.0


def test_tar_at_far_separates_people(classifier: Manifest) -> None:
    random = np.random.default_rng(0)
    people = random.normal(0, 1, (12, 16))
    samples = [Sample(Path(), label=str(i % 12)) for i in range(48)]

    def vectors(noise: float) -> list[Embedding]:
        return [
            Embedding((people[i % 12] + random.normal(0, noise, 16)).astype(np.float32))
            for i in range(48)
        ]

    embed = task(classifier, "embed")
    sharp, blurred = score(samples, vectors(0.05), embed), score(samples, vectors(3.0), embed)
    assert sharp.value == 1.0
    assert blurred.value < 0.5
    assert blurred.low <= blurred.value <= blurred.high


@given(st.integers(1, 5000), st.data())
def test_wilson_holds_the_share(total: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, total))
    low, high = wilson(right, total)
    assert 0 <= low <= right / total + 1e-12
    assert right / total - 1e-12 <= high <= 1


def test_average_precision_of_a_known_ranking() -> None:
    scores, hits = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False])
    assert average_precision(scores, hits, 2) == pytest.approx((1 + 2 / 3) / 2)
