"""The gate of INT8 by each task's own metric, where labeled pictures are given."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecnn_export.quantization.accuracy_gate import make_gate, model_file, results_on
from edgecnn_runtime.bundle.manifest import Decode, ModelSpec, Obb, Output, Pose, Semantic, Yolo
from edgecnn_runtime.evaluation.dataset import LabeledImage, LabeledSet, SourceLocation
from edgecnn_runtime.geometry import corners_of
from edgecnn_runtime.tasks import task_of
from edgecnn_runtime.types import ClassMap, Detection, PoseDetection, RotatedDetection

PICTURES = 12
SIDE, CELL = 24, 8
CELLS = SIDE // CELL
Lines = Callable[[Any], list[list[float]]]


def fractions(*values: float) -> list[float]:
    return [value / SIDE for value in values]


def box_line(found: Detection | PoseDetection) -> list[float]:
    x1, y1, x2, y2 = found.box
    return fractions((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)


def pose_line(found: PoseDetection) -> list[float]:
    points = [[*fractions(x, y), 2] for x, y, _ in found.keypoints]
    return [*box_line(found), *np.ravel(points).tolist()]


def rotated_line(found: RotatedDetection) -> list[float]:
    return fractions(*np.ravel(corners_of(found.rotated_box)).tolist())


HEADS: dict[str, tuple[Decode, str, int, Callable[[Any], list[float]] | None]] = {
    "detect": (Yolo(output="y", layout="v8", classes=2, values="logits"), "mAP50", 6, box_line),
    "pose": (
        Pose(output="y", layout="v8", classes=2, points=2, values="logits"),
        "OKS-mAP50-95",
        12,
        pose_line,
    ),
    "obb": (
        Obb(output="y", layout="v8", classes=2, values="logits"),
        "rotated mAP50",
        7,
        rotated_line,
    ),
    "segment": (Semantic(output="y"), "mIoU", 3, None),
}


def spec_of(name: str, classifier: ModelSpec) -> ModelSpec:
    decode, _, channels, line = HEADS[name]
    shape = (None, channels, CELLS**2) if line else (None, channels, CELLS, CELLS)
    return msgspec.structs.replace(
        classifier,
        task=name,
        decode=decode,
        outputs=(Output(name="y", dtype="float32", shape=shape),),
        labels=("car", "bus", "sky")[: 2 if line else 3],
    )


def graph_of(name: str, noise: float = 0.0) -> onnx.ModelProto:
    """One convolution: a row of the table, or the classes, for every eight pixels."""
    _, _, channels, line = HEADS[name]
    random = np.random.default_rng(3)
    kernel = random.normal(0, 0.002, (channels, 3, CELL, CELL))
    bias = (
        np.array(([12, 12, 14, 10, 2, -2] + [0.0] * channels)[:channels])
        if line
        else np.zeros(channels)
    )
    if name == "pose":
        bias[6:] = [9, 9, 1, 15, 15, 1]
    kernel += np.random.default_rng(4).normal(0, noise, kernel.shape)
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel", "bias"], ["map"], strides=[CELL, CELL]),
        helper.make_node("Reshape", ["map", "shape"], ["y"]),
    ]
    shape = [0, channels, CELLS**2] if line else [0, channels, CELLS, CELLS]
    graph = helper.make_graph(
        nodes,
        "head",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", *shape[1:]])],
        [
            numpy_helper.from_array(kernel.astype(np.float32), "kernel"),
            numpy_helper.from_array(bias.astype(np.float32), "bias"),
            numpy_helper.from_array(np.array(shape, np.int64), "shape"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("name", HEADS)
def test_a_graph_is_held_to_the_metric_of_its_task(
    name: str, classifier: ModelSpec, tmp_path: Path
) -> None:
    """Labels are what the float graph finds, so that it has all of them right."""
    spec, (_, metric, _, line) = spec_of(name, classifier), HEADS[name]
    pictures = np.random.default_rng(5).integers(0, 256, (PICTURES, SIDE, SIDE, 3), np.uint8)
    files = [tmp_path / f"{number}.png" for number in range(PICTURES)]
    for file, picture in zip(files, pictures, strict=True):
        cv2.imwrite(str(file), picture)
    unlabeled = LabeledSet(SourceLocation(tmp_path), tuple(map(LabeledImage, files)))
    with model_file(graph_of(name)) as path:
        for file, result in zip(
            files, results_on(spec, path, "onnxruntime", unlabeled, 1), strict=True
        ):
            if isinstance(result, ClassMap):
                cv2.imwrite(str(file.with_name(f"{file.stem}_mask.png")), result.classes)
            elif line:
                lines = [" ".join(map(str, (found.index, *line(found)))) for found in result]
                file.with_suffix(".txt").write_text("\n".join(lines))
    labeled = task_of(spec).read_labels(SourceLocation(tmp_path), spec)
    gate = make_gate(spec, graph_of(name), pictures, ["onnxruntime"], evaluation=labeled)
    assert gate.reference is not None
    assert (gate.reference.metric, gate.reference.value) == (metric, 1.0)
    same, other = (gate.measure(graph_of(name, noise)) for noise in (0.0, 0.01))
    assert gate.verdict(same).passed
    verdict = gate.verdict(other)
    assert not verdict.passed
    assert f"{metric} " in verdict.text
    assert "instead of 100.00 %" in verdict.text
    quality = gate.quality(other)
    assert quality is not None
    assert (quality.metric, quality.samples, quality.reference) == (metric, PICTURES, 1.0)
