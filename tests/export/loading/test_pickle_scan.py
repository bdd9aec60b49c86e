"""What a pickle imports, told without unpickling it."""

import collections
import fractions
import io
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgecnn_export.config import ExportConfig
from edgecnn_export.loading.load import load_model
from edgecnn_export.loading.pickle_scan import imports_of, pickle_imports, unsafe_imports
from edgecnn_runtime.errors import CheckpointError, UnsupportedModelError, UntrustedError

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")


class Watched(pickle.Unpickler):
    """Unpickles, and remembers what was imported on the way."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self.imported: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        self.imported.add(f"{module}.{name}")
        return super().find_class(module, name)


importable = st.sampled_from(
    [
        print,
        collections.OrderedDict,
        fractions.Fraction(1, 3),
        complex(1, 2),
        {1, 2},
        len,
        Path("a"),
    ]
)
values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.binary(max_size=5) | importable,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(values, st.integers(0, pickle.HIGHEST_PROTOCOL), st.booleans())
def test_finds_everything_that_unpickling_imports(
    value: object, protocol: int, shorten: bool
) -> None:
    data = pickle.dumps(value, protocol)
    if shorten:
        data = pickletools.optimize(data)
    watched = Watched(data)
    watched.load()
    assert set(pickle_imports(data)) == watched.imported


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_exception(data: bytes) -> None:
    pickle_imports(data)
    imports_of(b"PK\x03\x04" + data)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (
            "the strings of a harmless name popped off again",
            b"\x80\x04\x8c\x05posix\x8c\x06system\x8c\x0bcollections\x8c\x0bOrderedDict00\x93.",
        ),
        ("only one string before it", b"\x80\x04\x8c\x06system\x93."),
        ("a name put together from a memo that was never written", b"\x80\x04h\x00h\x01\x93."),
        ("a list where a string should be", b"\x80\x04](\x8c\x01a\x93."),
        ("an extension code", b"\x80\x02\x82\x05."),
        ("the end missing", b"\x80\x04\x8c\x05posix"),
        ("an opcode that does not exist", b"\x80\x04\xff."),
    ],
)
def test_what_cannot_be_told_is_said(name: str, data: bytes) -> None:
    assert pickle_imports(data) == ["?"], name


def test_names_are_followed_through_the_memo() -> None:
    data = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x940h\x00h\x01\x93."
    assert pickle_imports(data) == ["posix.system"]


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_are_plain_data(saved: Callable[..., bytes], zipped: bool) -> None:
    state = {"a": torch.zeros(2), "b": torch.nn.Parameter(torch.zeros(1).half()), "c": [1, {2}]}
    content = saved(state, _use_new_zipfile_serialization=zipped)
    assert imports_of(content)
    assert unsafe_imports(imports_of(content)) == []


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_in_it_does_not_run(
    tmp_path: Path, evil: object, marker: Path, saved: Callable[..., bytes], zipped: bool
) -> None:
    path = tmp_path / "model.pt"
    content = {"state_dict": {"weight": torch.zeros(1)}, "epoch": evil}
    path.write_bytes(saved(content, _use_new_zipfile_serialization=zipped))

    with pytest.raises(UntrustedError, match=r"posix.system.*--trust-pickle"):
        load_model(ExportConfig(model=str(path)))
    assert not marker.exists()

    torch.load(path, weights_only=False)
    assert marker.exists(), "the file was harmless: the test proves nothing"


def test_a_bare_pickle_with_code_in_it_does_not_run(
    tmp_path: Path, evil: object, marker: Path
) -> None:
    path = tmp_path / "model.pt"
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps(evil, protocol))
        with pytest.raises(UntrustedError, match=r"posix.system"):
            load_model(ExportConfig(model=str(path)))
        assert not marker.exists()
    pickle.loads(path.read_bytes())
    assert marker.exists(), "the file was harmless: the test proves nothing"


def test_a_pickle_in_text_is_no_model(tmp_path: Path, evil: object, marker: Path) -> None:
    (tmp_path / "model.pt").write_bytes(pickle.dumps(evil, 0))
    with pytest.raises(CheckpointError, match="not a model"):
        load_model(ExportConfig(model=str(tmp_path / "model.pt")))
    assert not marker.exists()


def test_numpy_numbers_are_not_let_through(tmp_path: Path) -> None:
    torch.save({"state_dict": {"w": torch.zeros(1)}, "best": np.float64(0.9)}, tmp_path / "run.pt")
    with pytest.raises(UntrustedError, match=r"multiarray.scalar.*torch.save\(model.state_dict"):
        load_model(ExportConfig(model=str(tmp_path / "run.pt")))


def stranger(module: str, name: str) -> object:
    """An instance of a class that pickle will name ``module.name``."""
    return type(name, (), {"__module__": module})()


@pytest.mark.parametrize(
    ("module", "name", "line"),
    [
        ("ultralytics.nn.tasks", "DetectionModel", "yolo export model={path} format=onnx"),
        ("models.yolo", "Model", "python export.py --weights {path} --include onnx"),
        ("facenet_pytorch.models.inception_resnet_v1", "InceptionResnetV1", "--arch facenet"),
        ("detectron2.modeling.meta_arch.rcnn", "GeneralizedRCNN", "export_model.py"),
        ("fastai.learner", "Learner", "load_learner"),
    ],
)
@pytest.mark.parametrize("trust", [True, False])
def test_another_frameworks_pickle_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str, line: str, trust: bool
) -> None:
    path = tmp_path / "best.pt"
    model = stranger(module, name)
    holder = type("holder", (), {name: type(model)})
    with monkeypatch.context() as patch:
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            patch.setitem(__import__("sys").modules, ".".join(parts[:end]), holder)
        torch.save({"epoch": -1, "model": model, "train_args": {"imgsz": 640}}, path)

    with pytest.raises(UnsupportedModelError) as caught:
        load_model(ExportConfig(model=str(path), trust_pickle=trust))

    assert caught.value.exit_code == 4
    assert not isinstance(caught.value, UntrustedError)
    assert f"{module}.{name}" in str(caught.value)
    assert line.replace("{path}", str(path)) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3
