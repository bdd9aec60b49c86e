"""Where verification images come from, and the warnings about them."""

import os
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecnn_export.verification.golden import most_distinct
from edgecnn_export.verification.images import NetworkImages, collect, list_pictures, read_pictures
from edgecnn_export.verification.synthetic import synthetic_pictures
from edgecnn_runtime.bundle.manifest import Input, Normalization
from edgecnn_runtime.errors import UsageError

RAW = Normalization(mean=(0.0,) * 3, std=(1.0,) * 3, origin="preset")


def spec(width: int = 48, height: int = 32, **fields: Any) -> Input:
    return Input(width=width, height=height, color="bgr", normalization=RAW, **fields)


def network_images(folder: Path, size: Input) -> NetworkImages:
    return collect(read_pictures(str(folder), list_pictures(str(folder))), None, size)


def write(folder: Path, count: int, size: tuple[int, int] = (40, 60)) -> None:
    for index, picture in enumerate(synthetic_pictures(count, *size)):
        (folder / f"sub{index % 2}").mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f"sub{index % 2}" / f"{index:03}.png"), picture)


def test_pictures_are_spread_over_the_folder(tmp_path: Path) -> None:
    write(tmp_path, 40)
    images = network_images(tmp_path, spec())
    assert images.pixels.shape == (16, 32, 48, 3)
    assert (images.origin, images.warnings, images.skipped) == ("given", (), ())
    assert images.names[0] == "sub0/000.png"
    assert any(name.startswith("sub1") for name in images.names)
    again = network_images(tmp_path, spec())
    assert np.array_equal(images.pixels, again.pixels)


def test_pictures_of_idx_files_are_taken_where_folders_are(tmp_path: Path) -> None:
    """Those of the training part, from the folder or from the file itself."""
    for part, count in (("train", 20), ("t10k", 7)):
        pixels = np.random.default_rng(count).integers(0, 255, (count, 28, 28), np.uint8)
        head = struct.pack(">4I", 0x803, *pixels.shape)
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
    for place in (tmp_path, tmp_path / "train-images-idx3-ubyte"):
        assert len(list_pictures(str(place), "--calib")) == 20
    images = network_images(tmp_path, spec(28, 28))
    assert images.pixels.shape == (16, 28, 28, 3)
    assert images.names[1] == "train-images-idx3-ubyte/00001"
    assert len({picture.tobytes() for picture in images.pixels}) == 16


def test_pictures_to_calibrate_on_are_better_than_none(tmp_path: Path) -> None:
    write(tmp_path, 20)
    pictures = read_pictures(str(tmp_path), list_pictures(str(tmp_path), "--calib"), flag="--calib")
    images = collect(pictures, None, spec())
    assert (images.origin, images.warnings) == ("calibration", ())
    samples = synthetic_pictures(16, 28, 28)
    assert collect(pictures, samples, spec()).origin == "checkpoint", "they are the model's own"


def test_few_pictures_are_filled_up_with_views_of_them(tmp_path: Path) -> None:
    write(tmp_path, 1)
    images = network_images(tmp_path, spec())
    assert len({picture.tobytes() for picture in images.pixels}) == 16
    assert "only 1 picture in" in images.warnings[0]


def test_a_name_that_is_no_utf8_can_be_written_in_a_report(tmp_path: Path) -> None:
    write(tmp_path, 3)
    (tmp_path / "sub1" / "001.png").rename(tmp_path / "sub1" / os.fsdecode(b"\xff.png"))
    assert "sub1/\ufffd.png" in network_images(tmp_path, spec()).names


def test_bad_files_are_named_and_replaced(tmp_path: Path) -> None:
    write(tmp_path, 20)
    (tmp_path / "sub0" / "000.png").write_bytes(b"not a picture")
    (tmp_path / "sub0" / "0005.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("not looked at")
    images = network_images(tmp_path, spec())
    assert len(images.pixels) == 16
    assert "sub0/000.png" in images.skipped
    assert "not readable pictures: " in images.warnings[0]


@pytest.mark.parametrize("files", [{}, {"a.txt": b"x"}, {"a.jpg": b"x", "b.png": b""}])
def test_a_folder_without_pictures_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=r"contains no picture|readable picture"):
        network_images(tmp_path, spec())


def test_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        list_pictures(str(tmp_path / "nowhere"))
    assert read_pictures("", list_pictures("")) is None


def test_shrinking_a_lot_with_linear_is_warned_of(tmp_path: Path) -> None:
    write(tmp_path, 16, (400, 600))
    assert "shrink 12.5 times" in network_images(tmp_path, spec()).warnings[0]
    assert not network_images(tmp_path, spec(interpolation="area")).warnings


def test_the_checkpoints_samples_come_next() -> None:
    samples = synthetic_pictures(5, 20, 20, seed=3)
    images = collect(None, samples, spec(20, 20))
    assert (images.origin, len(images.pixels)) == ("checkpoint", 16)
    assert np.array_equal(images.pixels[:5], samples)


def test_synthetic_pictures_come_last_and_say_so() -> None:
    images = collect(None, None, spec())
    assert images.origin == "synthetic"
    assert "--images DIR" in images.warnings[0]
    assert len({picture.tobytes() for picture in images.pixels}) == 16
    assert np.array_equal(images.pixels, collect(None, None, spec()).pixels)


@pytest.mark.parametrize("size", [(28, 28), (1, 1), (3, 200), (352, 640)])
def test_synthetic_pictures_of_any_size(size: tuple[int, int]) -> None:
    pictures = synthetic_pictures(4, *size)
    assert pictures.shape == (4, *size, 3)
    assert pictures.reshape(4, -1).mean(1).std() > 1


def test_golden_pictures_lie_far_apart() -> None:
    outputs = np.zeros((8, 3), np.float32)
    outputs[1] = (5, 0, 0)
    outputs[4] = (0, 5, 0)
    outputs[6] = (0, 0, 5)
    outputs[7] = (0.1, 0, 0)
    chosen = most_distinct({"a": outputs, "b": outputs[:, :1] * 1e6}, range(8))
    assert {1, 4, 6} < set(chosen)
    assert len(chosen) == 4
    assert set(most_distinct({"a": outputs}, [0, 2, 7])) == {0, 2, 7}
