"""The little SVG that the report's charts are made of: scales, ticks and escaped elements.

Colors and fonts are CSS classes of the page, so that one drawing serves light and dark. Elements
are ``Markup``: a page's template takes them as they are, and what is put into them is escaped.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH = 880.0
"""Every chart's width in user units; the page scales it."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Values to user units: linear, or logarithmic where ``log``; low < high, both > 0 if log."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The position of a value in user units; values beyond an end are put at that end."""
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(max(value, 1e-12))
        share = (at - low) / (high - low) if high > low else 0.5
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def ticks(self, count: int = 6) -> list[float]:
        """Round values inside the scale, some ``count`` of them."""
        return _log_ticks(self.low, self.high) if self.log else _ticks(self.low, self.high, count)


def log_scale(values: Iterable[float], start: float, end: float) -> Scale:
    """A logarithmic scale with a little room around the positive values."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = min(positive) / 1.15, max(positive) * 1.15
    return Scale(low, max(high, low * 1.5), start, end, log=True)


def linear_scale(high: float, start: float, end: float) -> Scale:
    """From zero to a little beyond ``high``."""
    return Scale(0.0, high * 1.04 or 1.0, start, end)


def short(value: float) -> str:
    """A tick's label: 0.05, 2.5, 40, 1,200."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> Markup:
    """Words at a point.

    Args:
        x: Horizontal position in user units.
        y: Baseline in user units.
        words: The text.
        style: CSS classes.
        anchor: Which part of the words is at ``x``: start, middle or end.
    """
    return Markup('<text x="{:.1f}" y="{:.1f}" class="{}" text-anchor="{}">{}</text>').format(
        x, y, style, anchor, words
    )


def rect(x: float, y: float, width: float, height: float, style: str, *, tip: str = "") -> Markup:
    """A rectangle; ``tip`` is shown while the pointer is on it."""
    return Markup(
        '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="{}">{}</rect>'
    ).format(x, y, max(width, 0.5), height, style, _title(tip))


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> Markup:
    """A straight line."""
    return Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>').format(
        x1, y1, x2, y2, style
    )


def circle(x: float, y: float, radius: float, style: str, *, tip: str = "") -> Markup:
    """A disc; ``tip`` is shown while the pointer is on it."""
    return Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{:.1f}" class="{}">{}</circle>').format(
        x, y, radius, style, _title(tip)
    )


def path(points: Sequence[tuple[float, float]], style: str, *, close: bool = False) -> Markup:
    """Straight lines through the points."""
    steps = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return Markup('<path d="M{}{}" class="{}"/>').format(steps, "Z" if close else "", style)


def axis_x(scale: Scale, top: float, bottom: float, unit: str) -> Markup:
    """Grid lines from top to bottom, with their values below."""
    parts = []
    for tick in scale.ticks():
        x = scale(tick)
        parts.append(line(x, top, x, bottom, "grid"))
        parts.append(text(x, bottom + 16, short(tick), "tick", "middle"))
    parts.append(text(scale.end, bottom + 32, unit, "tick", "end"))
    return join(parts)


def axis_y(scale: Scale, left: float, right: float, suffix: str = "") -> Markup:
    """Grid lines from left to right, with their values before them."""
    parts = []
    for tick in scale.ticks(4):
        y = scale(tick)
        parts.append(line(left, y, right, y, "grid"))
        parts.append(text(left - 8, y + 4, short(tick) + suffix, "tick", "end"))
    return join(parts)


def legend(entries: Iterable[tuple[str, str]], x: float, y: float) -> Markup:
    """Colored squares with names, in one line.

    Args:
        entries: CSS class and name of each.
        x: Left end in user units.
        y: Baseline in user units.
    """
    parts = []
    for style, name in entries:
        parts += [rect(x, y - 9, 10, 10, style), text(x + 15, y, name, "tick")]
        x += 34 + 6.6 * len(name)
    return join(parts)


def svg(height: float, parts: Iterable[Markup], label: str) -> Markup:
    """The drawing as an element; a screen reader reads ``label``."""
    return Markup('<svg viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, height, label, join(parts)
    )


def join(parts: Iterable[Markup]) -> Markup:
    """Elements one after the other."""
    return Markup("").join(parts)


def _title(tip: str) -> Markup:
    return Markup("<title>{}</title>").format(tip) if tip else Markup("")


def _ticks(low: float, high: float, count: int) -> list[float]:
    raw = (high - low) / max(count, 1)
    if raw <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * nice for nice in (1, 2, 2.5, 5, 10) if power * nice >= raw)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        ticks = [10.0**d * step for d in decades for step in steps if low <= 10.0**d * step <= high]
        if len(ticks) >= 4:
            return ticks
    return ticks
