"""The report's charts of what happened meanwhile: rounds, sustained runs, and other hosts."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from edgecnn_bench import svg as shapes
from edgecnn_bench.charts import LEFT, STEP, color
from edgecnn_bench.schema import BenchReport, BenchRow, Sustained, Window
from edgecnn_bench.svg import WIDTH, Scale, svg
from edgecnn_bench.table import milliseconds

CELL = 16.0
SHADES = 4
"""Steps of color on either side of a row's median."""
FULL = 0.20
"""A deviation of this share takes the strongest color."""


def rounds(report: BenchReport) -> Markup:
    """A cell per row and round: how far its p50 was from the row's own median.

    A column of one color is the machine; a single cell is that row. The reference workload is on
    top; the cores that other programs used are at the bottom.
    """
    moments = report.machine.moments
    step = min(26.0, (WIDTH - LEFT - 20) / len(moments))
    reference = [moment.reference_ms for moment in moments]
    lines = [("reference workload", dict(enumerate(reference)))]
    lines += [(_name(row), {s.round: s.p50_ms for s in row.slots}) for row in report.rows]
    parts, y = [], 20.0
    for name, values in lines:
        middle = float(np.median(list(values.values())))
        parts.append(shapes.text(LEFT - 14, y + 12, name, "sub", "end"))
        for number, value in values.items():
            tip = f"round {number + 1}: {milliseconds(value)} ms, {value / middle - 1:+.0%}"
            shade = _shade(value / middle - 1)
            parts.append(shapes.rect(LEFT + number * step, y, step - 1, CELL - 1, shade, tip=tip))
        y += CELL + (6 if name == "reference workload" else 0)
    busy = Scale(0.0, max(1.0, *(m.others_cores for m in moments)), 0.0, 30.0)
    y += 40
    parts.append(shapes.text(LEFT - 14, y - 6, "cores busy with other programs", "sub", "end"))
    parts.append(shapes.line(LEFT, y, LEFT + step * len(moments), y, "baseline"))
    for number, moment in enumerate(moments):
        height = busy(moment.others_cores)
        tip = f"round {number + 1}: {moment.others_cores:.2f} cores"
        parts.append(
            shapes.rect(LEFT + number * step, y - height, step - 1, height, "others", tip=tip)
        )
    key = [("faster4", "20 % faster"), ("flat", "as usual"), ("slower4", "20 % slower")]
    parts.append(shapes.legend(key, LEFT, 10))
    return svg(y + 12, parts, "every row in every round, against its own median")


def sustained(run: Sustained) -> Markup:
    """p50 over time with p95 above it, then temperature, clock and power where known."""
    windows = run.windows
    x = shapes.linear_scale(windows[-1].at_seconds / 60, 60, WIDTH - 20)
    high = float(np.percentile([w.p95_ms for w in windows], 98))
    y = Scale(0.0, high * 1.1, 220, 14)
    minutes = [w.at_seconds / 60 for w in windows]
    upper = [(x(t), y(w.p95_ms)) for t, w in zip(minutes, windows, strict=True)]
    lower = [(x(t), y(w.p50_ms)) for t, w in zip(minutes, windows, strict=True)]
    parts = [shapes.axis_y(y, 60, WIDTH - 20), shapes.text(16, 10, "ms", "tick")]
    parts += [
        shapes.path([*upper, *reversed(lower)], "band", close=True),
        shapes.path(lower, "curve"),
    ]
    if run.steady_seconds:
        at = x(run.steady_seconds / 60)
        parts += [
            shapes.line(at, 14, at, 220, "edge"),
            shapes.text(at + 6, 26, "steady from here", "sub"),
        ]
    bottom = 220.0
    for name, unit, values in _conditions(windows):
        scale = Scale(min(values) * 0.98, max(values) * 1.02 or 1.0, bottom + 62, bottom + 18)
        points = [(x(t), scale(v)) for t, v in zip(minutes, values, strict=True)]
        parts += [shapes.path(points, "condition"), shapes.text(60, bottom + 14, name, "sub")]
        parts.append(shapes.text(WIDTH - 20, bottom + 14, f"{values[-1]:.0f} {unit}", "sub", "end"))
        bottom += 66
    parts.append(shapes.axis_x(x, 14, bottom, "minutes"))
    return svg(bottom + 40, parts, f"{run.key} over {run.minutes:g} minutes")


