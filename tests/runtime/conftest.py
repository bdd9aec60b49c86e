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
    task: Any = "detect",
    labels: Sequence[str] = (),
    batch: tuple[int, ...] | None = None,
) -> m.ModelSpec:
    """What a model takes and gives, around a decoder."""
    return m.ModelSpec(
        task=task,
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
            precision: Any = "int8" if "int8" in file else "fp32"
            target: Any = file.split("int8-")[1].removesuffix(".onnx") if "int8-" in file else "any"
            entries.append(
                m.Artifact(
                    file=file,
                    precision=precision,
                    target=target,
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


def blob_detector(width: int = 64, height: int = 48) -> onnx.ModelProto:
    """Finds what is bright in the left and in the right half, at most one object in each.

    Output ``found`` float32[N,2,6]: x1, y1, x2, y2, score, class; a half without one has score 0.
    The score is the share of full brightness of its brightest value.
    """
    half = width // 2
    ys, xs = np.mgrid[0:height, 0:half].astype(np.float32)
    constants: dict[str, np.ndarray] = {
        "axes": np.array([1], np.int64),
        "flat": np.array([0, -1], np.int64),
        "far": np.array(1e6, np.float32),
        "near": np.array(-1.0, np.float32),
        "one": np.array(1.0, np.float32),
        "full": np.array(255.0, np.float32),
        "bright": np.array(127.0, np.float32),
        "channels": np.array([3], np.int64),
        "xs": xs.reshape(1, -1),
        "ys": ys.reshape(1, -1),
        "column": np.array([2], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["floats", "channels"], ["gray"], keepdims=0),
    ]
    for side, start in (("l", 0), ("r", half)):
        constants |= {
            f"{side}_from": np.array([start], np.int64),
            f"{side}_to": np.array([start + half], np.int64),
            f"{side}_shift": np.array(float(start), np.float32),
        }

        def node(kind: str, inputs: str, output: str, side: str = side, **fields: Any) -> None:
            names = [name.replace("@", side) for name in inputs.split()]
            nodes.append(helper.make_node(kind, names, [output.replace("@", side)], **fields))

        node("Slice", "gray @_from @_to column", "@_part")
        node("Reshape", "@_part flat", "@_flat")
        node("Greater", "@_flat bright", "@_mask")
        for axis in "xy":
            node("Where", f"@_mask {axis}s far", f"@_{axis}_or_far")
            node("Where", f"@_mask {axis}s near", f"@_{axis}_or_near")
            node("ReduceMin", f"@_{axis}_or_far axes", f"@_{axis}_low", keepdims=1)
            node("ReduceMax", f"@_{axis}_or_near axes", f"@_{axis}_high", keepdims=1)
            node("Add", f"@_{axis}_high one", f"@_{axis}_end")
        node("Add", "@_x_low @_shift", "@_x1")
        node("Add", "@_x_end @_shift", "@_x2")
        node("ReduceMax", "@_flat axes", "@_peak", keepdims=1)
        node("Div", "@_peak full", "@_share")
        node("Cast", "@_mask", "@_bits", to=TensorProto.FLOAT)
        node("ReduceMax", "@_bits axes", "@_any", keepdims=1)
        node("Mul", "@_share @_any", "@_score")
        node("Mul", "@_any near", "@_minus")
        node("Add", "@_minus @_any", "@_class")
        node("Concat", "@_x1 @_y_low @_x2 @_y_end @_score @_class", "@_row", axis=1)
        node("Unsqueeze", "@_row axes", "@_box")
    nodes.append(helper.make_node("Concat", ["l_box", "r_box"], ["found"], axis=1))
    return graph(nodes, {"found": ("N", 2, 6)}, constants, width=width, height=height)


def color_model(outputs: tuple[int | str, ...], size: int = 16) -> onnx.ModelProto:
    """How blue, green and red it is, as ``scores`` float32[N,3]; or [N,1,4], after a blank."""
    with_blank = len(outputs) == 3
    weights = {
        "axes": np.array([1, 2], np.int64),
        "matrix": np.eye(3, 4, 1, dtype=np.float32)[:, 0 if with_blank else 1 :] / 10,
        "bias": np.array([5, 0, 0, 0], np.float32)[0 if with_blank else 1 :],
    }
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node(
            "Gemm", ["means", "matrix", "bias"], ["logits" if with_blank else "scores"]
        ),
    ]
    if with_blank:
        weights["middle"] = np.array([1], np.int64)
        nodes.append(helper.make_node("Unsqueeze", ["logits", "middle"], ["scores"]))
    return graph(nodes, {"scores": outputs}, weights, width=size, height=size)


def write_colors(folder: Path) -> dict[str, Path]:
    """Bundles that know bright things: ``blobs`` finds them, the others tell blue, green and red.

    ``colors`` classifies, ``letters`` reads "B", "G" or "R", ``vectors`` embeds.
    """
    rng = np.random.default_rng(2)
    scene = np.zeros((2, 48, 64, 3), np.uint8)
    scene[0, 10:20, 5:15] = 200
    scene[1, 20:40, 40:60] = (0, 0, 255)
    made: dict[str, Any] = {
        "blobs": (
            blob_detector(),
            make_manifest(
                m.Yolo(output="found", layout="nms", classes=1, score=0.5),
                {"found": (None, 2, 6)},
                size=make_input(64, 48),
                labels=("thing",),
            ),
            scene,
        )
    }
    chips = rng.integers(0, 255, (3, 16, 16, 3), np.uint8)
    for name, task, decode, shape in (
        ("colors", "classify", m.Classify(output="scores"), (None, 3)),
        ("letters", "ocr", m.Ctc(output="scores", charset=("B", "G", "R")), (None, 1, 4)),
        ("vectors", "embed", m.Embed(output="scores"), (None, 3)),
    ):
        template = make_manifest(
            decode, {"scores": shape}, size=make_input(16, 16), task=task,
            labels=("blue", "green", "red") if task == "classify" else (),
        )  # fmt: skip
        made[name] = color_model(("N", *shape[1:])), template, chips
    return {
        name: write_bundle(folder / f"{name}.edge", {"model.fp32.onnx": model}, template, pictures)
        for name, (model, template, pictures) in made.items()
    }


@pytest.fixture(scope="session")
def color_bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """See ``write_colors``."""
    return write_colors(tmp_path_factory.mktemp("colors"))


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
