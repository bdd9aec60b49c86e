"""Tracing gives the graph of the module: same numbers, any batch, names a person can read."""

import dataclasses
import io
import sys
import threading
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgecnn_export.loading.loaded import LoadedModel
from edgecnn_export.loading.size import Size
from edgecnn_export.tracing.silence import silence
from edgecnn_export.tracing.trace import trace
from edgecnn_runtime.errors import UnsupportedModelError

SIZE = 16


def loaded(module: nn.Module | None = None, **more: Any) -> LoadedModel:
    if module is not None:
        module.eval()
        for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
            nn.init.uniform_(norm.running_mean, -0.5, 0.5)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)
    return LoadedModel(
        path=Path("model.pt"), sha256="0" * 64, kind="weights", module=module, **more
    )


def traced(model: LoadedModel, *, channels: int = 3, opset: int = 20, size: int = SIZE):
    return trace(model, Size(size, size, channels), opset)


def run(model: onnx.ModelProto, planes: np.ndarray) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": planes}), strict=True))


def planes(batch: int, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(batch)
    return rng.standard_normal((batch, channels, SIZE, SIZE)).astype(np.float32)


def shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


class Lambda(nn.Module):
    """A convolution and a function of it and the picture."""

    def __init__(self, function: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.conv(x), x)


Pair = namedtuple("Pair", "boxes scores")


@dataclasses.dataclass
class Answer:
    scores: Tensor
    aux: Tensor | None = None


OUTPUTS = {
    "tensor": (lambda y, x: y, ["output"]),
    "tuple": (lambda y, x: (y, y.mean((2, 3))), ["output0", "output1"]),
    "list of one": (lambda y, x: [y], ["output0"]),
    "dict": (lambda y, x: {"boxes": y, "scores": y.mean((2, 3))}, ["boxes", "scores"]),
    "nested": (lambda y, x: {"a": y, "b": [y + 1, (y * 2,)]}, ["a", "b.0", "b.1.0"]),
    "named tuple": (lambda y, x: Pair(y, y.sum(1)), ["boxes", "scores"]),
    "dataclass": (lambda y, x: Answer(y.mean((2, 3))), ["scores"]),
    "None inside": (lambda y, x: (y, None), ["output0"]),
    "odd keys": (
        lambda y, x: {"a/b": y, "a:b": y + 1, "input": y * 2},
        ["a_b", "a_b_1", "input_1"],
    ),
    "the same twice": (lambda y, x: (y, y), ["output0", "output1"]),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_have_sensible_names(name: str) -> None:
    function, names = OUTPUTS[name]
    module = Lambda(function)
    model = traced(loaded(module))
    assert [output.name for output in model.graph.output] == names
    assert all(shape(output)[0] == "batch" for output in model.graph.output)
    with torch.no_grad():
        conv = module.conv(torch.from_numpy(planes(2)))
    outputs = run(model, planes(2))
    first = outputs[names[0]]
    expected = conv if first.ndim == 4 else conv.mean((2, 3))
    np.testing.assert_allclose(first, expected.numpy(), atol=1e-5)


def test_no_tensor_at_all_is_said() -> None:
    with pytest.raises(UnsupportedModelError, match="returns a dict without tensors"):
        traced(loaded(Lambda(lambda y, x: {"loss": 1.0})))


def reads_after_writing(y: Tensor, x: Tensor) -> Tensor:
    z = y * 2
    w = z.relu_()
    return w + z


def writes_into_a_view(y: Tensor, x: Tensor) -> Tensor:
    z = y * 2
    z[:, :1].add_(5)
    return z


def writes_after_reading(y: Tensor, x: Tensor) -> Tensor:
    z = y * 2
    w = z + 1
    z.mul_(3)
    return w + z


def writes_under_a_view(y: Tensor, x: Tensor) -> Tensor:
    z = y * 2
    row = z[:, :, 0]
    z.add_(1)
    return z + row[:, :, None]


def writes_into_the_only_view(y: Tensor, x: Tensor) -> Tensor:
    z = torch.cat([y, y * 2], 1)[:, 1:4]
    z += x
    return z


def writes_its_own_output(y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    z = y + 1
    return z, F.relu_(z)


IN_PLACE = {
    "activation": lambda y, x: F.relu(y, inplace=True),
    "residual": lambda y, x: y.add_(x),
    "chain": lambda y, x: F.hardswish(F.silu(y, inplace=True), inplace=True),
    "clamped": lambda y, x: F.relu6(y, inplace=True).mul_(2).sub_(x),
    "read after writing": reads_after_writing,
    "written after reading": writes_after_reading,
    "written through a view": writes_into_a_view,
    "written under a view": writes_under_a_view,
    "written into the only view": writes_into_the_only_view,
    "returned and written": writes_its_own_output,
    "pooled": lambda y, x: F.adaptive_avg_pool2d(y, 1).flatten(1),
    "pooled to two": lambda y, x: F.adaptive_avg_pool2d(y, (2, 2)),
    "normalized at the end": lambda y, x: F.batch_norm(y, torch.zeros(3), torch.ones(3) * 2),
    "without an ONNX form of its own": lambda y, x: y.reshape_as(x).to(torch.float64).float(),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_the_second_trace_is_not_missed(name: str) -> None:
    module = Lambda(IN_PLACE[name])
    model = traced(loaded(module))
    for batch in (1, 3):
        with torch.no_grad():
            expected = module(torch.from_numpy(planes(batch)))
        expected = list(expected) if isinstance(expected, tuple) else [expected]
        for output, reference in zip(run(model, planes(batch)).values(), expected, strict=True):
            np.testing.assert_allclose(output, reference.numpy(), atol=1e-5)


def test_a_module_that_takes_one_picture_keeps_a_batch_of_one() -> None:
    model = traced(loaded(Lambda(lambda y, x: y.view(1, -1))))
    assert shape(model.graph.input[0]) == [1, 3, SIZE, SIZE]
    assert run(model, planes(1))["output"].shape == (1, 3 * SIZE * SIZE)


@pytest.mark.parametrize("opset", [18, 19, 20])
def test_versions_are_what_devices_read(opset: int) -> None:
    model = traced(loaded(Lambda(lambda y, x: F.hardswish(y))), opset=opset)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    assert model.ir_version == 10
    assert {node.domain for node in model.graph.node} == {""}
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    onnx.checker.check_model(model, full_check=True)


def test_nodes_bear_the_names_of_modules_and_no_path_of_this_machine() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1))
    model = traced(loaded(module))
    assert [node.name for node in model.graph.node] == ["0/Conv", "1/Relu", "2/Conv"]
    assert __file__.encode() not in model.SerializeToString()


class Small(nn.Module):
    """Something TorchScript and torch.export both take."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.relu(self.norm(self.conv(x)))
        return y.mean((2, 3)), y.flatten(2).permute(2, 0, 1)


@pytest.mark.parametrize("way", ["script", "trace"])
def test_torchscript(way: str) -> None:
    module = loaded(Small()).module
    assert module is not None
    sample = torch.from_numpy(planes(2))
    script = torch.jit.script(module) if way == "script" else torch.jit.trace(module, sample)
    model = traced(loaded(script))
    assert shape(model.graph.input[0]) == ["batch", 3, SIZE, SIZE]
    assert [shape(output) for output in model.graph.output] == [["batch", 4], [196, "batch", 4]]
    assert model.ir_version == 10
    with torch.no_grad():
        expected = module(torch.from_numpy(planes(3)))
    for output, reference in zip(run(model, planes(3)).values(), expected, strict=True):
        np.testing.assert_allclose(output, reference.numpy(), atol=1e-5)


class Choosing(nn.Module):
    """A branch that gives back what was computed before it; ONNX has to compute it in there."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x).mean((2, 3))
        if bool(x.sum() > 0):
            return y
        return -y


def test_the_advice_to_script_a_network_with_a_branch_works() -> None:
    module = Choosing().eval()
    with pytest.raises(UnsupportedModelError, match=r"torch\.jit\.script\(model\)"):
        traced(loaded(module))
    model = traced(loaded(torch.jit.script(module)))
    onnx.checker.check_model(model, full_check=True)
    for images in (planes(1) + 1, planes(1) - 1):
        with torch.no_grad():
            expected = module(torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(next(iter(run(model, images).values())), expected, atol=1e-5)


class GivesDict(nn.Module):
    """Named outputs, one of them in a list, after a branch."""

    def __init__(self) -> None:
        super().__init__()
        self.choosing = Choosing()

    def forward(self, x: Tensor) -> tuple[dict[str, Tensor], list[Tensor]]:
        y = self.choosing(x)
        return {"scores": y, "double": 2 * y}, [y + 1]


def test_torchscript_may_give_a_dict() -> None:
    module = GivesDict().eval()
    model = traced(loaded(torch.jit.script(module)))
    names = [output.name for output in model.graph.output]
    assert names == ["output0.scores", "output0.double", "output1.0"]
    for images in (planes(1) + 1, planes(1) - 1):
        with torch.no_grad():
            named, (last,) = module(torch.from_numpy(images))
        for name, expected in zip(names, (*named.values(), last), strict=True):
            np.testing.assert_allclose(run(model, images)[name], expected.numpy(), atol=1e-5)


class GivesList(GivesDict):
    """A list, and an argument with a default value."""

    def forward(self, x: Tensor, factor: float = 2.0) -> list[Tensor]:
        y = self.choosing(x)
        return [y, y * factor]


def test_torchscript_may_give_a_list_and_have_arguments_with_defaults() -> None:
    module = GivesList().eval()
    model = traced(loaded(torch.jit.script(module)))
    with torch.no_grad():
        expected = module(torch.from_numpy(planes(1)))
    for output, values in zip(run(model, planes(1)).values(), expected, strict=True):
        np.testing.assert_allclose(output, values.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("free", "batch"), [(True, "batch"), (False, 2)], ids=["any batch", "two at a time"]
)
def test_exported_programs_keep_their_batch(free: bool, batch: int | str) -> None:
    module = loaded(Small()).module
    assert module is not None
    shapes = ({0: torch.export.Dim("n")},) if free else None
    program = torch.export.export(module, (torch.zeros(2, 3, SIZE, SIZE),), dynamic_shapes=shapes)
    pt2 = dataclasses.replace(loaded(), kind="pt2", module=program.module(), program=program)
    model = traced(pt2)
    assert shape(model.graph.input[0]) == [batch, 3, SIZE, SIZE]
    assert [shape(output) for output in model.graph.output] == [[batch, 4], [196, batch, 4]]
    with torch.no_grad():
        expected = module(torch.from_numpy(planes(2)))
    for output, reference in zip(run(model, planes(2)).values(), expected, strict=True):
        np.testing.assert_allclose(output, reference.numpy(), atol=1e-5)


class Spectral(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.svdvals(x)  # the line that has to be named


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:  # the line that has to be named
            return x + 1
        return x


def line_of(kind: type[nn.Module]) -> str:
    lines = Path(__file__).read_text().splitlines()
    start = lines.index(f"class {kind.__name__}(nn.Module):")
    return str(1 + next(i for i in range(start, len(lines)) if "has to be named" in lines[i]))


def test_an_operator_without_an_onnx_form_is_named_with_its_module_and_line(capfd) -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ModuleDict({"inner": Spectral()})["inner"])
    with pytest.raises(UnsupportedModelError) as caught:
        traced(loaded(module))
    message = str(caught.value)
    assert "svd" in message
    assert "in 1 (Spectral)" in message
    assert f"test_trace.py:{line_of(Spectral)}: return torch.linalg.svdvals(x)" in message
    assert capfd.readouterr() == ("", "")


def test_python_that_cannot_be_traced_is_named_with_its_module_and_line(capfd) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        traced(loaded(nn.Sequential(nn.Conv2d(3, 3, 1), Branching())))
    message = str(caught.value)
    assert "in 1 (Branching)" in message
    assert f"test_trace.py:{line_of(Branching)}: if x.sum() > 0:" in message
    assert "torch.where" in message
    assert capfd.readouterr() == ("", "")


def test_a_size_the_model_cannot_take_says_which_it_can() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AvgPool2d(20))
    with pytest.raises(
        UnsupportedModelError, match=r"cannot take .* of 16x16(.|\n)*--input 224x224"
    ):
        traced(loaded(module))


@pytest.mark.parametrize(("channels", "flag"), [(1, "--color gray"), (3, "--color rgb")])
def test_wrong_channel_count_says_which_flag(channels: int, flag: str) -> None:
    with pytest.raises(UnsupportedModelError, match=flag):
        traced(loaded(nn.Conv2d(channels, 4, 3)), channels=4 - channels)


class Gpu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.zeros(1, device="cuda:0")


class Mistaken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return self.missing(x)  # the line that has to be named


class ChannelsLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.permute(0, 3, 1, 2))


class Oblong(nn.Module):
    """A size that no guess finds."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 48 * 71, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))


NOT_TAKEN = {
    "a GPU": (Gpu, "GPU.*export runs on the CPU"),
    "a mistake": (Mistaken, f"'missing'(.|\n)*:{line_of(Mistaken)}: (.|\n)*whatever the size"),
    "channels last": (ChannelsLast, r"takes N,H,W,C(.|\n)*x\.permute\(0, 2, 3, 1\)"),
    "another size": (Oblong, "none of the usual sizes either: if it was trained with another one"),
}


@pytest.mark.parametrize("name", NOT_TAKEN)
@pytest.mark.parametrize("scripted", [False, True])
def test_why_a_network_does_not_take_the_picture(name: str, scripted: bool) -> None:
    kind, message = NOT_TAKEN[name]
    if scripted and kind in {Mistaken, Gpu}:
        pytest.skip("TorchScript does not compile it")
    module = torch.jit.script(kind()) if scripted else kind()
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        traced(loaded(module))
    assert "edgecnn_export" not in str(caught.value)
    assert "TorchScript interpreter" not in str(caught.value)


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.3 * torch.randn_like(x)  # the line that has to be named


class AlwaysDropping(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x).mean((2, 3))  # the line that has to be named


@pytest.mark.parametrize("kind", [Noisy, AlwaysDropping])
def test_random_numbers_are_named_with_their_line(kind: type[nn.Module]) -> None:
    with pytest.raises(UnsupportedModelError, match="from run to run") as caught:
        traced(loaded(nn.Sequential(nn.Conv2d(3, 3, 1), kind())))
    assert f"test_trace.py:{line_of(kind)}: " in str(caught.value)


@pytest.mark.parametrize("kind", [Noisy, AlwaysDropping])
def test_random_numbers_in_files_are_named(kind: type[nn.Module]) -> None:
    module = kind().eval()
    sample = torch.zeros(2, 3, SIZE, SIZE)
    program = torch.export.export(module, (sample,))
    pt2 = dataclasses.replace(loaded(), kind="pt2", module=program.module(), program=program)
    for model in (loaded(torch.jit.trace(module, sample, check_trace=False)), pt2):
        with pytest.raises(UnsupportedModelError, match=r"from run to run.*\(aten::"):
            traced(model)


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return x + self.count


def test_a_network_that_remembers_is_not_called_random() -> None:
    with pytest.raises(UnsupportedModelError, match="remembers something of the picture before"):
        traced(loaded(Counting()))


class Retraining(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm.train()(x)


def test_a_forward_that_switches_to_training_mode_is_named() -> None:
    with pytest.raises(UnsupportedModelError, match=r"switches norm \(BatchNorm2d\) to training"):
        traced(loaded(Retraining()))


class BatchStatistics(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, training=True)


def test_a_network_that_mixes_its_batch_is_exported_for_one_picture() -> None:
    module = BatchStatistics().eval()
    model = traced(loaded(module))
    assert shape(model.graph.input[0]) == [1, 3, SIZE, SIZE]
    expected = module(torch.from_numpy(planes(1))).numpy()
    np.testing.assert_allclose(run(model, planes(1))["output"], expected, atol=1e-5)


def test_a_loss_among_the_outputs_is_named() -> None:
    module = Lambda(lambda y, x: {"scores": y, "loss": y.mean()})
    with pytest.raises(UnsupportedModelError, match=r"gives loss\[\]: no axis has a row"):
        traced(loaded(module))


def test_a_program_of_another_size_says_its_own() -> None:
    program = torch.export.export(nn.Conv2d(3, 4, 3), (torch.zeros(1, 3, SIZE, 24),))
    pt2 = dataclasses.replace(loaded(), kind="pt2", module=program.module(), program=program)
    with pytest.raises(UnsupportedModelError, match=f"--input 24x{SIZE}"):
        traced(pt2)


def test_quiet_lets_other_threads_print(capsys) -> None:
    with silence():
        print("mine")
        other = threading.Thread(target=lambda: sys.stderr.write("theirs"))
        other.start()
        other.join()
    print("after")
    assert capsys.readouterr() == ("after\n", "theirs")


def test_quiet_lets_errors_pass() -> None:
    with pytest.raises(io.UnsupportedOperation), silence():
        raise io.UnsupportedOperation
