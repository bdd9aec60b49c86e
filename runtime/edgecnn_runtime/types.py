"""The values that flow through the runtime: frozen, documented, without behavior.

Coordinates are float pixels of the frame the model was given, origin at the top left corner of
the top left pixel, x to the right, y down. Scores are probabilities, 0..1. Times are seconds on
the ``time.monotonic()`` clock unless a field says otherwise.
"""

from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Box", "Classification", "Detection", "Embedding", "Floats", "Frame", "FrameResult", "Pixels",
    "Point", "Reading", "Result", "Tensors", "Timings",
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
    """

    pixels: Pixels
    index: int
    captured: float
    pts: float | None
    source: str
    live: bool = False
    file: str = ""


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
    """

    box: Box
    score: float
    label: str
    index: int
    points: tuple[Point, ...] = ()


class Reading(msgspec.Struct, frozen=True):
    """The result of an ``ocr`` model: a line of text.

    Attributes:
        text: Empty where there is none.
        score: The smallest of the characters' probabilities; 1.0 for an empty text.
        char_scores: The probability of each character of ``text``.
    """

    text: str
    score: float
    char_scores: tuple[float, ...] = ()


class Embedding(msgspec.Struct, frozen=True):
    """The result of an ``embed`` model: a feature vector.

    Attributes:
        vector: float32[D]; of unit L2 length where the manifest says ``normalize``. Owned by the
            receiver.
    """

    vector: Floats


Result: TypeAlias = Classification | list[Detection] | Reading | Embedding
"""What ``model(frame)`` gives, by the task of the bundle."""


class Timings(msgspec.Struct, frozen=True):
    """Seconds that one frame spent on its way to a result.

    Attributes:
        wait: From its capture until the engine was free for it; 0.0 for a frame without an age.
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
