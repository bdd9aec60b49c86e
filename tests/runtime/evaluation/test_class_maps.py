"""Class maps in PNG files, and the intersection over union of their classes."""

import struct
import zlib
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgecnn_runtime.bundle.manifest import ModelSpec, Semantic
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.evaluation.class_maps import (
    count_pixels,
    iou_by_class,
    mean_iou,
    read_class_maps,
)
from edgecnn_runtime.evaluation.dataset import (
    ClassMapFile,
    LabeledImage,
    LabeledSet,
    SourceLocation,
)
from edgecnn_runtime.evaluation.index_png import read_index_png
from edgecnn_runtime.tasks import task_of
from edgecnn_runtime.types import UNSEEN, ClassMap

SIGNATURE = b"\x89PNG\r\n\x1a\n"
NUMBERS = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3


def png(numbers: np.ndarray, depth: int, kind: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG as the specification lays it out, each row without a filter."""
    height, width = numbers.shape
    bits = (numbers[..., None] >> np.arange(depth)[::-1]) & 1
    rows = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    parts = [(b"IHDR", struct.pack(">2I5B", width, height, depth, kind, 0, 0, 0)), *chunks]
    parts += [(b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return SIGNATURE + b"".join(chunk(*part) for part in parts)


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("png") / "map.png"


@given(
    arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9))),
    st.sampled_from([1, 2, 4, 8, 16]),
    st.booleans(),
)
def test_the_numbers_are_those_of_the_file(
    file: Path, numbers: np.ndarray, depth: int, palette: bool
) -> None:
    """Of every depth, gray or with a palette that means other colors and transparency."""
    numbers = numbers >> (16 - depth)
    colors = [(b"PLTE", bytes(range(255, -1, -1)) * 3), (b"tRNS", b"\0\x80")]
    palette = palette and depth <= 8
    file.write_bytes(png(numbers, depth, 3 if palette else 0, *(colors if palette else [])))
    read = read_index_png(file)
    assert (read == numbers).all()
    assert read.dtype == (np.uint16 if depth == 16 else np.uint8)


def test_a_gray_map_saved_as_colors(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "map.png"), np.repeat(NUMBERS[..., None], 3, axis=2))
    assert (read_index_png(tmp_path / "map.png") == NUMBERS).all()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a PNG"),
        (b"\xff\xd8\xff" * 9, "is not a PNG"),
        (png(NUMBERS, 8, 0)[:-20], "ends too early"),
        (png(NUMBERS, 8, 0)[:8], "ends too early"),
        (png(NUMBERS, 8, 0)[:40] + b"\x01" + png(NUMBERS, 8, 0)[41:], "checksum"),
    ],
)
def test_files_that_are_no_maps(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "map.png").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_index_png(tmp_path / "map.png")


def test_a_picture_of_colors_and_one_of_endless_size_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "map.png"
    cv2.imwrite(str(file), np.arange(36, dtype=np.uint8).reshape(3, 4, 3))
    with pytest.raises(ValueError, match="picture of colors"):
        read_index_png(file)
    cv2.imwrite(str(file), np.zeros((3, 4, 4), np.uint8))
    with pytest.raises(ValueError, match="transparent"):
        read_index_png(file)
    huge = struct.pack(">2I5B", 2**31 - 1, 2**31 - 1, 8, 0, 0, 0, 0)
    head = SIGNATURE + chunk(b"IHDR", huge)
    file.write_bytes(head + png(NUMBERS, 8, 0)[33:])
    with pytest.raises(ValueError, match="more than are read"):
        read_index_png(file)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_map_or_refused(file: Path, content: bytes) -> None:
    file.write_bytes(SIGNATURE + content)
    with pytest.raises(ValueError, match="is "):
        read_index_png(file)


@pytest.fixture
def model(classifier: ModelSpec) -> ModelSpec:
    """A model with three classes."""
    return msgspec.structs.replace(classifier, labels=("road", "car", "sky"))


def read(path: Path, model: ModelSpec) -> LabeledSet:
    return read_class_maps(SourceLocation(path, argument="--eval-data"), model)


@pytest.mark.parametrize(
    ("file", "mask"),
    [
        ("images/val/1.jpg", "masks/val/1.png"),
        ("images/1.png", "labels/1.png"),
        ("images/1.jpg", "annotations/1.png"),
        ("JPEGImages/1.jpg", "SegmentationClass/1.png"),
        ("1.jpg", "1.png"),
        ("1.png", "1_mask.png"),
    ],
)
def test_where_class_maps_lie(tmp_path: Path, model: ModelSpec, file: str, mask: str) -> None:
    for name in (file, mask):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / name), NUMBERS)
    labeled = read(tmp_path, model)
    (sample,) = labeled.samples
    assert (sample.file, sample.class_map) == (tmp_path / file, ClassMapFile(tmp_path / mask, 3))
    assert (ClassMapFile(tmp_path / mask, 3).read(labeled.source) == NUMBERS).all()
    assert len(list(labeled.frames())) == 1


def test_a_table_of_class_maps(tmp_path: Path, model: ModelSpec) -> None:
    for name in ("1.png", "a.png"):
        cv2.imwrite(str(tmp_path / name), NUMBERS)
    table = tmp_path / "l.csv"
    table.write_text("file,mask\n1.png,a.png\n")
    (sample,) = read(table, model).samples
    assert (sample.file, sample.class_map) == (
        tmp_path / "1.png",
        ClassMapFile(tmp_path / "a.png", 3),
    )
    for row, words in [
        ("1.png,a.png\n1.png,a.png", ":3: 1.png is in line 2 already"),
        ("1.png,", ":2: no `mask`"),
        ("1.png,b.png", ":2: `mask` b.png does not exist"),
    ]:
        table.write_text(f"file,mask\n{row}\n")
        with pytest.raises(UsageError, match=words):
            read(table, model)


def test_pictures_without_a_map_and_numbers_that_are_no_class(
    tmp_path: Path, model: ModelSpec
) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), NUMBERS)
    with pytest.raises(UsageError, match=r"1 image and no class map; .*masks/"):
        read(tmp_path, model)
    cv2.imwrite(str(tmp_path / "1_mask.png"), NUMBERS + 2)
    labeled = read(tmp_path, model)
    with pytest.raises(
        UsageError, match=r"^--eval-data .*1_mask\.png: holds 3, 4, and the model's .* 0 to 2"
    ):
        list(labeled.frames())
    cv2.imwrite(str(tmp_path / "1_mask.png"), NUMBERS[:, :2])
    with pytest.raises(UsageError, match=r"1\.png is 4 × 3 pixels, .* were made for 2 × 3"):
        list(labeled.frames())


MAPS = arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 1, 2, 3, 255]))
CLASSES = 4


@given(st.lists(st.tuples(MAPS, MAPS), min_size=1, max_size=3))
def test_mean_iou_by_its_definition(maps: list[tuple[np.ndarray, np.ndarray]]) -> None:
    pairs = [(np.where(ours == 255, 0, ours), labels) for ours, labels in maps]
    score = mean_iou([count_pixels(ours, labels, CLASSES) for ours, labels in pairs])
    ious = []
    for each in range(CLASSES):
        both = either = labeled = 0
        for ours, labels in pairs:
            counts = labels != 255
            both += ((ours == each) & (labels == each) & counts).sum()
            either += (((ours == each) | (labels == each)) & counts).sum()
            labeled += (labels == each).sum()
        ious += [both / either] if labeled else []
    assert score.value == pytest.approx(np.mean(ious) if ious else np.nan, nan_ok=True)
    if ious and not np.isnan(score.low):
        assert 0 <= score.low <= score.high <= 1


def test_iou_class_by_class(model: ModelSpec) -> None:
    labels = np.array([[0, 0, 1, 1, 255]], np.uint8)
    perfect, half = labels.copy(), np.array([[0, 2, 1, 0, 1]], np.uint8)
    counts = [count_pixels(each, labels, 3) for each in (perfect, half)]
    scores = iou_by_class(counts, model)
    assert {name: score.value for name, score in scores.items()} == {
        "road": pytest.approx(3 / 5),
        "car": pytest.approx(3 / 4),
    }
    total = mean_iou(counts)
    assert (total.metric, total.samples) == ("mIoU", 2)
    assert total.value == pytest.approx((3 / 5 + 3 / 4) / 2)
    assert total.others == {"right pixels": pytest.approx(6 / 8)}


def test_a_model_of_class_maps_is_scored_by_them(tmp_path: Path, model: ModelSpec) -> None:
    spec = msgspec.structs.replace(model, task="segment", decode=Semantic(output="logits"))
    task = task_of(spec)
    for name in ("1", "2"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), NUMBERS)
        cv2.imwrite(str(tmp_path / f"{name}_mask.png"), NUMBERS)
    samples = task.read_labels(SourceLocation(tmp_path), spec).samples
    perfect, blind = ClassMap(NUMBERS, model.labels), ClassMap(NUMBERS * 0 + UNSEEN, model.labels)
    assert task.score(samples, [perfect, perfect], spec).value == 1.0
    assert task.score(samples, [perfect, blind], spec).value == 0.5
    classes = task.score_classes(samples, [perfect, blind], spec)
    assert {name: score.value for name, score in classes.items()} == dict.fromkeys(
        model.labels, 0.5
    )


def test_a_changed_map_is_other_data(tmp_path: Path) -> None:
    for name in ("1.png", "1_mask.png"):
        cv2.imwrite(str(tmp_path / name), NUMBERS)
    sample = LabeledImage(tmp_path / "1.png", class_map=ClassMapFile(tmp_path / "1_mask.png", 3))
    labeled = LabeledSet(SourceLocation(tmp_path), (sample,))
    before = labeled.sha256()
    cv2.imwrite(str(tmp_path / "1_mask.png"), NUMBERS * 0)
    assert labeled.sha256() != before