def hosts(reports: Sequence[BenchReport]) -> Markup:
    """The same row on each host, one bar per host; only rows that at least two hosts have."""
    names = host_names(reports)
    work: dict[str, dict[str, BenchRow]] = {}
    for report, name in zip(reports, names, strict=True):
        for row in report.rows:
            work.setdefault(_name(row), {})[name] = row
    shared = {key: rows for key, rows in work.items() if len(rows) > 1}
    if not shared:
        return Markup("")
    values = [r.latency.p50.value / r.batch for rows in shared.values() for r in rows.values()]
    x = shapes.log_scale(values, LEFT, WIDTH - 70)
    order = list(dict.fromkeys(names))
    parts = [shapes.legend([(color(name, order), name) for name in order], 14, 12)]
    y = 30.0
    for key, rows in shared.items():
        parts.append(shapes.text(LEFT - 14, y + 8 * len(rows) + 2, key, "sub", "end"))
        for name, row in rows.items():
            value = row.latency.p50.value / row.batch
            style = f"bar {color(name, order)}"
            parts.append(shapes.rect(LEFT, y, x(value) - LEFT, 14, style, tip=f"{name}\n{row.key}"))
            parts.append(shapes.text(x(value) + 7, y + 11, milliseconds(value), "sub"))
            y += 16
        y += STEP / 3
    parts.insert(1, shapes.axis_x(x, 22, y, "p50, milliseconds per frame, logarithmic"))
    return svg(y + 40, parts, "the same rows on every host")


def energy(rows: Sequence[BenchRow]) -> Markup:
    """A bar per row: energy per frame, with the average power."""
    known = [row for row in rows if row.energy]
    most = max(row.energy.joules_per_frame for row in known if row.energy)
    x = shapes.linear_scale(1000 * most, LEFT, WIDTH - 130)
    bottom = STEP * 0.7 * len(known)
    parts = [shapes.axis_x(x, 0, bottom, "millijoules per frame")]
    for i, row in enumerate(known):
        assert row.energy is not None
        y, value = STEP * 0.7 * i + 5, 1000 * row.energy.joules_per_frame
        parts.append(shapes.text(LEFT - 14, y + 14, _name(row), "sub", "end"))
        parts.append(shapes.rect(LEFT, y, x(value) - LEFT, 20, f"bar {color(row.backend)}"))
        words = f"{value:.1f} mJ at {row.energy.watts:.1f} W"
        parts.append(shapes.text(x(value) + 8, y + 14, words, "sub"))
    return svg(bottom + 40, parts, "energy per frame")


def host_names(reports: Sequence[BenchReport]) -> list[str]:
    """A short name for each report's host; hosts of one name also get their id."""
    short = [report.host.board or report.host.cpu for report in reports]
    pairs = {(name, report.host.id) for name, report in zip(short, reports, strict=True)}
    shared = {name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1}
    return [
        f"{name} ({report.host.id[:4]})" if name in shared else name
        for name, report in zip(short, reports, strict=True)
    ]


def _conditions(windows: Sequence[Window]) -> list[tuple[str, str, list[float]]]:
    conditions = []
    fields = (("temperature", "°C", "celsius"), ("clock", "MHz", "mhz"), ("power", "W", "watts"))
    for name, unit, field in fields:
        values = [getattr(window, field) for window in windows]
        if None not in values:
            conditions.append((name, unit, values))
    return conditions


def _name(row: BenchRow) -> str:
    batch = f", b{row.batch}" if row.batch != 1 else ""
    scope = "" if row.scope == "engine" else f"{row.scope}, "
    return f"{scope}{row.artifact} · {row.backend}/{row.precision}, t{row.threads}{batch}"


def _shade(deviation: float) -> str:
    level = round(min(1.0, abs(deviation) / FULL) * SHADES)
    return f"{'slower' if deviation > 0 else 'faster'}{level}" if level else "flat"
