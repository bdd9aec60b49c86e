"""The values that flow through the runtime: frozen, documented, without behavior.

Coordinates are float pixels of the frame the model was given, origin at the top left corner of
the top left pixel, x to the right, y down. Scores are probabilities, 0..1. Times are seconds on
the ``time.monotonic()`` clock unless a field says otherwise.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "UNSEEN", "Box", "ClassMap", "Classification", "Decision", "Detection", "Embedding", "Event",
    "EventType", "Floats", "Frame", "FrameResult", "InstanceMask", "Keypoint", "Observation",
    "Pixels", "Point", "PoseDetection", "Reading", "Result", "RotatedBox", "RotatedDetection",
    "Skeleton", "Tensors", "Timings", "Track", "TrackState",
]  # fmt: skip

Pixels: TypeAlias = NDArray[np.uint8]
"""uint8[H,W,3] (one picture) or uint8[N,H,W,3] (a batch), BGR, C-contiguous rows."""

Floats: TypeAlias = NDArray[np.float32]
Tensors: TypeAlias = dict[str, NDArray[Any]]
"""Output tensors by the name they have in the graph."""


class Frame(msgspec.Struct, frozen=True):
    """One picture from a source.

    Attributes:
        pixels: uint8[H,W,3] BGR, read-only: every receiver sees the same array. Never written to
            again, so it may be held as long as needed.
        index: 0, 1, 2 … in the order the source delivered; gaps mean dropped frames.
        captured: When the camera took it, on the monotonic clock: the stream's own time stamp
            plus the smallest offset to the monotonic clock seen since connecting. For files, the
            time the frame is due when played at its own rate.
        pts: The stream's time stamp in seconds since its start, None where there is none.
        source: What was opened, with any password removed.
        live: Whether it shows what happens now, so that its age counts: a camera's frame, or that
            of a file that is played in real time.
        file: Path of the picture, where the source is pictures; empty otherwise.
        connection: How often its camera had been opened before: whoever follows objects from frame
            to frame begins anew when it changes.
    """

    pixels: Pixels
    index: int
    captured: float
    pts: float | None
    source: str
    live: bool = False
    file: str = ""
    connection: int = 0


class Box(NamedTuple):
    """An axis-aligned rectangle by two corners; x2 and y2 are exclusive edges."""

    x1: float
    y1: float
    x2: float
    y2: float


Point: TypeAlias = tuple[float, float]


class Classification(msgspec.Struct, frozen=True):
    """The result of a ``classify`` model.

    Attributes:
        label: Name of the best class.
        index: Its number.
        score: Its probability.
        scores: float32[classes], the probabilities of all classes by number; owned by the
            receiver.
    """

    label: str
    index: int
    score: float
    scores: Floats


class Detection(msgspec.Struct, frozen=True):
    """One object in the result of a ``detect`` model, which is a list of them, best first.

    Attributes:
        box: In pixels of the frame.
        score: Its probability.
        label: Name of its class.
        index: Number of its class.
        points: Landmarks or corners in frame pixels, in the order the model was trained with
            (five-point faces: right eye, left eye, nose, right and left mouth corner); empty
            without.
        corners: Of an object that may be turned, the four corners of its rotated box, from the
            upper left one of the object on, clockwise; empty where the box is all there is.
        shape: The result of a task with more than a box that this is the box of, as its model gave
            it; None for a ``detect`` model's own.
    """

    box: Box
    score: float
    label: str
    index: int
    points: tuple[Point, ...] = ()
    corners: tuple[Point, ...] = ()
    shape: "PoseDetection | RotatedDetection | InstanceMask | None" = None


class Keypoint(NamedTuple):
    """A named place on an object, such as a wrist.

    Attributes:
        x: In pixels of the frame; it may lie outside.
        y: Likewise.
        score: The probability that it is visible; 1.0 where the model does not tell.
    """

    x: float
    y: float
    score: float


Skeleton: TypeAlias = tuple[tuple[int, int], ...]
"""The pairs of keypoints, by their numbers, that a line joins."""


class PoseDetection(msgspec.Struct, frozen=True):
    """One object in the result of a ``pose`` model, which is a list of them, best first.

    Attributes:
        box: In pixels of the frame.
        score: Its probability.
        label: Name of its class.
        index: Number of its class.
        keypoints: In the order the model was trained with.
        skeleton: That of the model; all its results share it.
    """

    box: Box
    score: float
    label: str
    index: int
    keypoints: tuple[Keypoint, ...]
    skeleton: Skeleton = ()


class RotatedBox(NamedTuple):
    """A rectangle that may be turned.

    Attributes:
        x: Its center, in pixels of the frame.
        y: Likewise.
        width: Its longer side.
        height: Its shorter side.
        angle: From the x axis to its longer side, in radians, clockwise as it is seen (y points
            down): -π/2 ≤ angle < π/2.
    """

    x: float
    y: float
    width: float
    height: float
    angle: float


class RotatedDetection(msgspec.Struct, frozen=True):
    """One object in the result of an ``obb`` model, which is a list of them, best first.

    Attributes:
        rotated_box: In pixels of the frame; it may reach beyond it.
        score: Its probability.
        label: Name of its class.
        index: Number of its class.
    """

    rotated_box: RotatedBox
    score: float
    label: str
    index: int


class InstanceMask(msgspec.Struct, frozen=True):
    """One object in the result of a ``segment`` model of instances, which is a list, best first.

    Attributes:
        box: In pixels of the frame.
        score: Its probability.
        label: Name of its class.
        index: Number of its class.
        mask: bool[h,w], which pixels show it, of the part of the frame that its box covers, at
            least one pixel. Owned by the receiver.
        origin: x, y of the mask's first pixel in the frame.
        size: Height and width of the frame, in pixels.
    """

    box: Box
    score: float
    label: str
    index: int
    mask: NDArray[np.bool_]
    origin: tuple[int, int]
    size: tuple[int, int]


UNSEEN = 255
"""In a class map: the model did not look at this pixel. Data sets use it likewise."""


class ClassMap(msgspec.Struct, frozen=True):
    """The result of a ``segment`` model that gives every pixel a class.

    Attributes:
        classes: uint8[H,W], the class number of each pixel of the frame; UNSEEN where the model
            did not look. Owned by the receiver.
        labels: Class names by class number; all results of a model share them.
    """

    classes: NDArray[np.uint8]
    labels: tuple[str, ...]


class Reading(msgspec.Struct, frozen=True):
    """The result of an ``ocr`` model: a line of text.

    Attributes:
        text: Empty where there is none.
        score: The smallest of the characters' probabilities; 1.0 for an empty text.
        char_scores: The probability of each character of ``text``.
        alternatives: For each of them, which others it may be, with their probabilities; empty
            where a model tells none.
    """

    text: str
    score: float
    char_scores: tuple[float, ...] = ()
    alternatives: tuple[Mapping[str, float], ...] = ()


class Embedding(msgspec.Struct, frozen=True):
    """The result of an ``embed`` model: a feature vector.

    Attributes:
        vector: float32[D]; of unit L2 length where the manifest says ``normalize``. Owned by the
            receiver.
    """

    vector: Floats


Result: TypeAlias = (
    Classification
    | list[Detection]
    | list[PoseDetection]
    | list[RotatedDetection]
    | list[InstanceMask]
    | ClassMap
    | Reading
    | Embedding
)
"""What ``model(frame)`` gives, by the task of the bundle."""


class Timings(msgspec.Struct, frozen=True):
    """Seconds that one frame spent on its way to a result.

    Attributes:
        wait: From its capture until the engine was free for it and it was converted to BGR and
            masked, which of a live stream happens only then; 0.0 for a frame without an age.
        prepare: Resizing the frame into the engine's input buffer.
        infer: In the engine.
        decode: Decoding the output tensors to a result.
    """

    wait: float
    prepare: float
    infer: float
    decode: float

    @property
    def total(self) -> float:
        """Seconds from the start of its inference to its result."""
        return self.prepare + self.infer + self.decode


class FrameResult(msgspec.Struct, frozen=True):
    """A frame and the model's result for it.

    Attributes:
        frame: The frame that the model was given.
        task: The model's task, a key of ``tasks.TASKS``: how the result is read, drawn and counted.
        result: The model's result, its coordinates in pixels of ``frame``.
        age: Seconds from the frame's capture to its result; None for a file that is not played
            in real time, whose frames have no age.
        timings: Where the time went.
    """

    frame: Frame
    task: str
    result: Result
    age: float | None
    timings: Timings


TrackState: TypeAlias = Literal["tentative", "confirmed", "lost", "ended"]
"""Of a track: seen too rarely to be believed, seen now, not seen now but expected back, over."""


class Track(msgspec.Struct, frozen=True):
    """One object followed over the frames of a camera, as it stands after one of them.

    Attributes:
        id: Greater than that of every earlier track of this tracker; never used again.
        state: "ended" in exactly one update, the last one that has this track.
        detection: The last one that belongs to it, as the detector gave it.
        box: Where it is now, in frame pixels: as detected in this frame, predicted while lost.
        velocity: Of the center of its box, in pixels per second.
        first: When it was seen first, on the monotonic clock.
        last: When it was seen last.
        hits: How many detections belong to it.
    """

    id: int
    state: TrackState
    detection: Detection
    box: Box
    velocity: tuple[float, float]
    first: float
    last: float
    hits: int


class Observation(msgspec.Struct, frozen=True):
    """What the second model says of one crop of a track.

    Attributes:
        track: The track's id.
        result: Of the second model.
        quality: How much the crop can be believed, 0..1: size, sharpness, brightness and pose.
        captured: When its frame was taken, on the monotonic clock.
        crop: uint8[H,W,3] BGR, the object and a little around it as the frame shows them: the
            evidence. Owned by the receiver.
        frame: The frame that it was cut from.
        box: Where the track was in it, in pixels.
        boxes: Where every track was in it, this one too, for whatever hides them.
    """

    track: int
    result: Result
    quality: float
    captured: float
    crop: Pixels
    frame: Frame
    box: Box
    boxes: tuple[Box, ...] = ()


class Decision(msgspec.Struct, frozen=True):
    """What the observations of one track agree on.

    Attributes:
        text: The text, or the name of the class; empty for an embedding.
        score: How sure it is, 0..1.
        part_scores: The same per character of a text; empty otherwise.
        votes: How many observations it rests on.
        best: The observation with the best crop among those that agree with it: the evidence.
        vector: float32[D], unit length, where the observations are embeddings.
        details: More for the event, of plain JSON values.
    """

    text: str
    score: float
    part_scores: tuple[float, ...]
    votes: int
    best: Observation
    vector: Floats | None = None
    details: Mapping[str, Any] = {}


EventType: TypeAlias = Literal["entered", "recognized", "crossed", "present", "left", "camera"]
"""What happened: "camera" is a change of a camera's own state, all others are about a track."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened in front of a camera, or to it.

    Attributes:
        id: 32 hexadecimal digits, unique everywhere and ascending with time (UUID version 7).
        type: What happened.
        camera: The camera's name.
        time: When the frame that shows it was taken, in seconds since 1970, UTC.
        age: Seconds between that moment and this event; None for a file that is not played in
            real time.
        track: The id of the track; None where there is none.
        label: The name of the class that the detector gave it.
        text: What was read, or the class that the second model gave it.
        name: Who or what a gallery or watch list says it is.
        score: Of the text or name where there is one, otherwise of the detection; 0..1.
        part_scores: Per character of the text; empty otherwise.
        box: In pixels of the frame.
        relative_box: The same as fractions of the frame's width and height.
        zone: The zone that it happened in.
        line: The line that was crossed.
        direction: Which way: "in" or "out".
        seconds: How long the track has been seen.
        model: The sha256 of the bundle that decided.
        choice: The artifact, engine and precision that ran it.
        evidence: The evidence files by what they show: "crop", "frame". Names relative to the
            folder of the outbox, once it holds the event.
        images: uint8[H,W,3] BGR by the same names: the pixels until they are files. Never
            serialized.
        boxes: Where all tracks are in images["frame"], in its pixels, so that they can be blurred.
            Never serialized.
        details: More, of plain JSON values, such as the states of a camera before and after.
    """

    id: str
    type: EventType
    camera: str
    time: float
    age: float | None = None
    track: int | None = None
    label: str = ""
    text: str = ""
    name: str = ""
    score: float = 0.0
    part_scores: tuple[float, ...] = ()
    box: Box | None = None
    relative_box: Box | None = None
    zone: str = ""
    line: str = ""
    direction: str = ""
    seconds: float = 0.0
    model: str = ""
    choice: str = ""
    evidence: Mapping[str, str] = {}
    images: Mapping[str, Pixels] = {}
    boxes: tuple[Box, ...] = ()
    details: Mapping[str, Any] = {}
