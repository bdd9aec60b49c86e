"""Which head these outputs belong to, and the message where that cannot be known."""

from types import SimpleNamespace
from typing import Any

import pytest
from onnx import TensorProto, helper

from edgecnn_export.config import ExportConfig
from edgecnn_export.loading.size import Size, network_size
from edgecnn_export.planning.graph_info import GraphInfo, final_activations
from edgecnn_export.planning.resolve import Plan, check_early, resolve
from edgecnn_export.planning.settings import ExportSettings
from edgecnn_runtime.bundle.manifest import (
    AnchorFree,
    Classify,
    Ctc,
    Embed,
    Output,
    Part,
    Ssd,
    Yolo,
)
from edgecnn_runtime.errors import ConfigError, EdgecnnError, UsageError
from edgecnn_runtime.tasks import TASKS, fake

N = None
V8 = {"output0": (N, 84, 5040)}
YUNET = {
    f"{role}_{stride}": (N, 640 * 384 // stride**2, columns)
    for role, columns in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
    for stride in (8, 16, 32)
}
CENTERFACE = {"537": (N, 1, 96, 160), "538": (N, 2, 96, 160), "539": (N, 2, 96, 160),
              "540": (N, 10, 96, 160)}  # fmt: skip
RETINAFACE = {"loc": (N, 10080, 4), "conf": (N, 10080, 2), "landms": (N, 10080, 10)}


def plan(
    shapes: dict[str, tuple[Any, ...]], ends: dict[str, str] | None = None, **options: Any
) -> Plan:
    config = ExportConfig(**{"preset": "unit", "color": "rgb", **options})
    outputs = [Output(name=n, dtype="float32", shape=shape) for n, shape in shapes.items()]
    graph = GraphInfo(tuple(outputs), ends or {})
    return resolve(ExportSettings(config, "preset"), Size(640, 384, 3), graph)


def refusal(shapes: dict[str, tuple[Any, ...]], **options: Any) -> str:
    with pytest.raises(EdgecnnError) as caught:
        plan(shapes, **options)
    return str(caught.value)


def test_yolo_v8() -> None:
    result = plan(V8)
    assert (result.spec.task, result.spec.input.resize) == ("detect", "letterbox")
    assert result.spec.decode == Yolo(output="output0", layout="v8", classes=80)
    assert result.spec.labels[:2] == ("0", "1")


def test_yolo_v8_with_landmarks_score_and_iou() -> None:
    result = plan(
        {"o": (N, 4 + 1 + 8, 5040)}, score=0.5, iou=0.6, decode={"points": 4}, labels=("plate",)
    )
    assert result.spec.decode == Yolo(
        output="o", layout="v8", classes=1, points=4, score=0.5, iou=0.6
    )
    assert result.spec.labels == ("plate",)


@pytest.mark.parametrize("cells", [5040, 3 * 5040])
def test_yolo_v5(cells: int) -> None:
    assert plan({"o": (N, cells, 6)}).spec.decode == Yolo(output="o", layout="v5", classes=1)


def test_a_head_that_ends_in_nms() -> None:
    result = plan({"o": (N, 300, 6)}, labels=("a", "b"))
    assert result.spec.decode == Yolo(output="o", layout="nms", classes=2)
    assert "--labels FILE" in refusal({"o": (N, 300, 6)})


def test_yunet() -> None:
    result = plan(YUNET)
    assert isinstance(result.spec.decode, AnchorFree)
    assert (result.spec.decode.variant, result.spec.decode.strides) == ("yunet", (8, 16, 32))
    assert (result.spec.decode.points, result.spec.labels) == (5, ("face",))
    missing = {name: shape for name, shape in YUNET.items() if name != "bbox_16"}
    assert "a yunet head has" in refusal(missing)


def test_centerface() -> None:
    decode = plan(CENTERFACE).spec.decode
    assert isinstance(decode, AnchorFree)
    assert decode.outputs == {
        "heatmap": "537", "scale": "538", "offset": "539", "landmarks": "540"
    }  # fmt: skip
    assert (decode.strides, decode.points) == ((4,), 5)


def test_retinaface() -> None:
    decode = plan(RETINAFACE, {"conf": "Softmax"}).spec.decode
    assert isinstance(decode, Ssd)
    assert (decode.boxes, decode.scores, decode.landmarks) == ("loc", "conf", "landms")
    assert (decode.values, decode.points) == ("probabilities", 5)
    assert len(decode.strides) == len(decode.min_sizes) == 3


def test_ssd_needs_its_priors() -> None:
    shapes = {"scores": (N, 3840, 21), "boxes": (N, 3840, 4)}
    assert "needs its prior boxes" in refusal(shapes, head="ssd")
    result = plan(shapes, head="ssd", decode={"strides": [8], "min_sizes": [[16.0]]})
    assert len(result.spec.labels) == 20


@pytest.mark.parametrize(
    ("columns", "tail", "values", "multi_label", "labels"),
    [
        (10, "", "logits", False, 10),
        (10, "Softmax", "probabilities", False, 10),
        (10, "LogSoftmax", "log_probabilities", False, 10),
        (10, "Sigmoid", "probabilities", True, 10),
        (1, "Sigmoid", "probabilities", False, 2),
        (1, "", "logits", False, 2),
    ],
)
def test_classify_reads_what_ends_the_graph(
    columns: int, tail: str, values: str, multi_label: bool, labels: int
) -> None:
    result = plan({"y": (N, columns)}, {"y": tail})
    assert result.spec.decode == Classify(output="y", values=values, multi_label=multi_label)
    assert (result.spec.task, result.spec.input.resize, len(result.spec.labels)) == (
        "classify",
        "stretch",
        labels,
    )


def test_embed_is_only_taken_for_one_when_said() -> None:
    result = plan({"y": (N, 128)}, task="embed")
    assert (result.spec.decode, result.spec.labels) == (Embed(output="y"), ())


@pytest.mark.parametrize(
    ("shape", "layout"), [((N, 18, 4), "NTC"), ((N, 4, 18), "NCT"), ((18, N, 4), "TNC")]
)
def test_ctc_finds_its_axes_by_the_characters(shape: tuple[Any, ...], layout: str) -> None:
    result = plan({"y": shape}, task="ocr", labels=("A", "B", "C"))
    assert result.spec.decode == Ctc(output="y", charset=("A", "B", "C"), layout=layout)
    assert result.spec.labels == ()


def test_ctc_without_characters_counts_them() -> None:
    assert plan({"y": (N, 18, 4)}, task="ocr").spec.decode.charset == ("0", "1", "2")  # type: ignore[union-attr] # the case is that one


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        ({"y": (N, 10)}, {"labels": ("a", "b")}, "has 2 names, but the model has 10 classes"),
        (V8, {"labels": ("a",)}, "--labels has 1 names, but the model has 80 classes"),
        ({"y": (N, 18, 4)}, {"task": "ocr", "labels": ("A", "B")}, "2 characters .* 4 classes"),
        ({"y": (N, 18, 4)}, {}, "no YOLO layout has such a shape at 640x384.*--task ocr"),
        ({"a": (N, 3, 4, 5), "b": (N, 2, 4, 5)}, {}, "maps such as CenterNet's .* no head for it"),
        ({"a": (N, 5), "b": (N, 9)}, {}, "cannot tell the head .*no head that fits them"),
        ({"a": (N, 5), "b": (N, 9)}, {"task": "classify"}, r"name one with --decode '{\"output\""),
        ({"a": (N, 5)}, {"decode": {"output": "z"}}, "the model has no output 'z'"),
        ({"a": (N, 5)}, {"score": 0.5}, "score: no such key; known here: head, output"),
        ({"a": (N, 5)}, {"decode": {"vaules": "logits"}}, "did you mean values"),
        (V8, {"head": "yolov8", "task": "ocr"}, "do not go together"),
        ({"a": (N, 4, 5040)}, {"head": "yolov8"}, "too few"),
        ({"a": (N, 9)}, {"head": "yunet"}, "a yunet head has"),
        ({"a": (N, 9)}, {"head": "centerface"}, "a centerface head has 160x96 maps"),
        ({"a": (N, 9)}, {"head": "retinaface"}, "an ssd head has"),
    ],
)  # fmt: skip
def test_unknown_settings_are_refused_by_name(shapes: Any, options: Any, message: str) -> None:
    import re

    assert re.search(message, refusal(shapes, **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "poses"}, "--task poses: expected one of classify, ocr, detect, embed"),
        ({"head": "yolo99"}, "--head yolo99: expected one of auto, classify, ctc, "),
        ({"head": "ctc", "task": "detect"}, "--task detect and --head ctc do not go together"),
    ],
)
def test_an_unknown_task_or_head_is_refused_before_the_long_work(
    options: Any, message: str
) -> None:
    settings = ExportSettings(ExportConfig(**options), "preset")
    with pytest.raises(UsageError) as caught:
        check_early(settings, Size(640, 384, 3))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ({"points": "17"}, """'{"points": "17"}': points: Expected `int`, got `str`"""),
        ({"output": ["x"]}, """'{"output": ["x"]}': output: Expected `str`, got `array`"""),
        ({"strides": 8}, """'{"strides": 8}': strides: Expected `array`, got `int`"""),
        ({"classes": 0}, """'{"classes": 0}': classes: Expected `int` >= 1"""),
    ],
)
def test_decode_settings_of_another_type_are_refused_before_the_long_work(
    setting: dict[str, Any], problem: str
) -> None:
    for options in ({}, {"task": "pose"}, {"head": "yolov8"}):
        settings = ExportSettings(ExportConfig(decode=setting, **options), "preset")
        with pytest.raises(UsageError) as caught:
            check_early(settings, Size(640, 384, 3))
        assert str(caught.value) == f"--decode {problem}"


