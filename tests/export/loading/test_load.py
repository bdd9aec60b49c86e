"""Every kind of file a model comes in, and weights that do not fit."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from edgecnn_export.config import ExportConfig
from edgecnn_export.loading.load import load_model
from edgecnn_export.loading.loaded import input_channels
from edgecnn_runtime.bundle.bundle import sha256_file
from edgecnn_runtime.errors import CheckpointError, UnsupportedModelError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore")
PICTURE = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def load(path: Path, arch: str = "tiny_arch:Tiny", **options: Any) -> Any:
    return load_model(ExportConfig(model=str(path), arch=arch, **options))


@pytest.fixture
def net(tiny: type[nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    return tiny().eval()


def same(module: nn.Module, net: nn.Module) -> bool:
    return torch.allclose(module(PICTURE), net(PICTURE), atol=1e-6)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict(net: nn.Module, tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "weights"
    torch.save(net.state_dict(), path, _use_new_zipfile_serialization=zipped)
    loaded = load(path)
    assert same(loaded.module, net)
    assert (loaded.kind, loaded.sha256) == ("weights", sha256_file(path))
    assert not loaded.module.training
    assert input_channels(loaded) == 3


def test_safetensors_whatever_its_name(net: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    safetensors.torch.save_file(net.state_dict(), path)
    loaded = load(path)
    assert loaded.kind == "safetensors"
    assert same(loaded.module, net)


def wrapped(key: str, **rest: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda state: {key: state, **rest}


def prefixed(prefix: str) -> Callable[[dict[str, Any]], Any]:
    return lambda state: {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize(
    "form",
    [
        wrapped("state_dict", epoch=3, best=0.9),
        wrapped("model", optimizer={"state": {}, "param_groups": []}),
        wrapped("model_ema", config={"lr": 0.1}),
        prefixed("module."),
        prefixed("module._orig_mod."),
        lambda state: {"state_dict": prefixed("model.")(state), "pytorch-lightning_version": "2"},
        lambda state: {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")},
    ],
)
def test_the_usual_wrappings_of_a_state_dict(
    net: nn.Module, tmp_path: Path, form: Callable[[dict[str, Any]], Any]
) -> None:
    torch.save(form(net.state_dict()), tmp_path / "weights.pt")
    assert same(load(tmp_path / "weights.pt").module, net)


@pytest.mark.parametrize("content", [{}, {"lr": 0.1}, [1, 2], torch.zeros(3), "text", {"a": {}}])
def test_a_file_without_weights(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="holds no weights"):
        load(tmp_path / "weights.pt")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(
    net: nn.Module, tmp_path: Path, dtype: torch.dtype
) -> None:
    torch.save(net.to(dtype).state_dict(), tmp_path / "weights.pt")
    module = load(tmp_path / "weights.pt").module
    floats = [value for value in module.state_dict().values() if value.is_floating_point()]
    assert {value.dtype for value in floats} == {torch.float32}
    assert same(module, net.float())


def test_torchscript(net: nn.Module, tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(net), tmp_path / "scripted.pt")
    torch.jit.save(torch.jit.trace(net, PICTURE), tmp_path / "traced.pt")
    for name in ("scripted.pt", "traced.pt"):
        loaded = load(tmp_path / name, arch="")
        assert loaded.kind == "torchscript"
        assert same(loaded.module, net)
        assert input_channels(loaded) == 3


def test_an_exported_program(net: nn.Module, tmp_path: Path) -> None:
    torch.export.save(torch.export.export(net, (PICTURE,)), tmp_path / "model.pt2")
    loaded = load(tmp_path / "model.pt2", arch="")
    assert loaded.kind == "pt2"
    assert same(loaded.module, net)
    assert loaded.spec == {"input": "16x16"}
    assert input_channels(loaded) == 3


def test_an_exported_program_of_any_size(exported: Path) -> None:
    loaded = load(exported, arch="")
    assert loaded.spec == {}
    assert loaded.module(torch.zeros(5, 3, 20, 16)).shape == (5, 5)


def test_training_mode_is_refused(tiny: type[nn.Module], tmp_path: Path) -> None:
    net = tiny().train()
    torch.export.save(torch.export.export(net, (PICTURE,)), tmp_path / "model.pt2")
    torch.jit.save(torch.jit.trace(net, PICTURE, check_trace=False), tmp_path / "model.ts")
    for name in ("model.pt2", "model.ts"):
        with pytest.raises(UnsupportedModelError, match=r"model.eval\(\)"):
            load(tmp_path / name, arch="")


def test_a_half_precision_program_is_refused(net: nn.Module, tmp_path: Path) -> None:
    torch.export.save(torch.export.export(net.half(), (PICTURE.half(),)), tmp_path / "model.pt2")
    with pytest.raises(UnsupportedModelError, match=r"float16.*model.float\(\)"):
        load(tmp_path / "model.pt2", arch="")


TWO_INPUTS = """
import torch
from torch import nn


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x, meta):
        return self.conv(x).mean((2, 3)) + meta
