import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgecnn_runtime import idx
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.idx import read_idx
from edgecnn_runtime.image_file import image_bytes, is_image_file, list_images, read_picture

ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
RAW = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 3, 4) + ARRAY.tobytes()
SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@SAME_FOLDER
@given(
    array=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)),
    packed=st.booleans(),
)
def test_what_was_written_is_read(tmp_path: Path, array: np.ndarray, packed: bool) -> None:
    raw = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    raw += array.tobytes()
    path = tmp_path / "any-name"
    path.write_bytes(gzip.compress(raw) if packed else raw)
    np.testing.assert_array_equal(read_idx(path, dimensions=array.ndim), array)


@SAME_FOLDER
@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: RAW[:8] + tail))
def test_any_bytes_give_an_array_or_an_error_that_names_the_file(
    tmp_path: Path, raw: bytes
) -> None:
    path = tmp_path / "hostile"
    path.write_bytes(raw)
    try:
        said = str(read_idx(path, dimensions=3).shape)
    except UsageError as error:
        said = str(error)
    assert str(path) in said or said.startswith("(")


@SAME_FOLDER
@given(cut=st.integers(0, len(RAW) - 1), packed=st.booleans())
def test_a_truncated_file_is_refused(tmp_path: Path, cut: int, packed: bool) -> None:
    path = tmp_path / "cut"
    path.write_bytes(gzip.compress(RAW)[: cut + 1] if packed else RAW[:cut])
    if packed and cut + 1 >= len(gzip.compress(RAW)):
        return
    with pytest.raises(UsageError, match="cut"):
        read_idx(path, dimensions=3)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\x89PNG" + RAW, "two zero bytes"),
        (RAW[:2] + b"\x0d" + RAW[3:], "type 0x0d"),
        (RAW[:3] + b"\x01" + RAW[4:], "1 dimensions, not 3"),
        (RAW + b"surplus", r"2 x 3 x 4 = 24 bytes\s+and has 31"),
        (RAW[:4] + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1), "download it again"),
        (b"", "not an IDX file"),
    ],
)
def test_the_error_says_what_is_wrong(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(raw)
    with pytest.raises(UsageError, match=message):
        read_idx(path, dimensions=3)


def test_a_gzip_bomb_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "LIMIT", 1 << 20)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(50 << 20)))
    with pytest.raises(UsageError, match="unpacks to more"):
        read_idx(path, dimensions=3)


def test_a_missing_file_and_a_folder_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_idx(tmp_path / "absent", dimensions=1)
    with pytest.raises(UsageError, match="cannot be read"):
        read_idx(tmp_path, dimensions=1)


def write(folder: Path, part: str, count: int, labels: int = -1) -> Path:
    """``count`` pictures of 2x3, each of one shade, and their labels."""
    folder.mkdir(exist_ok=True)
    pixels = np.repeat(np.arange(count, dtype=np.uint8), 6)
    file = folder / f"{part}-images-idx3-ubyte"
    file.write_bytes(struct.pack(">4I", 0x803, count, 2, 3) + pixels.tobytes())
    count = count if labels < 0 else labels
    head = struct.pack(">2I", 0x801, count)
    (folder / f"{part}-labels-idx1-ubyte").write_bytes(head + bytes(range(count)))
    return file


def test_pictures_of_a_file_have_paths_and_labels(tmp_path: Path) -> None:
    file = write(tmp_path, "train", 12)
    paths = idx.idx_pictures(file)
    assert paths == sorted(paths)
    assert idx.idx_labels(file) == list(range(12))
    for number in (0, 11):
        picture = read_picture(paths[number])
        assert picture is not None
        assert (picture.shape, int(picture.max())) == ((2, 3, 3), number)
    assert is_image_file(paths[11])
    assert read_picture(file / "00012") is None
    assert image_bytes(paths[3]) != image_bytes(paths[4])


def test_a_folder_gives_its_training_part_or_the_others(tmp_path: Path) -> None:
    train, test = write(tmp_path, "train", 3), write(tmp_path, "t10k", 5)
    assert idx.idx_files(tmp_path, training=True) == [train]
    assert idx.idx_files(tmp_path, training=False) == [test]
    assert idx.idx_files(test, training=True) == [test]
    assert len(list(list_images(tmp_path))) == 3
    assert len(list(list_images(test))) == 5
    alone = write(tmp_path / "alone", "train", 3)
    assert idx.idx_files(alone.parent, training=False) == [alone]


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    file = write(tmp_path, "train", 3)
    assert len(idx.idx_pictures(file)) == 3
    write(tmp_path, "train", 4)
    os.utime(file, ns=(1, 1))
    assert len(idx.idx_pictures(file)) == 4


def test_labels_have_to_be_there_and_as_many(tmp_path: Path) -> None:
    file = write(tmp_path, "train", 4, labels=3)
    with pytest.raises(UsageError, match="4 pictures, and train-labels-idx1-ubyte has 3 labels"):
        idx.idx_labels(file)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(UsageError, match="train-labels-idx1-ubyte: no such file"):
        idx.idx_labels(file)
    write(tmp_path, "train", 0)
    with pytest.raises(UsageError, match="0 pictures"):
        list(list_images(tmp_path))
