"""Bundles to test with: real graphs built with onnx, run by real engines."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, version_converter

from edgecnn_runtime.bundle import manifest as m
from edgecnn_runtime.bundle.bundle import new_bundle, sha256_file, write_manifest
from edgecnn_runtime.parity import snr_db

ZERO = "0" * 64
RAW = m.Normalization(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), origin="graph")


def make_input(width: int, height: int, **fields: Any) -> m.Input:
    """An input of raw BGR pixels; the fields of manifest.Input override."""
    return m.Input(
        **{"width": width, "height": height, "color": "bgr", "normalization": RAW, **fields}
    )


def make_spec(
    decode: Any,
    shapes: dict[str, tuple[int | None, ...]],
    *,
    size: m.Input | None = None,
    task: str = "detect",
    labels: Sequence[str] = (),
    batch: tuple[int, ...] | None = None,
) -> m.ModelSpec:
    """What a model takes and gives, around a decoder."""
    return m.ModelSpec(
        task=task,  # type: ignore[arg-type]
        input=size or make_input(64, 48),
        outputs=tuple(
            m.Output(name=name, dtype="float32", shape=shape) for name, shape in shapes.items()
        ),
        decode=decode,
        labels=tuple(labels),
        batch=batch,
    )


def make_manifest(
    decode: Any, shapes: dict[str, tuple[int | None, ...]], **fields: Any
) -> m.Manifest:
    """A manifest around a decoder, with one artifact that need not exist."""
    entry = m.Artifact(file="model.fp32.onnx", precision="fp32", sha256=ZERO, bytes=0)
    golden = m.Golden(file="golden.npz", sha256=ZERO, bytes=0, count=1, pictures="synthetic")
    provenance = m.Provenance(
        source="model.pt", source_sha256=ZERO, created="2026-01-01", command="", versions={}
    )
    values: dict[str, Any] = {
        "schema": m.SCHEMA_VERSION,
        "name": "tiny",
        "artifacts": (entry,),
        "golden": golden,
        "provenance": provenance,
    }
    whole = {key: fields.pop(key) for key in set(fields) & set(m.Manifest.__struct_fields__)}
    return m.Manifest(model=make_spec(decode, shapes, **fields), **(values | whole))


def graph(
    nodes: Sequence[onnx.NodeProto],
    outputs: dict[str, tuple[int | str, ...]],
    weights: dict[str, np.ndarray],
    *,
    width: int,
    height: int,
    opset: int = 20,
) -> onnx.ModelProto:
    """A model with input ``pixels`` uint8[N,height,width,3]."""
    made = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", height, width, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in outputs.items()
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(model)
    return model


def tiny_classifier(width: int = 32, height: int = 24, classes: int = 4) -> onnx.ModelProto:
    """conv 3x3, ReLU, global average, linear; seeded weights; one output ``scores``."""
    rng = np.random.default_rng(7)
    weights = {
        "kernel": rng.normal(0, 0.02, (8, 3, 3, 3)).astype(np.float32),
        "shift": rng.normal(0, 1, 8).astype(np.float32),
        "linear": rng.normal(0, 1.5, (8, classes)).astype(np.float32),
        "axes": np.array([2, 3], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["image"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["image", "kernel", "shift"], ["features"], strides=[2, 2]),
        helper.make_node("Relu", ["features"], ["active"]),
        helper.make_node("ReduceMean", ["active", "axes"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "linear"], ["scores"]),
    ]
    return graph(nodes, {"scores": ("N", classes)}, weights, width=width, height=height)


def run_onnx(model: onnx.ModelProto, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """The reference: a plain session on its defaults."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"pixels": pixels}), strict=True))


