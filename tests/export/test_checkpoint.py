"""The project's own checkpoint: written atomically, read without running anything."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgecnn_export.checkpoint import (
    SPEC_KEYS,
    is_checkpoint,
    parse_checkpoint,
    save_checkpoint,
)
from edgecnn_export.config import ExportConfig
from edgecnn_export.loading.load import load_model
from edgecnn_runtime.errors import CheckpointError, EdgecnnError, UntrustedError, UsageError

ARCH = "edgecnn.models.mnist_cnn2:MnistCnn2"
SPEC = {
    "task": "classify",
    "input": "28x28",
    "mean": (0.0,),
    "std": (255.0,),
    "color": "gray",
    "labels": ("zero", "one", "two"),
}


@pytest.fixture
def net() -> nn.Module:
    from edgecnn.models.mnist_cnn2 import MnistCnn2

    torch.manual_seed(0)
    return MnistCnn2(classes=3).eval()


@pytest.fixture
def samples() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 20, 24, 3), dtype=np.uint8)


def test_comes_back_as_it_was_saved(tmp_path: Path, net: nn.Module, samples: np.ndarray) -> None:
    path = tmp_path / "model.pt"
    save_checkpoint(path, net, arch=ARCH, arch_args={"classes": 3}, spec=SPEC, samples=samples)

    loaded = load_model(ExportConfig(model=str(path)))

    assert loaded.module is not None
    picture = torch.rand(2, 1, 28, 28)
    torch.testing.assert_close(loaded.module(picture), net(picture))
    assert not loaded.module.training
    assert not any(parameter.requires_grad for parameter in loaded.module.parameters())
    assert loaded.spec == SPEC
    assert loaded.origin == "checkpoint"
    assert loaded.samples is not None
    np.testing.assert_array_equal(loaded.samples, samples)


def test_plain_torch_reads_it_with_weights_only(tmp_path: Path, net: nn.Module) -> None:
    save_checkpoint(tmp_path / "model.pt", net, arch=ARCH, spec=SPEC)
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    assert is_checkpoint(content)
    assert parse_checkpoint(content, Path("model.pt")).spec == SPEC


def test_takes_a_state_dict_and_keeps_only_the_weights_themselves(
    tmp_path: Path, net: nn.Module
) -> None:
    """A slice of a large tensor must not bring the whole of it into the file."""
    state = {key: torch.cat([value] * 50)[: len(value)] for key, value in net.state_dict().items()}
    save_checkpoint(tmp_path / "model.pt", state, arch=ARCH, arch_args={"classes": 3})
    save_checkpoint(tmp_path / "plain.pt", net, arch=ARCH, arch_args={"classes": 3})
    sizes = [(tmp_path / name).stat().st_size for name in ("model.pt", "plain.pt")]
    assert sizes[0] < sizes[1] * 1.01
    assert load_model(ExportConfig(model=str(tmp_path / "model.pt"))).module is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arch": "resnet18"}, "package.module:factory"),
        ({"arch": "os:system; x"}, "package.module:factory"),
        ({"arch": "__main__:Net"}, "module of its own"),
        ({"arch_args": {"width": torch.zeros(1)}}, "arch_args"),
        ({"arch_args": {"not a name": 1}}, "arch_args"),
        ({"spec": {"colour": "rgb"}}, "spec.colour"),
        ({"spec": {"images": "/etc"}}, "spec.images"),
        ({"spec": {"trust_pickle": True}}, "spec.trust_pickle"),
        ({"spec": {"labels": "/etc/passwd"}}, "spec.labels"),
        ({"spec": {"color": "cmyk"}}, "cmyk"),
        ({"spec": {"input": "0x0"}}, "input"),
        ({"samples": np.zeros((1, 8, 8, 3), np.float32)}, "uint8"),
        ({"samples": np.zeros((1, 8, 8), np.uint8)}, "uint8"),
        ({"samples": np.zeros((0, 8, 8, 3), np.uint8)}, "uint8"),
        ({"samples": np.zeros((65, 8, 8, 3), np.uint8)}, "at most 64"),
    ],
)
def test_refuses_to_save_what_export_would_refuse(
    tmp_path: Path, net: nn.Module, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        save_checkpoint(tmp_path / "model.pt", net, **({"arch": ARCH} | change))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, net: nn.Module) -> None:
    path = tmp_path / "model.pt"
    path.mkdir()
    with pytest.raises(EdgecnnError, match="cannot write"):
        save_checkpoint(path, net, arch=ARCH)
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]
    with pytest.raises(EdgecnnError, match="cannot write"):
        save_checkpoint(tmp_path / "nowhere" / "model.pt", net, arch=ARCH)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("version", 2, "newer edgecnn"),
        ("version", None, "newer edgecnn"),
        ("arch", None, "arch"),
        ("arch", ["os:system"], "arch"),
        ("arch_args", None, "arch_args"),
        ("spec", [], "spec"),
        ("spec", {"out": "/tmp/x"}, "spec.out"),
        ("state_dict", {}, "state_dict"),
        ("state_dict", {"weight": 3}, "state_dict"),
        ("samples", "pictures", "samples"),
        ("samples", torch.zeros(100, 8, 8, 3, dtype=torch.uint8), "at most"),
    ],
)
def test_refuses_a_tampered_checkpoint(
    tmp_path: Path, net: nn.Module, key: str, value: Any, message: str
) -> None:
    path = tmp_path / "model.pt"
    save_checkpoint(path, net, arch=ARCH)
    content = torch.load(path, weights_only=True)
    torch.save(content | {key: value}, path)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(ExportConfig(model=str(path)))
    assert str(path) in str(caught.value)


def test_an_architecture_from_elsewhere_is_followed_only_when_repeated(
    tiny: type[nn.Module], tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    save_checkpoint(path, tiny(width=6), arch="tiny_arch:Tiny", arch_args={"width": 6})

    with pytest.raises(UntrustedError, match="--arch tiny_arch:Tiny"):
        load_model(ExportConfig(model=str(path)))

    loaded = load_model(ExportConfig(model=str(path), arch="tiny_arch:Tiny"))
    assert loaded.module is not None
    assert loaded.origin is None


@pytest.mark.parametrize("arch", ["os:system", "edgecnn.models:os", "edgecnn.cli:main"])
def test_a_checkpoint_cannot_name_a_function_to_call(
    tmp_path: Path, net: nn.Module, marker: Path, arch: str
) -> None:
    path = tmp_path / "model.pt"
    save_checkpoint(path, net, arch=arch, arch_args={"command": f"touch {marker}"})
    with pytest.raises(UntrustedError):
        load_model(ExportConfig(model=str(path)))
    assert not marker.exists()


def test_flags_win_over_the_checkpoint(tiny: type[nn.Module], tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    save_checkpoint(path, tiny(width=6), arch="elsewhere:Tiny", arch_args={"width": 9})
    config = ExportConfig(model=str(path), arch="tiny_arch:Tiny", arch_args={"width": 6})
    assert load_model(config).module is not None


def test_the_documentations_example_works(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (root / "docs" / "checkpoints.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/checkpoints.md", "exec"), {})
    loaded = load_model(ExportConfig(model="model.pt"))
    assert loaded.spec["labels"] == ("cat", "dog", "owl")
    assert loaded.samples is not None


def test_every_key_of_a_spec_is_documented(root: Path) -> None:
    text = (root / "docs" / "checkpoints.md").read_text()
    assert [key for key in sorted(SPEC_KEYS) if f"`{key}`" not in text] == []
