"""Weights in files of all kinds: where they are, under which names, and what is no weight."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import safetensors.torch
import torch
import torch.ao.quantization as ao
from onnx import TensorProto, helper
from torch import nn

from edgecnn_export.config import ExportConfig
from edgecnn_export.loading.load import load_model
from edgecnn_export.loading.loaded import LoadedModel
from edgecnn_export.planning.settings import read_settings
from edgecnn_runtime.errors import CheckpointError, UnsupportedModelError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore")
PICTURE = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
State = dict[str, Any]


@pytest.fixture
def net(tiny: type[nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    return tiny().eval()


@pytest.fixture
def state(net: nn.Module) -> State:
    return dict(net.state_dict())


@pytest.fixture
def averaged(state: State) -> State:
    """Weights that differ from ``state``."""
    return {
        name: value + 1 if value.is_floating_point() else value for name, value in state.items()
    }


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., LoadedModel]:
    """Saves content and loads it: ``load(content, weights_key="ema")``."""

    def save_and_load(content: object, **options: Any) -> LoadedModel:
        path = tmp_path / "weights.pt"
        torch.save(content, path)
        return load_model(
            ExportConfig(model=str(path), arch="tiny_arch:Tiny")
            if not options
            else ExportConfig(**{"model": str(path), "arch": "tiny_arch:Tiny", **options})
        )

    return save_and_load


def under(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


def has(loaded: LoadedModel, state: State) -> bool:
    assert loaded.module is not None
    own = loaded.module.state_dict()
    return all(torch.equal(own[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    "form",
    [
        lambda s: {"model": {"backbone": {"weights": s}}},
        lambda s: {"ema": {"module": s}, "updates": 3},
        lambda s: {"state_dict": {**under("model.", s), "criterion.weight": torch.ones(4)}},
        lambda s: {**under("module.", s), "n_averaged": torch.tensor(7)},
        lambda s: {**s, "total_ops": torch.zeros(1), "conv.total_params": torch.zeros(1)},
        lambda s: {**s, "epoch": 3, "names": ["cat", "dog"]},
        lambda s: under("student.net.", s),
        # what torch.compile and DataParallel put around parts of a network
        lambda s: {n.replace("conv.", "conv._orig_mod."): v for n, v in s.items()},
        lambda s: {n.replace("head.", "module.head."): v for n, v in s.items()},
        lambda s: {("model." if i % 2 else "") + n: s[n] for i, n in enumerate(s)},
        lambda s: {
            "model": s,
            "optimizer": {"state": {0: {"exp_avg": s["conv.weight"], "step": torch.ones(1)}}},
            "optimizer_state": {"conv.weight": s["conv.weight"]},
            "scaler": {"scale": torch.ones(1)},
        },
    ],
)
def test_weights_are_found_wherever_they_are(
    load: Callable[..., LoadedModel], state: State, form: Callable[[State], object]
) -> None:
    assert has(load(form(state)), state)


@pytest.mark.parametrize(
    ("form", "keys"),
    [
        (lambda a, b: {"state_dict": a, "state_dict_ema": b}, ("state_dict", "state_dict_ema")),
        (lambda a, b: {"model": a, "ema": {"module": b}}, ("model", "ema.module")),
        (lambda a, b: {"model": a, "ema": {"module": b}}, ("model", "ema")),
        (
            lambda a, b: {"state_dict": {**under("model.", a), **under("ema.module.", b)}},
            ("state_dict.model", "state_dict.ema.module"),
        ),
        (lambda a, b: {**a, **under("ema.", b)}, (".", "ema")),
        (
            lambda a, b: {"state_dict": a, "callbacks": {"EMA{'decay': 0.9}": {"weights": b}}},
            ("state_dict", "callbacks.EMA{'decay': 0.9}"),
        ),
    ],
)
def test_one_of_several_sets_is_named_by_a_flag(
    load: Callable[..., LoadedModel],
    state: State,
    averaged: State,
    form: Callable[[State, State], object],
    keys: tuple[str, str],
) -> None:
    content = form(state, averaged)
    with pytest.raises(CheckpointError) as caught:
        load(content)
    flags = [shlex.split(flag) for flag in str(caught.value).partition("with ")[2].split(" or ")]
    assert [flag for flag, _ in flags] == ["--weights-key"] * 2
    advised = [load(content, weights_key=key) for _, key in flags]
    assert [has(loaded, state) for loaded in advised] == [True, False]
    assert has(load(content, weights_key=keys[0]), state)
    assert has(load(content, weights_key=keys[1]), averaged)


def test_a_key_that_is_not_there_lists_those_that_are(
    load: Callable[..., LoadedModel], state: State
) -> None:
    with pytest.raises(UsageError, match=r"--weights-key ema: .* it has model"):
        load({"model": state}, weights_key="ema")


def test_one_of_several_pickled_networks_is_named(
    load: Callable[..., LoadedModel], net: nn.Module, tiny: type[nn.Module]
) -> None:
    content = {"model": tiny(), "ema": net}
    options = {"arch": "", "trust_pickle": True}
    with pytest.raises(CheckpointError, match="--weights-key model or --weights-key ema"):
        load(content, **options)
    assert has(load(content, weights_key="ema", **options), dict(net.state_dict()))


def test_the_key_stands_in_yaml_too(tmp_path: Path, state: State, averaged: State) -> None:
    torch.save({"model": state, "ema": averaged}, tmp_path / "run.ckpt")
    spec = tmp_path / "model.yaml"
    spec.write_text("model: run.ckpt\narch: tiny_arch:Tiny\nweights_key: ema\n")
    config = read_settings(ExportConfig(spec=str(spec))).config
    assert has(load_model(config), averaged)


def test_a_file_with_one_set_takes_no_key(exported: Path) -> None:
    with pytest.raises(UsageError, match="leave --weights-key out"):
        load_model(ExportConfig(model=str(exported), weights_key="ema"))


def test_tensors_without_a_place_are_a_warning(
    load: Callable[..., LoadedModel], state: State
) -> None:
    beside = load({**state, "criterion.weight": torch.ones(4)})
    assert beside.warnings == ("not part of the network and left out: criterion.weight",)
    (warning,) = load({**state, "head.2.weight": torch.ones(4)}).warnings
    assert "head.2.weight" in warning
    assert "all results are wrong" in warning
    assert load({**state, "n_averaged": torch.ones(1)}).warnings == ()


def test_averaged_parameters_without_statistics_are_mentioned(
    load: Callable[..., LoadedModel], state: State, averaged: State
) -> None:
    """They cannot be loaded alone, so the plain weights are taken, and that is said."""
    parameters = {name: value for name, value in averaged.items() if "running" not in name}
    loaded = load({"model": state, "ema": parameters})
    assert has(loaded, state)
    (warning,) = loaded.warnings
    assert warning.startswith("the weights are those of model in the file; ema has weights")
    with pytest.raises(CheckpointError, match=r"missing from the file:\n  norm.running_mean"):
        load({"model": state, "ema": parameters}, weights_key="ema")


def test_other_names_are_not_blamed_on_the_width(
    load: Callable[..., LoadedModel], state: State
) -> None:
    state["first.weight"] = state.pop("conv.weight")
    with pytest.raises(CheckpointError) as caught:
        load(state)
    assert "1 missing from the file:\n  conv.weight" in str(caught.value)
    assert "--arch-args" not in str(caught.value)


class Quantizable(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            ao.QuantStub(), nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(8, 4), ao.DeQuantStub(),
        )  # fmt: skip


@pytest.fixture(scope="module")
def quantized() -> nn.Module:
    """A network that torch.ao quantized."""
    network = Quantizable().eval()
    network.qconfig = ao.get_default_qconfig("x86")
    ao.prepare(network, inplace=True)
    network(PICTURE)
    return ao.convert(network, inplace=True)


@pytest.mark.parametrize(
    "form",
    ["state dict", "linear alone", "pickle", "TorchScript", "int8 tensors", "QDQ", "QLinear"],
)
def test_a_quantized_model_is_refused_as_such(
    quantized: nn.Module, tmp_path: Path, form: str
) -> None:
    path, arch = tmp_path / "model", "tiny_arch:Tiny"
    if form == "state dict":
        torch.save({"model": quantized.state_dict()}, path)
    elif form == "linear alone":
        torch.save(quantized[5].state_dict(), path)
    elif form == "pickle":
        torch.save(quantized, path)
    elif form == "TorchScript":
        arch = ""
        torch.jit.save(torch.jit.trace(quantized, PICTURE), path)
    elif form == "int8 tensors":
        weights = {"conv.weight": torch.ones(4, 3, 3, 3, dtype=torch.int8), "s": torch.ones(4)}
        safetensors.torch.save_file(weights, path)
    else:
        arch = ""
        onnx.save(quantized_graph(form), path)
    with pytest.raises(UnsupportedModelError, match=r"is quantized already .*float model.*--int8"):
        load_model(ExportConfig(model=str(path), arch=arch))


def quantized_graph(form: str) -> onnx.ModelProto:
    one = [helper.make_tensor("s", TensorProto.FLOAT, [], [0.1]),
           helper.make_tensor("z", TensorProto.UINT8, [], [0])]  # fmt: skip
    nodes = {
        "QDQ": [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ],
        "QLinear": [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("QLinearAdd", ["q", "s", "z", "q", "s", "z", "s", "z"], ["r"],
                             domain="com.microsoft"),
            helper.make_node("DequantizeLinear", ["r", "s", "z"], ["y"]),
        ],
    }[form]  # fmt: skip
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, 8, 8]) for n in "xy"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], one)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


NETWORK = """
from dataclasses import dataclass
import parts_beside_it
from torch import nn

