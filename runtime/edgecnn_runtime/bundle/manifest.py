"""manifest.json as typed values: the contract between export and runtime.

Nothing else in the project spells these keys. Every Struct is frozen and refuses unknown keys, so a
typo or a manifest of a future version is an error and not a silent default.
"""

from typing import Annotated, Any, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta

SCHEMA_VERSION = 2

Positive: TypeAlias = Annotated[int, Meta(ge=1, le=65536)]
Count: TypeAlias = Annotated[int, Meta(ge=0)]
Unit: TypeAlias = Annotated[float, Meta(ge=0.0, le=1.0)]
Byte: TypeAlias = Annotated[int, Meta(ge=0, le=255)]
Sha256: TypeAlias = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
FileName: TypeAlias = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$", max_length=128)
]
"""A plain file name inside the bundle: no separator, no leading dot."""

TaskName: TypeAlias = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]*$", max_length=32)]
"""A key of ``tasks.TASKS``, which says what results of the task are."""
Color: TypeAlias = Literal["rgb", "bgr", "gray"]
Resize: TypeAlias = Literal["stretch", "letterbox", "crop"]
Interpolation: TypeAlias = Literal["linear", "area"]
Values: TypeAlias = Literal["logits", "probabilities", "log_probabilities"]
"""What an output contains: values before softmax (or sigmoid), after it, or their logarithm."""
CornerOrder: TypeAlias = Literal["xyxy", "yxyx"]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Common settings of every manifest value."""


class Normalization(Part, frozen=True, kw_only=True):
    """(pixel - mean) / std for each channel; inside every artifact, and here to be checked.

    Attributes:
        mean: One value per channel in pixel units 0..255, in the order of ``Input.color``.
        std: Likewise.
        origin: Where the numbers come from; ``assumed`` means that no source gave them.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    origin: Literal["checkpoint", "preset", "flag", "spec", "timm", "graph", "assumed"]


class Input(Part, frozen=True, kw_only=True):
    """How a frame becomes the artifact's uint8[N,height,width,3] BGR input.

    Attributes:
        width: Of the network's input, in pixels.
        height: Of the network's input, in pixels.
        color: What the model was trained on; the conversion from BGR is inside the artifact.
        normalization: Mean and std.
        resize: ``stretch`` ignores the aspect ratio; ``letterbox`` keeps it and fills with ``pad``;
            ``crop`` keeps it, scales the short side to side/crop_pct and cuts out the center.
        interpolation: How pixels are resampled.
        crop_pct: Fraction of the short side that a crop keeps.
        pad: Color of the letterbox's bars, BGR.
        pad_position: Whether the picture is in the center or in the top left corner of a letterbox.
        color_origin: ``assumed`` means that no source gave ``color``.
    """

    width: Positive
    height: Positive
    color: Color
    normalization: Normalization
    resize: Resize = "stretch"
    interpolation: Interpolation = "linear"
    crop_pct: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0
    pad: tuple[Byte, Byte, Byte] = (114, 114, 114)
    pad_position: Literal["center", "corner"] = "center"
    color_origin: Literal["given", "assumed"] = "given"


class Classify(Part, frozen=True, kw_only=True, tag_field="head", tag="classify"):
    """scores[N,C] → Classification. A single column is a binary score for label 1.

    Attributes:
        output: Name of the output tensor.
        values: What it contains.
        multi_label: Whether scores are independent sigmoids and not one softmax.
    """

    output: str
    values: Values = "logits"
    multi_label: bool = False