"""


def test_a_second_input_is_named_whatever_the_file(
    tiny: type[nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "two_arch.py").write_text(TWO_INPUTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    from two_arch import Two  # type: ignore[import-not-found] # written by the test

    module, example = Two().eval(), (PICTURE, torch.zeros(2, 4))
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    torch.export.save(torch.export.export(module, example), tmp_path / "model.pt2")
    torch.jit.save(torch.jit.script(module), tmp_path / "model.ts")
    for file, arch in (("weights.pt", "two_arch:Two"), ("model.pt2", ""), ("model.ts", "")):
        with pytest.raises(UnsupportedModelError, match=r"2 inputs \(x.*, meta"):
            load(tmp_path / file, arch=arch)


class WithoutForward(nn.Module):
    @torch.jit.export
    def infer(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_a_network_without_forward_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(WithoutForward()), tmp_path / "model.ts")
    torch.save(nn.ModuleList(), tmp_path / "model.pt")
    for file in ("model.ts", "model.pt"):
        with pytest.raises(UnsupportedModelError, match=r"has no forward\(\)"):
            load(tmp_path / file, arch="", trust_pickle=True)


def test_a_program_that_reads_channels_last_says_so(tmp_path: Path) -> None:
    program = torch.export.export(nn.Flatten(), (torch.zeros(1, 16, 16, 3),))
    torch.export.save(program, tmp_path / "model.pt2")
    with pytest.raises(UnsupportedModelError, match=r"N,H,W,C.*permute\(0, 2, 3, 1\)"):
        load(tmp_path / "model.pt2", arch="")


HUGE = '''
import torch
from torch import nn


class Huge(nn.Module):
    """2.2 GB of weights in float32 that are one number in memory."""

    def __init__(self):
        super().__init__()
        weight = torch.zeros(1, 1, dtype=torch.float16).expand(550_000_000, 1)
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, x):
        return x
'''


def test_weights_over_two_gigabytes_are_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "huge_arch.py").write_text(HUGE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    from huge_arch import Huge  # type: ignore[import-not-found] # written by the test

    torch.save(Huge(), tmp_path / "model.pt")
    with pytest.raises(UnsupportedModelError, match=r"2\.2 GB in float32.*ends at 2 GB"):
        load(tmp_path / "model.pt", arch="", trust_pickle=True)


def test_weights_alone_ask_for_their_architecture(net: nn.Module, tmp_path: Path) -> None:
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    with pytest.raises(UsageError, match=r"conv.weight.*--arch package.module:factory"):
        load(tmp_path / "weights.pt", arch="")


def test_an_architecture_too_many(exported: Path) -> None:
    with pytest.raises(UsageError, match="leave --arch out"):
        load(exported)


def test_weights_that_do_not_fit(tiny: type[nn.Module], tmp_path: Path) -> None:
    state = tiny(classes=7).state_dict()
    state["extra.weight"] = state.pop("conv.weight")
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path / "weights.pt")
    message = str(caught.value)
    assert "1 missing from the file:\n  conv.weight" in message
    assert "1 unexpected in the file:\n  extra.weight" in message
    assert "2 of another shape:" in message
    assert "head.weight: 7x4 in the file, 5x4 in the architecture" in message
    assert "--arch-args" in message


def test_a_wholly_different_network_lists_a_dozen(tiny: type[nn.Module], tmp_path: Path) -> None:
    torch.save({f"layer{index}.weight": torch.zeros(1) for index in range(99)}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path / "w.pt")
    assert "99 unexpected" in str(caught.value)
    assert "… and 87 more" in str(caught.value)
    assert str(caught.value).count("layer") == 12


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("key", ["conv.weight", "norm.running_var"])
def test_weights_that_are_not_numbers(
    net: nn.Module, tmp_path: Path, key: str, value: float
) -> None:
    state = net.state_dict()
    state[key].view(-1)[:2] = value
    torch.save(state, tmp_path / "weights.pt")
    torch.jit.save(torch.jit.script(net), tmp_path / "model.ts")
    torch.export.save(torch.export.export(net, (PICTURE,)), tmp_path / "model.pt2")
    for name, arch in (("weights.pt", "tiny_arch:Tiny"), ("model.ts", ""), ("model.pt2", "")):
        with pytest.raises(CheckpointError, match=rf"NaN or infinity in the weight {key}, 2 of"):
            load(tmp_path / name, arch=arch)


def test_an_attention_mask_may_hold_infinity(tmp_path: Path, net: nn.Module) -> None:
    net.register_buffer("mask", torch.tensor([0.0, float("-inf")]))
    torch.export.save(torch.export.export(net, (PICTURE,)), tmp_path / "model.pt2")
    assert load(tmp_path / "model.pt2", arch="").module is not None


@pytest.mark.parametrize(
    ("arch", "arch_args", "message"),
    [
        ("resnet18", {}, "not package.module:factory"),
        ("tiny_arch:", {}, "not package.module:factory"),
        ("no_such_package.models:net", {}, "pip install no_such_package"),
        ("tiny_arch.inner:Tiny", {}, "no module named tiny_arch.inner"),
        ("tiny_arch:Tny", {}, "did you mean Tiny"),
        ("tiny_arch:Tiny", {"depth": 3}, r"'depth'.*--arch-args"),
        ("tiny_arch:number", {}, "gives a int"),
        ("tiny_arch:broken", {}, "RuntimeError: no such width"),
        ("tiny_arch:TINY", {}, "has no TINY"),
        ("json:decoder", {}, "takes no arguments"),
    ],
)
def test_an_architecture_that_cannot_be_built(
    net: nn.Module, tmp_path: Path, arch: str, arch_args: dict[str, Any], message: str
) -> None:
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    with pytest.raises(UsageError, match=message):
        load(tmp_path / "weights.pt", arch=arch, arch_args=arch_args)


@pytest.mark.parametrize(
    "text", ["import sys\nsys.exit(0)\n", "import sys\ndef Net():\n    sys.exit(0)\n"]
)
def test_code_that_ends_the_program_does_not_end_ours(
    net: nn.Module, tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    (tmp_path / "ends_here.py").write_text(text)
    monkeypatch.delitem(sys.modules, "ends_here", raising=False)
    with pytest.raises(UsageError, match=r"ends the program \(exit 0\); .*__main__"):
        load(tmp_path / "weights.pt", arch="ends_here:Net")


def test_a_torchvision_of_another_torch_is_named(net: nn.Module, tmp_path: Path) -> None:
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    error = "operator torchvision::nms does not exist"
    (tmp_path / "needs_torchvision.py").write_text(f"raise RuntimeError({error!r})")
    with pytest.raises(UsageError, match=r"torchvision::nms .*built for another torch"):
        load(tmp_path / "weights.pt", arch="needs_torchvision:Net")


def test_the_current_folder_is_searched_last(
    net: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stray json.py beside the weights must not replace the standard library's."""
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    (tmp_path / "colorsys.py").write_text("raise SystemExit('imported the stray one')")
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    before = list(sys.path)
    with pytest.raises(UsageError, match="gives a tuple"):
        load(
            tmp_path / "weights.pt",
            arch="colorsys:rgb_to_hsv",
            arch_args={"r": 0, "g": 0, "b": 0},
        )
    assert sys.path == before


def test_channels_of_other_networks(tiny: type[nn.Module], tmp_path: Path) -> None:
    for channels, expected in ((1, 1), (4, 4), (12, None)):
        torch.save(tiny(channels=channels).state_dict(), tmp_path / "weights.pt")
        loaded = load(tmp_path / "weights.pt", arch_args={"channels": channels})
        assert input_channels(loaded) == expected


def test_a_whole_network_loads_when_trusted(net: nn.Module, tmp_path: Path) -> None:
    for content in (net, {"model": net, "epoch": 3}):
        torch.save(content, tmp_path / "model.pt")
        assert same(load(tmp_path / "model.pt", arch="", trust_pickle=True).module, net)
    torch.save({"model": net, "ema": net}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="several networks"):
        load(tmp_path / "model.pt", arch="", trust_pickle=True)


def test_a_trusted_network_whose_code_is_missing(
    net: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(net, tmp_path / "model.pt")
    monkeypatch.setitem(sys.modules, "tiny_arch", None)  # type: ignore[arg-type] # None: not to be found
    with pytest.raises(CheckpointError, match="code that is not here"):
        load(tmp_path / "model.pt", arch="", trust_pickle=True)
