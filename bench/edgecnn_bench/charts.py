"""The report's charts of rows: side by side, as distributions, by stage, against accuracy."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from edgecnn_bench import svg as shapes
from edgecnn_bench.engines import TORCH
from edgecnn_bench.schema import STAGES, BenchRow
from edgecnn_bench.stats import GRID
from edgecnn_bench.svg import WIDTH, Scale, svg
from edgecnn_bench.table import milliseconds, number
from edgecnn_runtime.backends import BACKENDS

LEFT = 250.0
"""Room for a row's name."""
RIGHT = 130.0
"""Room for its numbers."""
STEP = 44.0
AGREEMENT = "agreement"
"""The metric of rows that were never compared with labels."""


def color(name: str, names: Sequence[str] | None = None) -> str:
    """The CSS class of a name's color; that of a backend is the same in every report."""
    names = [*BACKENDS, *TORCH] if names is None else names
    order = [*names, *([] if name in names else [name])]
    return f"c{order.index(name) % 8}"


def side_by_side(rows: Sequence[BenchRow]) -> Markup:
    """A bar per row: p50 with its interval, and p95 as a mark; the fastest on top."""
    slowest = max(_per_frame(row, row.latency.p95.value) for row in rows)
    x = shapes.linear_scale(slowest, LEFT, WIDTH - RIGHT)
    bottom = STEP * len(rows)
    parts = [shapes.axis_x(x, 0, bottom, "milliseconds per frame")]
    for i, row in enumerate(rows):
        y, latency = STEP * i + 8, row.latency
        p50, p95 = x(_per_frame(row, latency.p50.value)), x(_per_frame(row, latency.p95.value))
        low, high = x(_per_frame(row, latency.p50.low)), x(_per_frame(row, latency.p50.high))
        parts += [
            _name(row, y + 13),
            shapes.rect(LEFT, y, p50 - LEFT, 26, f"bar {color(row.backend)}", tip=_tip(row)),
            shapes.line(p50, y + 13, p95, y + 13, "tail"),
            shapes.line(p95, y + 7, p95, y + 19, "tail"),
            shapes.rect(low, y + 11, max(high - low, 1), 4, "interval"),
            *_figures(row, y + 13),
        ]
    return svg(bottom + 40, parts, "latency of every row, fastest first")


def distributions(rows: Sequence[BenchRow]) -> Markup:
    """A ridge per row on one logarithmic axis, with p50, p95 and p99 marked."""
    values = [_per_frame(row, q) for row in rows for q in (row.latency.min, row.latency.p99.value)]
    x = shapes.log_scale(values, LEFT, WIDTH - 20)
    bottom = STEP * len(rows) + 10
    parts = [shapes.axis_x(x, 0, bottom, "milliseconds per frame, logarithmic")]
    for i, row in enumerate(rows):
        base = STEP * (i + 1)
        parts += [_name(row, base - 12), shapes.line(LEFT, base, WIDTH - 20, base, "baseline")]
        parts.append(_ridge(row, x, base))
        for name in ("p50", "p95", "p99"):
            value = _per_frame(row, getattr(row.latency, name).value)
            at, tip = x(value), f"{name} {milliseconds(value)} ms"
            parts.append(shapes.rect(at - 1, base - 6, 2, 9, f"mark-{name}", tip=tip))
    return svg(bottom + 40, parts, "distribution of latencies, row by row")