class Yolo(Part, frozen=True, kw_only=True, tag_field="head", tag="yolo"):
    """A YOLO-style head, after its box arithmetic but for ``yolox``.

    The layouts are

        ``v5``       [N,A,4+1+C(+points)]: cx, cy, w, h, objectness, classes (v5, v7, decoded YOLOX)
        ``v5-face``  [N,A,4+1+points+C]: the same with landmarks before the classes
        ``v8``       [N,4+C(+points),A]: cx, cy, w, h, classes (v8, v9, v11)
        ``nms``      [N,K,6(+points)]: x1, y1, x2, y2, score, class; suppression is in the graph
        ``yolox``    [N,A,4+1+C]: as v5, but dx, dy, log w, log h in units of the row's cell:
                     center = (cell + d)·s, size = exp(·)·s (Ge et al., 2021)

    Attributes:
        output: Name of the output tensor.
        layout: One of those above.
        classes: C.
        points: Landmarks per box.
        point_dims: 2 for x, y; 3 for x, y, visibility.
        values: What the class scores contain.
        normalized: Whether coordinates are fractions of the network input, and not its pixels.
        strides: Pixels per cell of each grid; of ``yolox``, whose boxes are relative to cells.
        score: Boxes below this score are dropped.
        iou: Boxes that overlap more than this are suppressed.
        max_detections: The most boxes of one picture.
        class_agnostic: Whether boxes of different classes suppress each other.
    """

    output: str
    layout: Literal["v5", "v5-face", "v8", "nms", "yolox"]
    classes: Positive
    points: Count = 0
    point_dims: Literal[2, 3] = 2
    values: Values = "probabilities"
    normalized: bool = False
    strides: tuple[Positive, ...] = ()
    score: Unit = 0.25
    iou: Unit = 0.45
    max_detections: Positive = 300
    class_agnostic: bool = False


class AnchorFree(Part, frozen=True, kw_only=True, tag_field="head", tag="anchor_free"):
    """A center-based head of one class: one box, or a few, per cell and stride.

    The variants are

        ``yunet``       per stride s outputs cls_s[N,A,1], obj_s[N,A,1], bbox_s[N,A,4],
                        kps_s[N,A,2P]; score = sqrt(cls·obj), center = (cell + d)·s, size = exp(·)·s
        ``scrfd``       per stride s outputs score_s[N,A,1], bbox_s[N,A,4], kps_s[N,A,2P]; left,
                        top, right, bottom = cell·s ∓ distance·s, landmark = cell·s + d·s
        ``centerface``  one stride (4): heatmap, scale, offset, landmarks as [N,C,h,w]

    Attributes:
        variant: One of those above.
        outputs: The graph's output names by role: ``cls_8`` … or ``heatmap``, ``scale``, ….
        strides: Pixels per cell of each grid.
        anchors: Boxes per cell, one after the other (``scrfd``).
        points: Landmarks per box.
        score: Boxes below this score are dropped.
        iou: Boxes that overlap more than this are suppressed.
        max_detections: The most boxes of one picture.
    """

    variant: Literal["yunet", "centerface", "scrfd"]
    outputs: dict[str, str]
    strides: tuple[Positive, ...] = (8, 16, 32)
    anchors: Positive = 1
    points: Count = 5
    score: Unit = 0.6
    iou: Unit = 0.3
    max_detections: Positive = 300


class Ssd(Part, frozen=True, kw_only=True, tag_field="head", tag="ssd"):
    """One table of boxes and one of scores (SSD, RetinaFace), by offsets from priors or decoded.

    Priors are ordered by stride, then by row, with one for each min_size (for an aspect ratio r, of
    that size times sqrt(r) by 1/sqrt(r)). A graph that decodes by itself has none.

    Attributes:
        boxes: Name of the output [N,A,4].
        scores: Name of the output [N,A,C].
        landmarks: Name of the output [N,A,2P]; "" without one.
        decoded: Whether the graph gives corners x1, y1, x2, y2 and landmarks x, y themselves, and
            not offsets from priors.
        normalized: Whether decoded coordinates are fractions of the network input, and not its
            pixels.
        order: Of decoded corners; ``yxyx`` is y1, x1, y2, x2, as TensorFlow has them.
        background: Whether class 0 of the scores is the background. Without one, scores are
            independent of each other.
        strides: Pixels per cell of each grid; none where ``decoded``.
        min_sizes: For each stride, sizes of its priors in pixels.
        aspect_ratios: Of the priors, width over height.
        variances: Factors of centers and of sizes.
        values: What the scores contain.
        points: Landmarks per box, P.
        score: Boxes below this score are dropped.
        iou: Boxes that overlap more than this are suppressed.
        max_detections: The most boxes of one picture.
    """

    boxes: str
    scores: str
    landmarks: str = ""
    decoded: bool = False
    normalized: bool = False
    order: CornerOrder = "xyxy"
    background: bool = True
    strides: tuple[Positive, ...] = ()
    min_sizes: tuple[tuple[float, ...], ...] = ()
    aspect_ratios: tuple[float, ...] = (1.0,)
    variances: tuple[float, float] = (0.1, 0.2)
    values: Values = "probabilities"
    points: Count = 0
    score: Unit = 0.5
    iou: Unit = 0.4
    max_detections: Positive = 300


