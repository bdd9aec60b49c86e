"""Files that are damaged, or that were never a model: each gets its own answer."""

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgecnn_export.config import ExportConfig
from edgecnn_export.loading.archive import read_archive
from edgecnn_export.loading.file_format import detect_format
from edgecnn_export.loading.load import load_model
from edgecnn_runtime.errors import CheckpointError, EdgecnnError, UnsupportedModelError, UsageError

SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
pytestmark = pytest.mark.filterwarnings("ignore")


def load(path: Path, **options: Any) -> Any:
    return load_model(ExportConfig(model=str(path), **options))


def tar_of_a_file() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x"))
    return file.getvalue()


MISTAKEN = {
    "empty": (b"", "is empty"),
    "page": (b"\n<!DOCTYPE html><html><body>404</body></html>", "a web page"),
    "upper": (b"<HTML>", "a web page"),
    "xml": (b"<?xml version='1.0'?><net name='m'>", "OpenVINO"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "json": (b'{\n "weights": 3}', "JSON"),
    "gzip": (gzip.compress(b"x"), "gunzip"),
    "tar": (tar_of_a_file(), "a tar"),
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(64), "tf2onnx"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(64), "TensorFlow Lite"),
    "engine": (b"ptrt" + bytes(64), "TensorRT engine"),
    "zeros": (bytes(4096), "begins with zeros"),
    "text": (b"hello\n", "not a model that edgecnn knows"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(64), "not a model that edgecnn knows"),
    "zip": (b"PK\x03\x04" + bytes(64), "truncated or damaged"),
}


@pytest.mark.parametrize("name", MISTAKEN)
def test_a_file_given_by_mistake(tmp_path: Path, name: str) -> None:
    content, message = MISTAKEN[name]
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        load(path, trust_pickle=True)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 4


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.pt: no such file"):
        load(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ("manifest.json", "is a bundle already"),
        ("saved_model.pb", "TensorFlow SavedModel"),
        ("best.pt", "did you mean .*best.pt"),
        ("notes.txt", "is a folder: give a checkpoint"),
    ],
)
def test_a_folder(tmp_path: Path, inside: str, message: str) -> None:
    (tmp_path / inside).write_bytes(b"")
    with pytest.raises(UsageError, match=message):
        load(tmp_path)


def test_a_keras_model_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(name, "")
    with pytest.raises(UnsupportedModelError, match=r"Keras.*format='onnx'"):
        load(tmp_path / "model.keras")


def test_another_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("word/document.xml", "")
    with pytest.raises(CheckpointError, match=r"a zip, but no model.*word/document\.xml"):
        load(tmp_path / "model.pt")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.99])
def test_a_truncated_checkpoint(
    tmp_path: Path, saved: Callable[..., bytes], zipped: bool, share: float
) -> None:
    content = saved({"w": torch.rand(2000)}, _use_new_zipfile_serialization=zipped)
    path = tmp_path / "model.pt"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match="copy or download it again"):
        load(path)


def test_truncated_safetensors(tiny: type, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    header = b'{"w":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}'
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(20))
    with pytest.raises(CheckpointError, match="damaged"):
        load(path, arch="tiny_arch:Tiny")


def bomb(names: list[str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(f"model/{name}", "pt2" if name == "archive_format" else "")
        with archive.open("model/data/0", "w") as member:
            for _ in range(80):
                member.write(bytes(1 << 20))
    return file.getvalue()


@pytest.mark.parametrize(
    "names", [["archive_format"], ["data.pkl", "constants.pkl"], ["data.pkl", "version"]]
)
def test_a_zip_bomb(tmp_path: Path, names: list[str]) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(bomb(names))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(CheckpointError, match="zip bomb"):
        load(path, trust_pickle=True)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names",
    [
        ["m/data.pkl", "m/constants.pkl", "m/data.pkl"],
        ["m/data.pkl", "m/constants.pkl", "m/DATA.pkl"],
        ["m/data.pkl", "m/constants.pkl", "other/data.pkl"],
        ["m/data.pkl", "m/constants.pkl", "m/../x"],
        ["m/data.pkl", "m/constants.pkl", "loose"],
    ],
)
def test_members_that_another_reader_might_see_differently(
    tmp_path: Path, names: list[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    with pytest.raises(CheckpointError):
        read_archive(tmp_path / "model.pt")
    with pytest.raises(CheckpointError):
        load(tmp_path / "model.pt")


@SHARED
@given(
    head=st.sampled_from(
        [b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x04", b"\x08\x07", b"\x02" + bytes(7)]
    ),
    rest=st.binary(max_size=300),
)
def test_any_bytes_get_an_answer(tmp_path: Path, head: bytes, rest: bytes) -> None:
    """Nothing but the project's own errors, whatever the file holds."""
    path = tmp_path / "model"
    path.write_bytes(head + rest)
    with pytest.raises(EdgecnnError):
        load(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_any_flipped_byte_gets_an_answer(
    archives: Path, tmp_path: Path, data: st.DataObject
) -> None:
    """A changed archive is refused, or it loads; it never ends in a traceback of torch's."""
    name = data.draw(st.sampled_from(["tiny.pt2", "tiny.ts"]))
    content = bytearray((archives / name).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "model"
    path.write_bytes(content)
    try:
        assert load(path).kind == detect_format(path)
    except EdgecnnError:
        return
