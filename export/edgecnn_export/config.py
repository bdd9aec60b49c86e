"""Everything an export can be told, once: the flags, the YAML keys and the checkpoint's spec.

Precedence: flag > --spec YAML > what the checkpoint carries > defaults. A field's description is
its --help text and its entry in docs/configuration.md.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edgecnn_runtime.manifest import Color, Interpolation, Resize, Task, Unit

Head = Literal[
    "auto", "classify", "yolov5", "yolov8", "yolov11", "nms", "yunet", "centerface",
    "retinaface", "ssd", "ctc", "embed",
]  # fmt: skip
Size = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,4}(x[1-9][0-9]{0,4})?$")]


class ExportConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one export is told. A field at its default was not said, and asks the next source."""

    model: Annotated[
        str, Meta(description="checkpoint, .safetensors, TorchScript, .pt2 or .onnx")
    ] = ""
    spec: Annotated[
        str, Meta(description="YAML file with any of these keys; its paths are relative to it")
    ] = ""
    out: Annotated[str, Meta(description="bundle to write (default: NAME.edge here)")] = ""
    name: Annotated[str, Meta(description="the bundle's name (default: the file's stem)")] = ""
    overwrite: Annotated[bool, Meta(description="replace an existing bundle")] = False

    arch: Annotated[
        str, Meta(description="package.module:factory that builds the nn.Module of a state dict")
    ] = ""
    arch_args: Annotated[
        dict[str, Any], Meta(description='the factory\'s keyword arguments, as JSON: {"width": 2}')
    ] = {}
    trust_pickle: Annotated[
        bool, Meta(description="load a file that could run code: only if you made it yourself")
    ] = False

    input: Annotated[
        Size | None, Meta(description="network input as WIDTHxHEIGHT, e.g. 640x352")
    ] = None
    task: Annotated[Task | None, Meta(description="what the model does")] = None
    head: Annotated[
        Head | None, Meta(description="how its output tensors are decoded (default: auto)")
    ] = None
    mean: Annotated[
        tuple[float, ...] | None, Meta(description="per channel, in 0..255 pixel units")
    ] = None
    std: Annotated[
        tuple[float, ...] | None, Meta(description="per channel, in 0..255 pixel units")
    ] = None
    preset: Annotated[
        Literal["imagenet", "unit", "signed", "raw"] | None,
        Meta(description="mean and std by name: imagenet, unit 0..1, signed -1..1, raw 0..255"),
    ] = None
    color: Annotated[Color | None, Meta(description="channel order the model was trained on")] = (
        None
    )
    resize: Annotated[Resize | None, Meta(description="how a frame is fitted to the input")] = None
    interpolation: Annotated[
        Interpolation | None, Meta(description="linear is fast; area when shrinking a lot")
    ] = None
    crop_pct: Annotated[
        Annotated[float, Meta(gt=0.0, le=1.0)] | None,
        Meta(description="share of the picture a crop keeps"),
    ] = None
    pad: Annotated[
        tuple[int, ...] | None, Meta(description="letterbox fill, B,G,R or one grey value")
    ] = None
    pad_position: Annotated[
        Literal["center", "corner"] | None, Meta(description="where the picture sits in it")
    ] = None

    labels: Annotated[
        str | tuple[str, ...] | None,
        Meta(description="file with one class name (or character) a line"),
    ] = None
    score: Annotated[Unit | None, Meta(description="detections under this score are dropped")] = (
        None
    )
    iou: Annotated[Unit | None, Meta(description="boxes overlapping more are suppressed")] = None
    decode: Annotated[
        dict[str, Any], Meta(description="more of the head's manifest fields, as JSON")
    ] = {}

    images: Annotated[
        str, Meta(description="folder of pictures for verification and golden data")
    ] = ""
    batch: Annotated[
        tuple[int, ...] | None, Meta(description="batch sizes to allow (default: any)")
    ] = None
    opset: Annotated[
        Annotated[int, Meta(ge=18, le=20)] | None,
        Meta(description="ONNX operator set, 18 to 20 (default: 20)"),
    ] = None
    backends: Annotated[
        tuple[str, ...] | None,
        Meta(description="engines to verify on (default: every one installed here)"),
    ] = None

    def bundle_name(self) -> str:
        """``name``, or one made from the model file's stem."""
        import re

        stem = self.name or Path(self.model).name.split(".")[0]
        return re.sub(r"[^A-Za-z0-9_.\-]", "-", stem).lstrip(".-") or "model"