class Detr(Part, frozen=True, kw_only=True, tag_field="head", tag="detr"):
    """A box and class scores per query, without suppression (Carion et al., 2020; RT-DETR, …).

    Attributes:
        boxes: Name of the output [N,Q,4]: cx, cy, w, h.
        scores: Name of the output [N,Q,K]; that of ``boxes`` where one table [N,Q,4+K] has both.
        classes: How many of the first columns of the scores are classes.
        values: What the scores contain.
        background: Whether scores are one softmax, whose last column stands for no object. Without
            one, scores are independent sigmoids.
        multi_label: Whether a query stands for every class that passes, and not for its best one.
            With a background it is always its best one.
        normalized: Whether boxes are fractions of the network input, and not its pixels.
        score: Boxes below this score are dropped.
        max_detections: The most boxes of one picture.
    """

    boxes: str
    scores: str
    classes: Positive
    values: Values = "logits"
    background: bool = False
    multi_label: bool = True
    normalized: bool = True
    score: Unit = 0.5
    max_detections: Positive = 300


class Ranked(Part, frozen=True, kw_only=True, tag_field="head", tag="ranked"):
    """Boxes, class numbers and scores in an output each, as the graph's own selection left them.

    Attributes:
        boxes: Name of the output [N,K,4], corners.
        scores: Name of the output [N,K].
        labels: Name of the output [N,K], class numbers.
        count: Name of the output [N] or [N,1] that says how many rows count; "" where all do.
        classes: How many classes there are.
        first_class: The number of the first class; TensorFlow counts from 1.
        order: Of the corners; ``yxyx`` is y1, x1, y2, x2, as TensorFlow has them.
        normalized: Whether boxes are fractions of the network input, and not its pixels.
        score: Boxes below this score are dropped.
        max_detections: The most boxes of one picture.
    """

    boxes: str
    scores: str
    labels: str
    count: str = ""
    classes: Positive
    first_class: Count = 0
    order: CornerOrder = "xyxy"
    normalized: bool = False
    score: Unit = 0.5
    max_detections: Positive = 300


class Gfl(Part, frozen=True, kw_only=True, tag_field="head", tag="gfl"):
    """Class scores and four distributions over distances per cell (Li et al., 2020; NanoDet).

    One table [N,A,C+4B]: class scores, then for left, top, right and bottom the logits of B bins.
    A side is as many strides from the cell's point as the bins' expectation says.

    Attributes:
        output: Name of the output tensor.
        classes: C.
        bins: B.
        strides: Pixels per cell of each grid.
        offset: Where in its cell a cell's point is: 0 at the top left corner (NanoDet-Plus), 0.5 in
            the middle (NanoDet).
        values: What the class scores contain.
        score: Boxes below this score are dropped.
        iou: Boxes that overlap more than this are suppressed.
        max_detections: The most boxes of one picture.
    """

    output: str
    classes: Positive
    bins: Positive = 8
    strides: tuple[Positive, ...] = (8, 16, 32, 64)
    offset: Unit = 0.0
    values: Values = "probabilities"
    score: Unit = 0.35
    iou: Unit = 0.6
    max_detections: Positive = 300


class Pose(Part, frozen=True, kw_only=True, tag_field="head", tag="pose"):
    """A YOLO pose head: a table of boxes, as ``Yolo`` has it, with keypoints behind the classes.

    Attributes:
        output: Name of the output tensor.
        layout: ``v8`` or ``nms`` of ``Yolo``.
        classes: C.
        points: Keypoints per box.
        point_dims: 2 for x, y; 3 for x, y and the probability that it is visible.
        skeleton: Pairs of keypoints that a line joins.
        values: What the class scores contain.
        score: Boxes below this score are dropped.
        iou: Boxes that overlap more than this are suppressed.
        max_detections: The most boxes of one picture.
        class_agnostic: Whether boxes of different classes suppress each other.
    """

    output: str
    layout: Literal["v8", "nms"]
    classes: Positive
    points: Positive
    point_dims: Literal[2, 3] = 3
    skeleton: tuple[tuple[Count, Count], ...] = ()
    values: Values = "probabilities"
    score: Unit = 0.25
    iou: Unit = 0.7
    max_detections: Positive = 300
    class_agnostic: bool = False