def write_bundle(
    path: Path,
    models: dict[str, onnx.ModelProto],
    template: m.Manifest,
    pictures: np.ndarray,
    *,
    reference: dict[str, np.ndarray] | None = None,
) -> Path:
    """A real bundle: artifacts by file name, golden data from the first of them."""
    outputs = reference or run_onnx(next(iter(models.values())), pictures)
    with new_bundle(path, overwrite=False) as folder:
        arrays = {f"output.{name}": value for name, value in outputs.items()}
        np.savez(folder / "golden.npz", pixels=pictures, **arrays)
        entries = []
        for file, model in models.items():
            onnx.save(model, folder / file)
            found = run_onnx(model, pictures)
            run = m.Run(
                engine="onnxruntime/f32",
                version=onnxruntime.__version__,
                parity={},
                golden_snr_db={name: snr_db(outputs[name], found[name]) for name in outputs},
            )
            precision = "int8" if "int8" in file else "fp32"
            target = file.split("int8-")[1].removesuffix(".onnx") if "int8-" in file else "any"
            entries.append(
                m.Artifact(
                    file=file,
                    precision=precision,  # type: ignore[arg-type]
                    target=target,  # type: ignore[arg-type]
                    sha256=sha256_file(folder / file),
                    bytes=(folder / file).stat().st_size,
                    runs=(run,),
                )
            )
        golden = m.Golden(
            file="golden.npz",
            sha256=sha256_file(folder / "golden.npz"),
            bytes=(folder / "golden.npz").stat().st_size,
            count=len(pictures),
            pictures="given",
        )
        write_manifest(
            folder, msgspec.structs.replace(template, artifacts=tuple(entries), golden=golden)
        )
    return path


def yunet_model(path: Path, width: int, height: int) -> onnx.ModelProto:
    """YuNet with the camera's bytes in front, at a fixed size."""
    model = version_converter.convert_version(onnx.load(path), 20)
    graph_ = model.graph
    graph_.node.insert(0, helper.make_node("Transpose", ["floats"], ["input"], perm=[0, 3, 1, 2]))
    graph_.node.insert(0, helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT))
    del graph_.input[:], graph_.value_info[:]
    graph_.input.append(
        helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", height, width, 3])
    )
    model.ir_version = 10
    return model


def yunet_manifest(width: int, height: int, **fields: Any) -> m.Manifest:
    """The manifest of a YuNet bundle."""
    widths = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    names = [(role, stride) for stride in (8, 16, 32) for role in widths]
    decode = m.AnchorFree(variant="yunet", outputs={f"{r}_{s}": f"{r}_{s}" for r, s in names})
    shapes: dict[str, tuple[int | None, ...]] = {
        f"{role}_{stride}": (None, (width // stride) * (height // stride), widths[role])
        for role, stride in names
    }
    return make_manifest(
        msgspec.structs.replace(decode, **fields.pop("decode", {})),
        shapes,
        size=make_input(width, height, **fields.pop("input", {})),
        labels=("face",),
        name="yunet",
        **fields,
    )


@pytest.fixture
def pictures() -> np.ndarray:
    """Three 32x24 pictures that differ: noise at three brightnesses."""
    rng = np.random.default_rng(3)
    base = rng.integers(0, 80, (3, 24, 32, 3))
    return (base + np.array([0, 80, 160])[:, None, None, None]).astype(np.uint8)


@pytest.fixture
def bundle(tmp_path: Path, pictures: np.ndarray) -> Path:
    """A classifier of four classes at 32x24."""
    decode = m.Classify(output="scores")
    template = make_manifest(
        decode,
        {"scores": (None, 4)},
        size=make_input(32, 24),
        task="classify",
        labels=("a", "b", "c", "d"),
    )
    return write_bundle(
        tmp_path / "tiny.edge", {"model.fp32.onnx": tiny_classifier()}, template, pictures
    )


@pytest.fixture(scope="session")
def build() -> "Build":
    """The helpers above, for tests that build their own."""
    return Build()


class Build:
    """What a test can build with; see the functions of the same names."""

    input = staticmethod(make_input)
    manifest = staticmethod(make_manifest)
    spec = staticmethod(make_spec)
    graph = staticmethod(graph)
    classifier = staticmethod(tiny_classifier)
    run_onnx: Callable[..., dict[str, np.ndarray]] = staticmethod(run_onnx)
    bundle = staticmethod(write_bundle)
    yunet_model = staticmethod(yunet_model)
    yunet_manifest = staticmethod(yunet_manifest)


@pytest.fixture(scope="session")
def yunet(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real YuNet as a bundle at 640x352, stretched; two frames of the video are golden."""
    import cv2

    from edgecnn_runtime.preprocess import prepare

    template = yunet_manifest(640, 352)
    capture = cv2.VideoCapture(str(assets / "faces" / "video.mp4"))
    frames = [capture.read()[1] for _ in range(2)]
    capture.release()
    model = yunet_model(assets / "yunet" / "yunet_n_dynamic.onnx", 640, 352)
    folder = tmp_path_factory.mktemp("yunet")
    return write_bundle(
        folder / "yunet.edge",
        {"model.fp32.onnx": model},
        template,
        prepare(template.model.input, frames),
    )
