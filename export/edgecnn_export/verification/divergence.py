"""Where a wrong artifact goes wrong: the first layer whose values are nowhere in it.

Layers are not matched by name, because folding and fusing rename them. A layer is right when some
tensor of the artifact, of the same size, holds its values; the culprit is the first layer after
the last right one. So a convolution that took in its BatchNorm is no false alarm: the BatchNorm's
values are found.
"""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from edgecnn_export.verification.reference import reference_preprocess
from edgecnn_export.verification.verify import Check
from edgecnn_runtime.backends import Options, open_backend
from edgecnn_runtime.backends.ort_session import open_session
from edgecnn_runtime.bundle.manifest import Input
from edgecnn_runtime.errors import VerificationError
from edgecnn_runtime.types import Floats, Pixels

SAME_DB = 30.0
"""A layer's values are found where the error lies this far under them."""


@dataclass(frozen=True)
class FailureContext:
    """The stages between the model and what failed: the module (None for an ONNX file), its
    trace, and where the artifacts lie."""

    module: torch.nn.Module | None
    traced: onnx.ModelProto
    folder: Path


def describe_failure(
    checks: Sequence[Check], suspects: FailureContext, pixels: Pixels, spec: Input
) -> str:
    """What failed first, by how much, where it begins, and what to try.

    checks: at least one has failed. pixels: the verification pictures; the first one is traced.
    """
    check = next(check for check in checks if check.failed)
    backend = check.backend
    name = min(check.failed, key=lambda output: check.run.parity[output].cosine)
    measured = check.run.parity[name]
    file = check.artifact.file
    good = [o.backend for o in checks if o.artifact is check.artifact and not o.failed]
    lines = [
        f"{file} does not follow the model on {check.run.engine} {check.run.version}: output "
        f"{name!r} has a centered cosine of {measured.cosine:.6f} (gate {check.gate.cosine}), "
        f"{measured.snr_db:.1f} dB, a largest error of {measured.max_abs:.3g}; "
        f"{check.run.agreement:.0%} of the decoded results agree"
    ]
    found = artifact_layers(suspects.folder / file, backend, pixels)
    if good:
        theirs = artifact_layers(suspects.folder / file, good[0], pixels)
        expected = [LayerValues(layer, values) for layer, values in theirs.items()]
        lines.append(f"it does on {', '.join(good)}: the engine is at fault")
    elif suspects.module is not None:
        expected = torch_layers(suspects.module, reference_preprocess(pixels[:1], spec))
    else:
        expected = onnx_layers(suspects.traced, reference_preprocess(pixels[:1], spec))
    where = first_divergence(expected, found.values())
    if where:
        lines.append(f"first layer that diverges: {where.layer}, {where.snr_db:.1f} dB")
    advice = "--opset 18, and other versions of torch and onnx; then report this message"
    if good:
        advice = f"--backends {','.join(good)}, which leaves {backend} out"
    return "\n  ".join([*lines, f"try {advice}"])


def require_finite(
    outputs: Mapping[str, Floats], model: onnx.ModelProto, pixels: Pixels
) -> Mapping[str, Floats]:
    """The reference's outputs as they are, float32[N,…] by name, the batch first.

    model: with the pixels folded in. Raises VerificationError for NaN or infinity in them, naming
    the first layer that gives such values.
    """
    for name, values in outputs.items():
        broken = ~np.isfinite(values).reshape(len(values), -1).all(1)
        if broken.any():
            index = int(broken.argmax())
            bad = "NaN" if np.isnan(values).any() else "infinity"
            raise VerificationError(
                f"the model itself gives {bad} in output {name!r}, before anything was exported"
                f"{_first_broken(model, pixels[index : index + 1])}: look at its weights, and at "
                "the mean and std it is fed with"
            )
    return outputs


def _first_broken(model: onnx.ModelProto, picture: Pixels) -> str:
    layers = onnx_layers(model, picture)
    found = next((one.name for one in layers if not np.isfinite(one.values).all()), None)
    return f"; the first layer whose values are not finite is {found}" if found else ""