def stages(rows: Sequence[BenchRow]) -> Markup:
    """A stacked bar per row: where a frame's time goes."""
    shown = [name for name in STAGES if any(name in row.stages_ms for row in rows)]
    longest = max(sum(row.stages_ms.values()) for row in rows)
    x = shapes.linear_scale(longest / rows[0].batch, LEFT, WIDTH - RIGHT)
    bottom = STEP * len(rows) + 24
    parts = [shapes.legend([(f"s-{name}", name) for name in shown], LEFT, 12)]
    parts.append(shapes.axis_x(x, 24, bottom, "milliseconds per frame"))
    for i, row in enumerate(rows):
        y, at = STEP * i + 32, 0.0
        parts.append(_name(row, y + 13))
        for name in shown:
            value = row.stages_ms.get(name, 0.0) / row.batch
            start, end = x(at), x(at + value)
            tip = f"{name} {value:.3f} ms"
            parts.append(shapes.rect(start, y, end - start, 26, f"s-{name}", tip=tip))
            if end - start > 52:
                words = f"{milliseconds(value)} ms"
                parts.append(shapes.text((start + end) / 2, y + 17, words, "inside", "middle"))
            at += value
        ours = sum(row.stages_ms.get(name, 0.0) for name in ("prepare", "decode")) / row.batch
        parts.append(shapes.text(WIDTH - RIGHT + 14, y + 11, f"{at:.2f} ms", "number"))
        parts.append(shapes.text(WIDTH - RIGHT + 14, y + 26, f"{ours:.2f} outside engine", "sub"))
    return svg(bottom + 40, parts, "time by stage")


def comparable(rows: Sequence[BenchRow]) -> list[BenchRow]:
    """The verified rows whose accuracy is by one metric: that of the task, else the agreement."""
    known = [(row, row.accuracy.metric) for row in rows if row.accuracy and row.verified]
    metrics = sorted({metric for _, metric in known}, key=lambda metric: metric == AGREEMENT)
    return [row for row, metric in known if metric == metrics[0]]


def frontier(rows: Sequence[BenchRow]) -> Markup:
    """Accuracy against latency; the line joins the rows that nothing beats on both."""
    points = [(_per_frame(r, r.latency.p50.value), r.accuracy.value, r) for r in rows if r.accuracy]
    x = shapes.log_scale([point[0] for point in points], 70, WIDTH - 180)
    low, high = min(p[1] for p in points), max(p[1] for p in points)
    room = max((high - low) * 0.2, 0.002)
    y = Scale(max(0.0, low - room), min(1.0, high + room / 2), 250, 14)
    metric = points[0][2].accuracy.metric if points[0][2].accuracy else ""
    metric = "agreement with PyTorch" if metric == AGREEMENT else metric
    parts = [
        shapes.axis_x(x, 14, 250, "milliseconds per frame, logarithmic"),
        shapes.axis_y(y, 70, WIDTH - 180),
    ]
    parts.append(shapes.text(WIDTH - 170, 22, metric, "tick"))
    best, edge = -1.0, []
    for latency, value, _ in sorted(points, key=lambda p: (p[0], -p[1])):
        if value > best:
            edge += [(x(latency), y(max(best, y.low))), (x(latency), y(value))]
            best = value
    edge.append((WIDTH - 180, y(best)))
    parts.append(shapes.path(edge[1:], "edge"))
    placed: list[float] = []
    for latency, value, row in sorted(points, key=lambda p: p[0]):
        at_x, at_y = x(latency), y(value)
        parts.append(shapes.circle(at_x, at_y, 6.5, f"dot {color(row.backend)}", tip=_tip(row)))
        if not any(abs(at_x - other) < 120 for other in placed):
            placed.append(at_x)
            parts.append(shapes.text(at_x + 11, at_y + 18, f"{row.artifact}, {row.backend}", "sub"))
    return svg(290, parts, "accuracy against latency")