class Mean(Part, frozen=True, kw_only=True, tag_field="head", tag="mean"):
    """A head that no file of the export knows."""

    output: str
    scale: float = 1.0


@pytest.mark.parametrize("options", [{"task": "fake"}, {"head": "mean"}])
def test_a_new_task_with_a_head_of_its_own_is_planned(
    monkeypatch: pytest.MonkeyPatch, options: Any
) -> None:
    task = SimpleNamespace(**{**vars(fake), "decoders": {Mean: fake.MeanDecoder}})
    monkeypatch.setitem(TASKS, "fake", task)
    decode = {"output": "y", "scale": 2.0}
    spec = plan({"x": (N, 3), "y": (N, 5)}, **options, decode=decode, labels=("a", "b")).spec
    assert (spec.task, spec.decode) == ("fake", Mean(output="y", scale=2.0))
    assert (spec.labels, spec.input.resize) == (("a", "b"), "stretch")
    assert "y" in refusal({"y": (N, 5)}, **options, decode={"outptu": "y"})


def test_a_new_task_may_share_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "fake", fake)
    assert plan({"y": (N, 5)}, task="fake").spec.task == "fake"
    assert plan({"y": (N, 5)}, head="classify").spec.task == "classify"


def test_an_output_can_be_named_among_several() -> None:
    shapes = {"features": (N, 512), "logits": (N, 10)}
    result = plan(shapes, {"logits": "Softmax"}, task="classify", decode={"output": "logits"})
    assert result.spec.decode == Classify(output="logits", values="probabilities")