@dataclass
class Width:
    value: int = 8

class Net(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.body, self.head = parts_beside_it.body(), nn.Linear(8, classes)
    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))
"""


def test_an_architecture_in_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "nets"
    folder.mkdir()
    (folder / "own-net.py").write_text(NETWORK)
    (folder / "parts_beside_it.py").write_text(
        "from torch import nn\ndef body():\n    return nn.Conv2d(3, 8, 3)\n"
    )
    body, head = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)
    state = {**under("body.", dict(body.state_dict())), **under("head.", dict(head.state_dict()))}
    torch.save(state, tmp_path / "w.pt")
    arch = f"{folder}/own-net.py:Net"
    config = ExportConfig(model=str(tmp_path / "w.pt"), arch=arch)
    assert has(load_model(config), state)
    spec = tmp_path / "model.yaml"
    spec.write_text("model: w.pt\narch: nets/own-net.py:Net\narch_args: {classes: 4}\n")
    assert has(load_model(read_settings(ExportConfig(spec=str(spec))).config), state)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("absent.py:Net", "there is no file absent.py"),
        ("net.py", r"add its function or class, net.py:Net"),
        ("net.py:Nett", "did you mean Net"),
        ("broken.py:Net", "no module named no_such_thing"),
        ("inside.py:Net", r"relative import .*--arch package\.module:factory"),
    ],
)
def test_a_file_that_builds_no_network(
    load: Callable[..., LoadedModel], state: State, arch: str, message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text("class Net:\n    pass\n")
    (tmp_path / "broken.py").write_text("import no_such_thing\n")
    (tmp_path / "inside.py").write_text("from .parts import Net\n")
    with pytest.raises(UsageError, match=message):
        load(state, arch=arch)
    assert not {"broken", "inside"} & set(sys.modules)
