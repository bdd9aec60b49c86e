"""Networks, archives and hostile objects that several export tests use."""

import importlib
import importlib.util
import io
import json
import os
import shutil
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

TINY = '''
"""A network small enough to build in a test."""

import torch
from torch import nn


class Tiny(nn.Module):
    def __init__(self, width: int = 4, channels: int = 3, classes: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.tail = nn.Sequential(nn.Conv2d(width, width, 1), nn.GELU())
        self.head = nn.Linear(width, classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.tail(self.norm(self.conv(image))).mean((2, 3)))


def number() -> int:
    return 3


def broken() -> nn.Module:
    raise RuntimeError("no such width")
'''


@pytest.fixture(scope="session", autouse=True)
def _torchlib(torchlib: None) -> None:
    """Every test here may export."""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[nn.Module]]:
    """``tiny_arch:Tiny``, importable only because the current folder holds tiny_arch.py."""
    (tmp_path / "tiny_arch.py").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    sys.path.append(str(tmp_path))
    importlib.invalidate_caches()
    yield importlib.import_module("tiny_arch").Tiny
    sys.path.remove(str(tmp_path))
    del sys.modules["tiny_arch"]


@pytest.fixture(scope="session")
def timm() -> ModuleType:
    """timm, with its own import of torchvision made to work.

    A torchvision built for another torch than this one fails to import because two of its
    operators are not registered; declaring them is enough.
    """
    pytest.importorskip("PIL", reason="needs timm and torchvision")
    if importlib.util.find_spec("torchvision") is None or importlib.util.find_spec("timm") is None:
        pytest.skip("needs timm and torchvision")
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        for name in ("nms", "qnms"):
            schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{name}", schema.removeprefix(name))
    return importlib.import_module("timm")


class Evil:
    """An object whose unpickling touches a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that exists only if hostile code ran."""
    return tmp_path / "it-ran"


@pytest.fixture
def evil(marker: Path) -> Evil:
    """Touches ``marker`` when it is unpickled."""
    return Evil(marker)


@pytest.fixture
def saved() -> Callable[..., bytes]:
    """torch.save, into bytes."""

    def save(value: object, **options: Any) -> bytes:
        file = io.BytesIO()
        torch.save(value, file, **options)
        return file.getvalue()

    return save


@pytest.fixture
def members() -> Callable[[Path], dict[str, bytes]]:
    """A zip's members, by their full names."""

    def read(path: Path) -> dict[str, bytes]:
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    return read


@pytest.fixture
def rewritten(members: Callable[[Path], dict[str, bytes]]) -> Callable[..., Path]:
    """Replace members of a zip, named by how they end; adds those that are not there."""

    def replace(path: Path, changes: dict[str, bytes | Callable[[bytes], bytes]]) -> Path:
        content = members(path)
        root = next(iter(content)).partition("/")[0]
        for suffix, change in changes.items():
            name = next((name for name in content if name.endswith(suffix)), f"{root}/{suffix}")
            content[name] = change(content[name]) if callable(change) else change
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
        return path

    return replace


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny.pt2, with a dynamic batch and height, and tiny.ts, TorchScript; made once."""
    folder = tmp_path_factory.mktemp("archives")
    (folder / "tiny_archived.py").write_text(TINY)
    sys.path.append(str(folder))
    net = importlib.import_module("tiny_archived").Tiny().eval()
    sys.path.remove(str(folder))
    sizes = ({0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO},)
    program = torch.export.export(net, (torch.zeros(2, 3, 16, 16),), dynamic_shapes=sizes)
    torch.export.save(program, folder / "tiny.pt2", extra_files={"note.txt": "hello"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(net), folder / "tiny.ts")
    return folder


@pytest.fixture
def exported(archives: Path, tmp_path: Path) -> Path:
    """A .pt2 of the tiny network, to be changed."""
    return Path(shutil.copy(archives / "tiny.pt2", tmp_path))


@pytest.fixture
def scripted(archives: Path, tmp_path: Path) -> Path:
    """A TorchScript archive of the tiny network, to be changed."""
    return Path(shutil.copy(archives / "tiny.ts", tmp_path))


@pytest.fixture
def edited() -> Callable[[Callable[[dict[str, Any]], None]], Callable[[bytes], bytes]]:
    """A change to JSON bytes, from a function that changes the decoded value in place."""

    def change(edit: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
        def apply(content: bytes) -> bytes:
            value = json.loads(content)
            edit(value)
            return json.dumps(value).encode()

        return apply

    return change