class Obb(Part, frozen=True, kw_only=True, tag_field="head", tag="obb"):
    """A YOLO head of rotated boxes.

    The layouts are

        ``v8``   [N,4+C+1,A]: cx, cy, w, h, classes, angle
        ``nms``  [N,K,7]: cx, cy, w, h, score, class, angle; suppression is in the graph

    Angles are in radians, from the x axis to the side that is w long, clockwise as it is seen.

    Attributes:
        output: Name of the output tensor.
        layout: One of those above.
        classes: C.
        values: What the class scores contain.
        score: Boxes below this score are dropped.
        iou: Boxes that overlap more than this, as Gaussians, are suppressed.
        max_detections: The most boxes of one picture.
        class_agnostic: Whether boxes of different classes suppress each other.
    """

    output: str
    layout: Literal["v8", "nms"]
    classes: Positive
    values: Values = "probabilities"
    score: Unit = 0.25
    iou: Unit = 0.7
    max_detections: Positive = 300
    class_agnostic: bool = False


class Segment(Part, frozen=True, kw_only=True, tag_field="head", tag="segment"):
    """A YOLO head of instance masks: a table of boxes with weights of maps behind the classes.

    Attributes:
        output: Name of the table, with the weights behind the classes.
        maps: Name of the output [N,M,h,w] that the weights of a box mix to its mask.
        layout: Of the table, as ``Yolo`` names it.
        classes: C.
        coefficients: Weights per box, M.
        values: What the class scores contain.
        score: Boxes below this score are dropped.
        iou: Boxes that overlap more than this are suppressed.
        max_detections: The most boxes of one picture.
        class_agnostic: Whether boxes of different classes suppress each other.
    """

    output: str
    maps: str
    layout: Literal["v5", "v8", "nms"]
    classes: Positive
    coefficients: Positive = 32
    values: Values = "probabilities"
    score: Unit = 0.25
    iou: Unit = 0.7
    max_detections: Positive = 300
    class_agnostic: bool = False


class Semantic(Part, frozen=True, kw_only=True, tag_field="head", tag="semantic"):
    """scores[N,C,h,w] → a class for every pixel. A single channel is a binary score for label 1.

    The map covers the input, whether or not its sides divide those of the input.

    Attributes:
        output: Name of the output tensor.
        values: What it contains.
        score: The probability over which a single channel is label 1.
    """

    output: str
    values: Values = "logits"
    score: Unit = 0.5


class Ctc(Part, frozen=True, kw_only=True, tag_field="head", tag="ctc"):
    """Character scores per time step → text: best path, repeats merged, blanks dropped.

    Attributes:
        output: Name of the output tensor.
        charset: One entry per class, in class order without the blank.
        blank: Class number of the blank.
        layout: The order of the batch, time and class axes.
        values: What the output contains.
    """

    output: str
    charset: tuple[str, ...]
    blank: Count = 0
    layout: Literal["NTC", "NCT", "TNC"] = "NTC"
    values: Values = "logits"


class Embed(Part, frozen=True, kw_only=True, tag_field="head", tag="embed"):
    """features[N,D] (or [N,D,1,1]) → Embedding.

    Attributes:
        output: Name of the output tensor.
        normalize: Whether vectors are scaled to unit length.
        metric: How two vectors are compared.
    """

    output: str
    normalize: bool = True
    metric: Literal["cosine", "l2"] = "cosine"


Decode: TypeAlias = (
    Classify
    | Yolo
    | AnchorFree
    | Ssd
    | Detr
    | Ranked
    | Gfl
    | Pose
    | Obb
    | Segment
    | Semantic
    | Ctc
    | Embed
)


TABLE_LAYOUTS = ("v5", "v5-face", "v8", "nms", "yolox")