def test_tails_are_seen_through_what_only_reshapes() -> None:
    nodes = [
        helper.make_node("Softmax", ["x"], ["a"]),
        helper.make_node("Reshape", ["a", "shape"], ["b"]),
        helper.make_node("Identity", ["b"], ["y"]),
        helper.make_node("Sigmoid", ["x"], ["c"]),
        helper.make_node("Add", ["c", "c"], ["z"]),
    ]
    out = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("y", "z", "x")]
    model = helper.make_model(helper.make_graph(nodes, "g", [], out))
    assert final_activations(model) == {"y": "Softmax", "z": "Add", "x": ""}


@pytest.mark.parametrize(
    ("options", "channels", "shape", "expected"),
    [
        ({"input": "640x352"}, 3, None, Size(640, 352, 3)),
        ({"input": "224"}, 3, None, Size(224, 224, 3)),
        ({}, 3, (1, 3, 96, 112), Size(112, 96, 3)),
        ({"input": "64x64"}, 3, (1, 3, 96, 112), Size(64, 64, 3)),
        ({"input": "28x28"}, 1, None, Size(28, 28, 1)),
        ({"input": "28x28", "color": "gray"}, None, None, Size(28, 28, 1)),
        ({"input": "28x28"}, None, None, Size(28, 28, 3)),
    ],
)
def test_the_size_comes_from_the_flag_or_the_model(
    options: Any, channels: int | None, shape: Any, expected: Size
) -> None:
    assert network_size(ExportConfig(**options), channels, shape) == expected


@pytest.mark.parametrize(
    ("options", "channels", "message"),
    [
        ({}, 3, "add --input WIDTHxHEIGHT"),
        ({"input": "8x8", "color": "gray"}, 3, "--color gray does not fit: .* has 3 channels"),
        ({"input": "8x8", "color": "rgb"}, 1, "--color rgb does not fit: .* has 1 channel$"),
        ({"input": "8x8"}, 4, "has 4 channels; a camera gives 3"),
    ],
)
def test_an_impossible_size_is_refused(options: Any, channels: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        network_size(ExportConfig(**options), channels, None)


def test_wrong_input_settings_name_the_flag() -> None:
    assert "--pad is one gray value" in refusal(V8, pad=(1, 2))
    assert plan(V8, pad=(7,)).spec.input.pad == (7, 7, 7)
    assert plan(V8, pad_position="corner", interpolation="area").spec.input.pad_position == "corner"
    with pytest.raises(ConfigError):
        plan(V8, decode={"classes": 0})