@dataclass(frozen=True)
class LayerValues:
    """A layer's name, as its author would look for it, and its values for one picture."""

    name: str
    values: NDArray[Any]


@dataclass(frozen=True)
class Divergence:
    """The first wrong layer, and how far under its values the nearest tensor's error lies."""

    layer: str
    snr_db: float


def first_divergence(
    expected: Sequence[LayerValues], found: Iterable[NDArray[Any]]
) -> Divergence | None:
    """The first layer, in the order of execution, from which on nothing is right.

    None where every layer's values are found.
    """
    by_size: dict[int, list[NDArray[np.float64]]] = {}
    for values in found:
        by_size.setdefault(values.size, []).append(values.reshape(-1).astype(np.float64))
    nearest = [
        max(
            (_snr(layer.values, other) for other in by_size.get(layer.values.size, ())),
            default=-99.0,
        )
        for layer in expected
    ]
    right = [index for index, snr in enumerate(nearest) if snr >= SAME_DB]
    last = right[-1] if right else -1
    wrong = [index for index in range(len(nearest)) if nearest[index] < SAME_DB]
    culprits = [index for index in wrong if index > last] or wrong
    return Divergence(expected[culprits[0]].name, nearest[culprits[0]]) if culprits else None


def torch_layers(module: torch.nn.Module, planes: Floats) -> list[LayerValues]:
    """What every innermost module gives for one picture, in the order of execution."""
    layers: list[LayerValues] = []
    hooks = []
    for name, part in module.named_modules():
        if next(part.children(), None) is None:

            def keep(part: torch.nn.Module, _: Any, out: Any, name: str = name) -> None:
                if isinstance(out, torch.Tensor) and out.is_floating_point():
                    layers.append(
                        LayerValues(f"{name} ({type(part).__name__})", out.numpy().copy())
                    )

            hooks.append(part.register_forward_hook(keep))
    try:
        with torch.inference_mode():
            module(torch.from_numpy(planes))
    finally:
        for hook in hooks:
            hook.remove()
    return layers


def onnx_layers(model: onnx.ModelProto, planes: NDArray[Any]) -> list[LayerValues]:
    """What every node of a float graph gives for one picture, in order, on ONNX Runtime.

    planes: as its input takes them.
    """
    session = open_session(with_all_outputs(model).SerializeToString(), optimize=False)
    names = [output.name for output in session.get_outputs()]
    makers = {
        output: f"{node.name or output} ({node.op_type})"
        for node in model.graph.node
        for output in node.output
    }
    values = session.run(names, {session.get_inputs()[0].name: planes})
    return [
        LayerValues(makers.get(name, f"{name} (input)"), array)
        for name, array in zip(names, values, strict=True)
    ]


def artifact_layers(path: Path, backend: str, pixels: Pixels) -> dict[str, NDArray[Any]]:
    """What every node of an artifact gives for one picture on an engine, by tensor name."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "layers.onnx"
        onnx.save_model(with_all_outputs(onnx.load_model(str(path))), str(file))
        with open_backend(backend, file, Options()) as opened:
            opened.pixels[:] = pixels[:1]
            return {name: np.array(values) for name, values in opened.run().items()}


def with_all_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph that gives out every float tensor in it."""
    copy = onnx.shape_inference.infer_shapes(model)
    have = {output.name for output in copy.graph.output}
    floats = [
        value
        for value in copy.graph.value_info
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and value.name not in have
    ]
    order = {output: at for at, node in enumerate(copy.graph.node) for output in node.output}
    outputs = sorted([*floats, *copy.graph.output], key=lambda value: order.get(value.name, -1))
    made = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in outputs]
    del copy.graph.output[:]
    copy.graph.output.extend(value for value in made if value.name in order)
    return copy


def _snr(expected: NDArray[Any], got: NDArray[np.float64]) -> float:
    truth = expected.reshape(-1).astype(np.float64)
    power = float(((truth - truth.mean()) ** 2).sum())
    error = float(((got - truth) ** 2).sum())
    if not np.isfinite(error):
        return -99.0
    return float(10 * np.log10((power + 1e-30) / (error + 1e-30)))