def table_layout(decode: Decode, output: str = "") -> str:
    """How an output of a head holds boxes, as ``Yolo`` names it; "" where it is no such table.

    Args:
        decode: The head.
        output: The output's name; "" for the one that holds the boxes.
    """
    layout = str(getattr(decode, "layout", ""))
    is_table = layout in TABLE_LAYOUTS and output in {"", getattr(decode, "output", "")}
    return layout if is_table else ""


def head_text(decode: Decode) -> str:
    """A head in words: ``yolo v8``, ``anchor_free yunet``, ``classify``."""
    detail = getattr(decode, "layout", "") or getattr(decode, "variant", "")
    return f"{decode.__struct_config__.tag} {detail}".strip()


class Parity(Part, frozen=True, kw_only=True):
    """How closely an output follows the PyTorch reference on the verification pictures.

    Attributes:
        max_abs: The largest absolute difference.
        cosine: The smallest cosine over the pictures, after the reference's mean output is
            subtracted from both sides.
        snr_db: 10·log10 of the reference's centered power over the error's power, over all
            pictures.
    """

    max_abs: float
    cosine: float
    snr_db: float


class Quality(Part, frozen=True, kw_only=True):
    """A task's metric on labeled pictures, and the float model's on the same ones.

    Attributes:
        metric: Its name.
        value: Of the artifact.
        reference: Of the float model.
        low: Lower end of the 95 % interval of ``value`` over the choice of pictures.
        high: Upper end.
        samples: Number of pictures.
        data: Name of the data.
    """

    metric: str
    value: float
    reference: float
    low: float
    high: float
    samples: Count
    data: str


class Run(Part, frozen=True, kw_only=True):
    """One artifact on one engine at one precision, as measured at export.

    Attributes:
        engine: ``backend/precision`` such as ``openvino/bf16``.
        version: Of the engine.
        parity: By output name, compared with PyTorch on the verification pictures.
        golden_snr_db: By output name, compared with the golden outputs: what a device must reach,
            less the tolerance.
        agreement: Fraction of decoded results (of a detector: of boxes) that equal the reference's.
    """

    engine: str
    version: str
    parity: dict[str, Parity]
    golden_snr_db: dict[str, float]
    agreement: Unit = 1.0


Int8Target: TypeAlias = Literal["cpu", "openvino", "cpu-rr", "trt"]
Target: TypeAlias = Literal["any", Int8Target]
TARGETS: tuple[Target, ...] = get_args(Target)
REDUCED_RANGE: Int8Target = "cpu-rr"
"""The INT8 form for processors whose sums of byte products saturate; all others are full-range."""


class Artifact(Part, frozen=True, kw_only=True):
    """What an engine can load: one file, and others that belong to it in some formats.

    Attributes:
        file: The file that is opened.
        companions: Further files it consists of, with their sha256; an ONNX file has none.
        format: What kind of file it is. Engines say which they load (``Engine.formats``); one
            that no engine here knows is never a candidate.
        precision: What its weights are.
        target: ``any`` (float), ``cpu`` (unsigned activations), ``openvino`` (the same, not
            rounded between a layer and its activation), ``cpu-rr`` (reduced-range weights),
            ``trt`` (signed, symmetric).
        sha256: Of ``file``.
        bytes: Size of ``file``.
        runs: What export measured, per engine and precision.
        quality: What labeled images say of it, if there were any.
    """

    file: FileName
    companions: dict[FileName, Sha256] = {}
    format: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,30}$")] = "onnx"
    precision: Literal["fp32", "fp16", "int8"]
    target: Target = "any"
    sha256: Sha256
    bytes: Count
    runs: tuple[Run, ...] = ()
    quality: Quality | None = None


def artifact_name(file: str) -> str:
    """The short name of an artifact's file: ``model.int8-cpu.onnx`` → ``int8-cpu``."""
    return file.removeprefix("model.").rpartition(".")[0] or file


class Golden(Part, frozen=True, kw_only=True):
    """Inputs and reference outputs for the self-test, in one .npz without pickles.

    Its arrays are ``pixels`` uint8[count,height,width,3] BGR, and ``output.NAME`` for each output
    of the PyTorch model, float32[count,…].

    Attributes:
        file: The .npz.
        sha256: Of the file.
        bytes: Size of the file.
        count: Number of pictures.
        pictures: Where the pictures come from.
    """

    file: FileName
    sha256: Sha256
    bytes: Count
    count: Positive
    pictures: Literal["given", "calibration", "checkpoint", "synthetic"]


