"""Everything an export can be told, once: the flags, the YAML keys and the checkpoint's spec.

Precedence: flag > --spec YAML > what the checkpoint carries > defaults. A field's description is
its --help text.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edgecnn_runtime.bundle.manifest import Color, Interpolation, Resize, Task, Unit

Head = Literal[
    "auto", "classify", "yolov5", "yolov8", "yolov11", "nms", "yunet", "centerface",
    "retinaface", "ssd", "ctc", "embed",
]  # fmt: skip
Size = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,4}(x[1-9][0-9]{0,4})?$")]
Opset = Annotated[int, Meta(ge=18, le=20)]
Share = Annotated[float, Meta(gt=0.0, le=1.0)]
Points = Annotated[float, Meta(ge=0.0, le=100.0)]
Target = Literal["cpu", "openvino", "cpu-rr", "trt"]
Method = Literal["minmax", "percentile", "entropy", "mse"]
Numbers = tuple[float, ...]
Whole = tuple[int, ...]


def about(words: str, metavar: str = "") -> Meta:
    """A field's --help text, and how its value is written there."""
    return Meta(description=words, extra={"metavar": metavar})


class ExportConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one export is told. A field at its default was not said, and asks the next source."""

    model: Annotated[str, about("checkpoint, .safetensors, TorchScript, .pt2 or .onnx")] = ""
    spec: Annotated[
        str, about("YAML file with any of these keys; its paths are relative to it", "FILE")
    ] = ""
    arch: Annotated[
        str, about("what builds the nn.Module of a state dict", "PACKAGE.MODULE:FACTORY")
    ] = ""
    arch_args: Annotated[
        dict[str, Any], about('the factory\'s keyword arguments, as JSON: {"width": 2}')
    ] = {}
    trust_pickle: Annotated[
        bool, about("load a file that could run code: only if you made it yourself")
    ] = False

    input: Annotated[
        Size | None, about("size of the network's input, e.g. 640x352", "WIDTHxHEIGHT")
    ] = None
    mean: Annotated[Numbers | None, about("per channel, in 0..255 pixel units", "R,G,B")] = None
    std: Annotated[Numbers | None, about("per channel, in 0..255 pixel units", "R,G,B")] = None
    preset: Annotated[
        Literal["imagenet", "unit", "signed", "raw"] | None,
        about("mean and std by name: unit is 0..1, signed -1..1, raw 0..255"),
    ] = None
    color: Annotated[Color | None, about("channel order the model was trained on")] = None
    resize: Annotated[
        Resize | None, about("how a frame is fitted (default: letterbox to detect, else stretch)")
    ] = None
    interpolation: Annotated[
        Interpolation | None, about("linear (the default) is fast; area when shrinking a lot")
    ] = None
    crop_pct: Annotated[Share | None, about("share of the short side a crop keeps", "SHARE")] = None
    pad: Annotated[
        Whole | None, about("letterbox fill, three values or one (default: 114)", "B,G,R")
    ] = None
    pad_position: Annotated[
        Literal["center", "corner"] | None, about("where the picture sits in a letterbox")
    ] = None

    task: Annotated[Task | None, about("what the model does (default: told by its outputs)")] = None
    head: Annotated[Head | None, about("how its outputs are decoded (default: auto)", "HEAD")] = (
        None
    )
    labels: Annotated[
        str | tuple[str, ...] | None,
        about("class names (or characters, for ocr), one a line", "FILE"),
    ] = None
    score: Annotated[Unit | None, about("detections under this score are dropped", "0..1")] = None
    iou: Annotated[Unit | None, about("boxes overlapping more are suppressed", "0..1")] = None
    decode: Annotated[
        dict[str, Any], about('more of the head\'s settings, as JSON: {"points": 4}')
    ] = {}

    images: Annotated[
        str, about("pictures to verify with; some of them go into the self-test", "DIR")
    ] = ""
    backends: Annotated[
        tuple[str, ...] | None,
        about("engines to verify on (default: every one installed here)", "NAME,…"),
    ] = None

    reduced: Annotated[
        bool, about("also verify bf16 and f16, for devices to choose from (on with --int8)")
    ] = False

    int8: Annotated[bool, about("also make INT8 artifacts, as accurate as the gate asks")] = False
    calib: Annotated[
        str,
        about("pictures like those the camera will see, to calibrate INT8 on; 100 to 300", "DIR"),
    ] = ""
    eval_data: Annotated[
        str, about("labelled pictures: the INT8 gate becomes the task's own metric", "DIR|FILE")
    ] = ""
    targets: Annotated[
        tuple[Target, ...] | None,
        about("INT8 forms to make (default: all of them)", "cpu,openvino,cpu-rr,trt"),
    ] = None
    max_drop: Annotated[
        Points | None, about("points of the metric INT8 may lose (default: 0.5)", "POINTS")
    ] = None
    method: Annotated[
        Method | None, about("how ranges are chosen (default: the best of all, measured)")
    ] = None
    work_dir: Annotated[
        str, about("where an interrupted INT8 search is taken up (default: the user's)", "DIR")
    ] = ""

    out: Annotated[str, about("bundle to write (default: NAME.edge here)", "DIR")] = ""
    name: Annotated[str, about("the bundle's name (default: the model file's stem)")] = ""
    overwrite: Annotated[bool, about("replace an existing bundle")] = False
    batch: Annotated[Whole | None, about("batch sizes to allow (default: any)", "N,…")] = None
    opset: Annotated[Opset | None, about("ONNX operator set, 18 to 20 (default: 20)", "N")] = None

    def bundle_name(self) -> str:
        """``name``, or one made from the model file's stem."""
        stem = self.name or Path(self.model).name.split(".")[0]
        return re.sub(r"[^A-Za-z0-9_.\-]", "-", stem).lstrip(".-")[:100] or "model"