def starts(rows: Sequence[BenchRow]) -> Markup:
    """Cold start in its parts, and resident memory beside it."""
    known = [row for row in rows if row.cold and row.memory]
    middle = LEFT + (WIDTH - LEFT) / 2
    seconds = shapes.linear_scale(max(r.cold.seconds for r in known if r.cold), LEFT, middle - 60)
    mib = shapes.linear_scale(max(r.memory.peak_mib for r in known if r.memory), middle, WIDTH - 60)
    bottom = STEP * len(known) + 24
    phases = [("s-capture", "import"), ("s-engine", "load"), ("s-decode", "first run")]
    parts = [
        shapes.legend(phases, LEFT, 12),
        shapes.legend([("memory", "resident"), ("mark-p95", "peak")], middle, 12),
        shapes.axis_x(seconds, 24, bottom, "seconds from process start"),
        shapes.axis_x(mib, 24, bottom, "MiB"),
    ]
    for i, row in enumerate(known):
        assert row.cold is not None
        assert row.memory is not None
        y, at = STEP * i + 32, 0.0
        parts.append(_name(row, y + 13))
        times = (row.cold.import_seconds, row.cold.load_seconds, row.cold.first_seconds)
        for (style, _), value in zip(phases, times, strict=True):
            parts.append(shapes.rect(seconds(at), y, seconds(at + value) - seconds(at), 26, style))
            at += value
        parts.append(shapes.text(seconds(at) + 8, y + 17, f"{row.cold.seconds:.2f} s", "number"))
        peak = mib(row.memory.peak_mib)
        parts.append(shapes.rect(middle, y, mib(row.memory.resident_mib) - middle, 26, "memory"))
        tip = f"peak {row.memory.peak_mib:.0f} MiB"
        parts.append(shapes.rect(peak - 1, y - 2, 2, 30, "mark-p95", tip=tip))
        parts.append(shapes.text(peak + 8, y + 17, f"{row.memory.resident_mib:.0f} MiB", "number"))
    return svg(bottom + 40, parts, "cold start and memory")


def _per_frame(row: BenchRow, value: float) -> float:
    return value / row.batch


def _name(row: BenchRow, y: float) -> Markup:
    batch = f", batch {row.batch}" if row.batch != 1 else ""
    threads = "1 thread" if row.threads == 1 else f"{row.threads} threads"
    under = f"{row.precision}, {threads}{batch}"
    failed = "" if row.verified else " failed"
    under += "" if row.verified else ", FAILED SELF-TEST"
    name = shapes.text(LEFT - 14, y, f"{row.artifact} · {row.backend}", f"name{failed}", "end")
    return shapes.join([name, shapes.text(LEFT - 14, y + 15, under, f"sub{failed}", "end")])


def _figures(row: BenchRow, y: float) -> list[Markup]:
    value = _per_frame(row, row.latency.p50.value)
    against = ""
    if row.standing:
        words = {"fastest": "fastest", "same": "as fast", "unclear": "too noisy"}
        slower = f"{row.standing.ratio.value:.2f} ×"
        against = f", {words.get(row.standing.verdict, slower)}"
    return [
        shapes.text(WIDTH - RIGHT + 14, y, f"{milliseconds(value)} ms", "number"),
        shapes.text(WIDTH - RIGHT + 14, y + 15, f"{number(row.fps)} fps{against}", "sub"),
    ]


def _tip(row: BenchRow) -> str:
    latency = row.latency
    return (
        f"{row.key}\np50 {milliseconds(latency.p50.value)} ms "
        f"({milliseconds(latency.p50.low)} to {milliseconds(latency.p50.high)}), "
        f"p95 {milliseconds(latency.p95.value)}, p99 {milliseconds(latency.p99.value)}, "
        f"max {milliseconds(latency.max)}, {latency.n:,} runs"
    )


def _ridge(row: BenchRow, x: Scale, base: float) -> Markup:
    """Density along the axis, from the stored quantiles; all ridges are equally high."""
    edges = np.linspace(np.log(x.low), np.log(x.high), 181)
    quantiles = np.maximum.accumulate(np.array(row.latency.quantiles) / row.batch)
    share = np.interp(np.exp(edges), quantiles, GRID / 100)
    density = np.convolve(np.diff(share), np.exp(-(np.linspace(-2, 2, 9) ** 2)), mode="same")
    top = density.max() or 1.0
    centers = np.exp((edges[:-1] + edges[1:]) / 2)
    heights = zip(centers.tolist(), (density / top).tolist(), strict=True)
    points = [(x(at), base - 34 * height) for at, height in heights if height > 1 / 500]
    ends = [(points[-1][0], base), (points[0][0], base)] if points else [(LEFT, base)]
    return shapes.path([*points, *ends], f"ridge {color(row.backend)}", close=True)