class Provenance(Part, frozen=True, kw_only=True):
    """Where the bundle comes from, so that it can be made again.

    Attributes:
        source: Name of the model file.
        source_sha256: Of the model file.
        created: When it was exported, ISO 8601.
        command: The command that exported it.
        versions: Of Python and the packages, by name.
        calibration_sha256: Of the calibration pictures; None without INT8.
        calibration_count: Number of calibration pictures.
    """

    source: str
    source_sha256: Sha256
    created: str
    command: str
    versions: dict[str, str]
    calibration_sha256: Sha256 | None = None
    calibration_count: Count = 0


class Output(Part, frozen=True, kw_only=True):
    """One output tensor of every artifact.

    Attributes:
        name: In the graph.
        dtype: Such as ``float32``.
        shape: Its sizes; None is the batch.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    @property
    def batch_axis(self) -> int:
        """Which axis is the batch: the one without a size, else the first."""
        return self.shape.index(None) if None in self.shape else 0

    @property
    def item_shape(self) -> tuple[int | None, ...]:
        """The shape of one picture's output, without the batch axis."""
        return (*self.shape[: self.batch_axis], *self.shape[self.batch_axis + 1 :])


class ModelSpec(Part, frozen=True, kw_only=True):
    """What a model takes and returns: all that preparing its input and decoding its outputs needs.

    Attributes:
        task: What a result is, by its name in ``tasks.TASKS``.
        input: How a frame becomes the artifact's input.
        outputs: The output tensors of every artifact.
        decode: How the outputs become a result.
        head_origin: Who says that ``decode`` is right: the user or the model file (``given``), or
            export by the shapes and values of the outputs (``guessed``).
        labels: Class names in class order; empty where the task has none.
        batch: Batch sizes the artifacts take; None means any.
    """

    task: TaskName
    input: Input
    outputs: tuple[Output, ...]
    decode: Decode
    labels: tuple[str, ...]
    batch: Annotated[tuple[Positive, ...], Meta(min_length=1)] | None
    head_origin: Literal["given", "guessed"] = "given"

    @property
    def smallest_batch(self) -> int:
        """The smallest batch the artifacts take."""
        return min(self.batch) if self.batch else 1

    def batch_for(self, frames: int) -> int | None:
        """The smallest batch the artifacts take with room for ``frames``; None without one."""
        if self.batch is None:
            return frames
        return min((size for size in self.batch if size >= frames), default=None)

    def largest_batch(self, frames: int) -> int:
        """The largest batch the artifacts take of at most ``frames``, or else their smallest."""
        if self.batch is None:
            return frames
        return max((size for size in self.batch if size <= frames), default=min(self.batch))

    @property
    def score_threshold(self) -> float:
        """The score below which the decoder drops detections; 0.0 if it drops none."""
        return float(getattr(self.decode, "score", 0.0))


class Manifest(Part, frozen=True, kw_only=True):
    """The whole of manifest.json.

    Attributes:
        schema: SCHEMA_VERSION; an older one is upgraded when it is read.
        name: The bundle's name, without ``.edge``.
        model: What the model takes and gives.
        artifacts: The files engines load.
        golden: The inputs and outputs of the self-test.
        provenance: Where the bundle came from.
        files: Every other file of the bundle (the report), by name.
    """

    schema: int
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$", max_length=100)]
    model: ModelSpec
    artifacts: Annotated[tuple[Artifact, ...], Meta(min_length=1)]
    golden: Golden
    provenance: Provenance
    files: dict[FileName, Sha256] = {}


def upgrade(plain: Any, version: int) -> Any:
    """A decoded manifest of an older schema in today's shape; unknown keys are left as they are.

    Args:
        plain: The content of ``manifest.json``.
        version: Its schema version. Version 1 had the model's keys at the top.
    """
    if version == SCHEMA_VERSION or not isinstance(plain, dict):
        return plain
    keys = ModelSpec.__struct_fields__
    model = {key: plain[key] for key in keys if key in plain}
    rest = {key: value for key, value in plain.items() if key not in model}
    return {**rest, "schema": SCHEMA_VERSION, "model": model}
