"""Every setting of an export, defined once: flags, YAML keys and the checkpoint's spec.

Precedence: flag > --spec YAML > the checkpoint's spec > defaults. A field's description is its
--help text.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from edgecnn_export.heads import HEADS
from edgecnn_runtime.bundle.manifest import Color, Int8Target, Interpolation, Resize, TaskName, Unit
from edgecnn_runtime.tasks import TASKS

Size = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,4}(x[1-9][0-9]{0,4})?$")]
Opset = Annotated[int, Meta(ge=18, le=20)]
Fraction = Annotated[float, Meta(gt=0.0, le=1.0)]
Percent = Annotated[float, Meta(ge=0.0, le=100.0)]
Method = Literal["minmax", "percentile", "entropy", "mse"]
ARCH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
"""``package.module:factory``."""
Floats = tuple[float, ...]
Integers = tuple[int, ...]


def cli_help(words: str, metavar: str = "") -> Meta:
    """A field's --help text, and the name of its value there."""
    return Meta(description=words, extra={"metavar": metavar})


class ExportConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings of one export. A field at its default is unset: the next source may set it."""

    model: Annotated[str, cli_help("checkpoint, .safetensors, TorchScript, .pt2 or .onnx")] = ""
    spec: Annotated[
        str, cli_help("YAML file with any of these keys; its paths are relative to it", "FILE")
    ] = ""
    arch: Annotated[
        str,
        cli_help("builds a state dict's nn.Module; or FILE.py:FACTORY", "PACKAGE.MODULE:FACTORY"),
    ] = ""
    arch_args: Annotated[
        dict[str, Any], cli_help('the factory\'s keyword arguments, as JSON: {"width": 2}')
    ] = {}
    weights_key: Annotated[
        str, cli_help("the set of weights to take of a file that has several: ema.module", "KEY")
    ] = ""
    trust_pickle: Annotated[
        bool, cli_help("load a file that could run code: only if you made it yourself")
    ] = False

    input: Annotated[
        Size | None, cli_help("size of the network's input, e.g. 640x352", "WIDTHxHEIGHT")
    ] = None
    mean: Annotated[Floats | None, cli_help("per channel, in 0..255 pixel units", "R,G,B")] = None
    std: Annotated[Floats | None, cli_help("per channel, in 0..255 pixel units", "R,G,B")] = None
    preset: Annotated[
        Literal["imagenet", "unit", "signed", "raw"] | None,
        cli_help("mean and std by name: unit is 0..1, signed -1..1, raw 0..255"),
    ] = None
    color: Annotated[Color | None, cli_help("channel order the model was trained on")] = None
    resize: Annotated[
        Resize | None,
        cli_help("how a frame is fitted (default: letterbox to detect, else stretch)"),
    ] = None
    interpolation: Annotated[
        Interpolation | None, cli_help("linear (the default) is fast; area when shrinking a lot")
    ] = None
    crop_pct: Annotated[
        Fraction | None, cli_help("share of the short side a crop keeps", "SHARE")
    ] = None
    pad: Annotated[
        Integers | None, cli_help("letterbox fill, three values or one (default: 114)", "B,G,R")
    ] = None
    pad_position: Annotated[
        Literal["center", "corner"] | None, cli_help("where the picture sits in a letterbox")
    ] = None

    task: Annotated[
        TaskName | None,
        cli_help("what the model does (default: inferred from its outputs)", "|".join(TASKS)),
    ] = None
    head: Annotated[
        str | None,
        cli_help(f"how its outputs are decoded (default: auto): {', '.join(HEADS)}", "HEAD"),
    ] = None
    labels: Annotated[
        str | tuple[str, ...] | None,
        cli_help("class names (or characters, for ocr), one per line", "FILE"),
    ] = None
    score: Annotated[Unit | None, cli_help("detections under this score are dropped", "0..1")] = (
        None
    )
    iou: Annotated[Unit | None, cli_help("boxes overlapping more are suppressed", "0..1")] = None
    decode: Annotated[
        dict[str, Any], cli_help('more of the head\'s settings, as JSON: {"points": 4}')
    ] = {}

    images: Annotated[
        str, cli_help("pictures to verify with; a few of them become the self-test", "DIR")
    ] = ""
    backends: Annotated[
        tuple[str, ...] | None,
        cli_help("engines to verify on (default: every one installed here)", "NAME,…"),
    ] = None

    reduced: Annotated[
        bool, cli_help("also verify bf16 and f16, for devices to choose from (on with --int8)")
    ] = False

    fp16: Annotated[
        bool,
        cli_help("also make a half precision artifact for GPUs, if it passes the accuracy gate"),
    ] = False

    int8: Annotated[
        bool,
        cli_help("also make INT8 artifacts, if they pass the accuracy gate"),
    ] = False
    calib: Annotated[
        str,
        cli_help(
            "pictures like those the camera will see, to calibrate INT8 on; 100 to 300", "DIR"
        ),
    ] = ""
    eval_data: Annotated[
        str, cli_help("labeled pictures: the INT8 gate becomes the task's own metric", "DIR|FILE")
    ] = ""
    targets: Annotated[
        tuple[Int8Target, ...] | None,
        cli_help("INT8 forms to make (default: all of them)", ",".join(get_args(Int8Target))),
    ] = None
    max_drop: Annotated[
        Percent | None, cli_help("points of the metric INT8 may lose (default: 0.5)", "POINTS")
    ] = None
    method: Annotated[
        Method | None, cli_help("how ranges are chosen (default: the best of all, measured)")
    ] = None
    work_dir: Annotated[
        str,
        cli_help("folder from which an INT8 search continues (default: the cache)", "DIR"),
    ] = ""

    out: Annotated[str, cli_help("bundle to write (default: NAME.edge here)", "DIR")] = ""
    name: Annotated[str, cli_help("the bundle's name (default: the model file's stem)")] = ""
    overwrite: Annotated[bool, cli_help("replace an existing bundle")] = False
    batch: Annotated[Integers | None, cli_help("batch sizes to allow (default: any)", "N,…")] = None
    opset: Annotated[Opset | None, cli_help("ONNX operator set, 18 to 20 (default: 20)", "N")] = (
        None
    )

    def bundle_name(self) -> str:
        """``name``, or one derived from the model file's."""
        stem = self.name or Path(self.model).name.split(".")[0]
        return re.sub(r"[^A-Za-z0-9_.\-]", "-", stem).lstrip(".-")[:100] or "model"
