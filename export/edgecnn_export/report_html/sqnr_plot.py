"""SQNR of every layer as a drawing: before and after layers returned to float."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgecnn_export.quantization.report import LayerReport

WIDTH, HEIGHT = 900.0, 180.0
STEP_DB = 20
TOP_DB = 80.0
"""The top of the drawing: a layer with less error is drawn here."""


@dataclass(frozen=True)
class Dot:
    """One layer: its place, and the SQNR of its output before and after, in drawing units."""

    x: float
    before: float
    after: float
    in_float: bool
    label: str


@dataclass(frozen=True)
class Plot:
    """The drawing.

    Attributes:
        dots: The layers in the order of the network.
        rules: (y, dB) of the horizontal lines.
        width: In drawing units.
        height: In drawing units.
    """

    dots: tuple[Dot, ...]
    rules: tuple[tuple[float, int], ...]
    width: float = WIDTH
    height: float = HEIGHT

    def path(self, which: str) -> str:
        """``before`` or ``after`` as the points of an SVG polyline."""
        return " ".join(f"{dot.x:.1f},{getattr(dot, which):.1f}" for dot in self.dots)


def sqnr_plot(layers: Sequence["LayerReport"]) -> Plot:
    """Place the layers, in the order of the network."""
    values = [layer.before_db for layer in layers] + [layer.after_db for layer in layers]
    low = min(0.0, *(STEP_DB * (value // STEP_DB) for value in values))
    high = min(TOP_DB, STEP_DB * (max(values) // STEP_DB + 1))

    def y(value: float) -> float:
        return HEIGHT * (1 - (min(max(value, low), high) - low) / (high - low))

    space = WIDTH / max(len(layers), 1)
    dots = tuple(
        Dot(
            x=(index + 0.5) * space,
            before=y(layer.before_db),
            after=y(layer.after_db),
            in_float=layer.in_float,
            label=f"{layer.name}: {layer.before_db:.1f} dB, {layer.after_db:.1f} dB",
        )
        for index, layer in enumerate(layers)
    )
    levels = range(int(low), int(high) + 1, STEP_DB)
    return Plot(dots, tuple((y(level), level) for level in levels))
