"""How a 16:9 camera's frame becomes the network's input, as a drawing."""

from dataclasses import dataclass

from edgecnn_runtime.bundle.manifest import Input
from edgecnn_runtime.preprocess import compute_geometry

FRAME = (1920, 1080)
FRAME_SCALE = 300 / FRAME[0]
INPUT_SIDE = 170.0
"""Longest side of the network's input in the drawing."""


@dataclass(frozen=True)
class Rect:
    """A rectangle in drawing units."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class InputDiagram:
    """The drawing's rectangles and text.

    Attributes:
        frame: The camera's frame.
        read: The part of it that is read.
        input: The network's input.
        filled: The part of it that the frame fills.
        pad: The color of the rest, in CSS.
        words: The same as one line of text.
    """

    frame: Rect
    read: Rect
    input: Rect
    filled: Rect
    pad: str
    words: str


def input_diagram(spec: Input) -> InputDiagram:
    """The frame at the left, the network's input 420 units to the right."""
    geometry = compute_geometry(spec, *FRAME)
    x1, y1, x2, y2 = (value * FRAME_SCALE for value in geometry.source)
    scale = INPUT_SIDE / max(spec.width, spec.height)
    left, top, right, bottom = (value * scale for value in geometry.target)
    width, height = spec.width * scale, spec.height * scale
    frame = Rect(0, 0, FRAME[0] * FRAME_SCALE, FRAME[1] * FRAME_SCALE)
    at_y = (frame.height - height) / 2
    blue, green, red = spec.pad
    shrunk = float(geometry.gain[:2].min())
    words = {
        "stretch": "the whole frame, stretched",
        "letterbox": f"the whole frame, its shape kept, {_bars(spec, geometry.target)}",
        "crop": "the center of the frame, its shape kept",
    }[spec.resize]
    return InputDiagram(
        frame=frame,
        read=Rect(x1, y1, x2 - x1, y2 - y1),
        input=Rect(420, at_y, width, height),
        filled=Rect(420 + left, at_y + top, right - left, bottom - top),
        pad=f"rgb({red},{green},{blue})",
        words=f"{words}; {spec.interpolation} interpolation, shrunk {shrunk:.1f} times",
    )


def _bars(spec: Input, target: tuple[int, int, int, int]) -> str:
    beside = target[2] - target[0] < spec.width
    if not beside and target[3] - target[1] == spec.height:
        return "no bars needed"
    places = {
        (True, "center"): "at its sides",
        (False, "center"): "above and below",
        (True, "corner"): "at its right",
        (False, "corner"): "below it",
    }
    return f"bars {places[beside, spec.pad_position]}"
