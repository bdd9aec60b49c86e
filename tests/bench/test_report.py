"""The page, the tables and the Markdown: what they show, and that nothing leaks in or out."""

import html.parser
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.console import Console

from edgecnn_bench.autotune import Selection
from edgecnn_bench.charts import comparable
from edgecnn_bench.compare import compare
from edgecnn_bench.host import Host
from edgecnn_bench.markdown import markdown
from edgecnn_bench.report import html_page
from edgecnn_bench.rows import RowSpec
from edgecnn_bench.schema import (
    Accuracy,
    BenchReport,
    Energy,
    SkippedRow,
    Sustained,
    UnavailableBackend,
    Window,
)
from edgecnn_bench.selection_table import selection_table
from edgecnn_bench.stats import Interval
from edgecnn_bench.svg import linear_scale, log_scale
from edgecnn_bench.table import comparison_table, report_table
from edgecnn_runtime.selection.record import CandidateTiming, SelectionRecord

Make = Callable[..., BenchReport]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture
def full(make_report: Make, accuracy: Accuracy) -> BenchReport:
    """A report with everything in it that a page can show."""
    report = make_report(1)
    energy = Energy(watts=9.5, joules_per_frame=0.03, covers="board")
    rows = [replace(row, accuracy=accuracy, energy=energy) for row in report.rows]
    better = replace(accuracy, value=0.991)
    rows = [replace(r, accuracy=better) if r.artifact == "fp32" else r for r in rows]
    rows[-1] = replace(rows[-1], verified=False, self_test="10.1 dB on 'scores'")
    windows = tuple(
        Window(at_seconds=5.0 * i, n=100, p50_ms=5 + i / 50, p95_ms=6 + i / 50, reference_ms=2.0,
               mhz=2000.0 - i, celsius=40.0 + i / 4, watts=9.0)
        for i in range(1, 121)
    )  # fmt: skip
    run = Sustained(
        key=rows[0].key, minutes=10.0, steady_seconds=400.0, throttled=("under-voltage",),
        last_over_first=Interval(value=1.3, low=1.2, high=1.4), windows=windows,
    )  # fmt: skip
    return replace(
        report,
        rows=tuple(rows),
        sustained=(run,),
        absent=(
            UnavailableBackend(
                backend="tensorrt", why="no NVIDIA GPU here", install="pip install trt"
            ),
        ),
        skipped=(SkippedRow(key="digits engine: fp32 on openvino/bf16", why="10.1 dB"),) * 2,
    )


class Page(html.parser.HTMLParser):
    """Counts elements, keeps what is loaded from elsewhere, and checks that tags nest."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "line", "rect", "circle", "path"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.links += [v or "" for k, v in attrs if k in {"src", "href", "action", "data"}]
        if tag not in self.VOID or tag in {"rect", "circle"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parse_page(page: str) -> Page:
    parser = Page()
    parser.feed(page)
    assert parser.open == []
    return parser


def test_the_page_is_one_file_without_the_network(full: BenchReport, jetson: Host) -> None:
    page = html_page([full, replace(full, host=jetson)])
    assert len(page.encode()) < 1_000_000
    assert all(link.startswith("data:") for link in parse_page(page).links)
    assert not re.search(r"https?://|@import|url\(", page)


def test_the_page_draws_everything_there_is(full: BenchReport) -> None:
    page = html_page([full])
    for heading in (
        "Engine only", "Frame to result", "Distribution", "Accuracy against latency",
        "Where a frame's time goes", "Start and memory", "Energy", "Sustained",
        "Did the machine hold still?", "All numbers", "Not measured", "Measured on",
    ):  # fmt: skip
        assert heading.replace("'", "&#39;") in page, heading
    assert parse_page(page).counts["svg"] >= 9
    assert "pip install trt" in page
    assert "prefers-color-scheme:dark" in page


def test_accuracy_is_plotted_by_one_metric(full: BenchReport) -> None:
    """A row that was only compared with PyTorch has no place among top-1 values."""
    agreement = Accuracy(metric="agreement", value=1.0)
    rows = list(full.rows)
    mixed = [replace(row, accuracy=agreement) if at % 2 else row for at, row in enumerate(rows)]
    assert comparable(mixed) == [row for row in mixed[::2] if row.verified]
    alike = [replace(row, accuracy=agreement) for row in rows]
    assert comparable(alike) == [row for row in alike if row.verified]
    assert comparable([replace(row, accuracy=None) for row in rows]) == []


def test_an_unverified_row_is_marked_in_red(full: BenchReport) -> None:
    page = html_page([full])
    assert "FAILED SELF-TEST" in page
    assert '<tr class="bad">' in page


def test_the_page_shows_only_what_was_measured(make_report: Make) -> None:
    page = html_page([make_report(1)])
    for heading in ("Energy", "Sustained", "Accuracy against latency", "Not measured"):
        assert f">{heading}<" not in page


def test_hosts_are_set_side_by_side(full: BenchReport, jetson: Host) -> None:
    assert "Hosts side by side" not in html_page([full, full])
    page = html_page([full, replace(full, host=jetson)])
    assert "Hosts side by side" in page
    assert "NVIDIA Jetson Orin Nano" in page


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", '"><img src=x>', "a&b", "[red]x"])
def test_names_are_shown_and_never_run(full: BenchReport, evil: str, tmp_path: Path) -> None:
    rows = tuple(replace(row, artifact=evil, model=evil, key=f"{evil} key") for row in full.rows)
    models = tuple(replace(model, name=evil) for model in full.models)
    report = replace(full, rows=rows, models=models, command=evil, remarks=(evil,))
    page = html_page([report])
    counts = parse_page(page).counts
    assert "script" not in counts
    assert "img" not in counts
    console = Console(width=200, record=True, file=(tmp_path / "out").open("w"))
    console.print(report_table(report, width=200))
    assert evil in console.export_text()
    assert markdown([report])


def test_headings_show_names_as_they_are(full: BenchReport, tmp_path: Path) -> None:
    """A name in square brackets is no color."""
    base, new = replace(full.models[0], name="a[red]"), replace(full.models[0], name="b[bold]")
    rows = [replace(row, model=model.name) for row in full.rows for model in (base, new)]
    settings = replace(full.settings, frame="640x352 [openvino].mp4")
    report = replace(full, rows=tuple(rows), models=(base, new), settings=settings)
    console = Console(width=200, record=True, file=(tmp_path / "out").open("w"))
    console.print(report_table(report, width=200))
    text = console.export_text()
    assert "a[red], engine only" in text
    assert "b[bold], frame to result, 640x352 [openvino].mp4" in text


def test_a_line_that_installs_an_engine_is_never_cut(full: BenchReport, tmp_path: Path) -> None:
    line = "pip install 'onnxruntime-gpu[cuda,cudnn]>=1.23' 'cuda-bindings>=12.8'"
    absent = UnavailableBackend(backend="onnxruntime-cuda", why="not installed", install=line)
    console = Console(width=50, record=True, file=(tmp_path / "out").open("w"))
    console.print(report_table(replace(full, absent=(absent,)), width=50), crop=False)
    assert f"  {line}" in [row.rstrip() for row in console.export_text().splitlines()]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_table_fits_the_terminal(full: BenchReport, width: int, tmp_path: Path) -> None:
    console = Console(width=width, record=True, file=(tmp_path / "out").open("w"))
    console.print(report_table(full, width=width))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    assert "p50 ms" in text
    assert "FAILED" in text
    assert "under-voltage" in text.replace("\n", "")


@pytest.mark.parametrize("width", [60, 80])
def test_no_number_is_cropped(
    make_report: Make, new_job: Callable[..., RowSpec], width: int, tmp_path: Path
) -> None:
    """Also where names are as long as they get."""
    long = {"artifact": "int8-cpu-rr", "backend": "onnxruntime-tensorrt", "precision": "tf32"}
    report = make_report(1, {new_job(**long, batch=8): 5.0, new_job(**long, threads=16): 1234.5})
    timing = {"ratio": 1.3, "low": 1.1, "high": 1.4, "relative": 1.2, "rounds": 20}
    timings = tuple(
        CandidateTiming(
            artifact="model.int8-cpu-rr.onnx", backend="onnxruntime-tensorrt", precision="tf32",
            threads=threads, milliseconds=1234.5, **timing,
        )
        for threads in (1, 16)
    )  # fmt: skip
    selection = Selection(
        schema=1, created="2026-11-22T08:00:00Z", edgecnn="0.1.0", command="edgecnn bench",
        host=report.host, model="digits", digest="d" * 64, reference="", skipped=(), stored=True,
        record=SelectionRecord(created="2026-11-22T08:00:00Z", batch=1, standings=timings),
    )  # fmt: skip
    for table in (report_table(report, width=width), selection_table(selection)):
        console = Console(width=width, record=True, file=(tmp_path / "out").open("w"))
        console.print(table)
        text = console.export_text()
        assert "…" not in text.replace("1.10 … 1.40", "")
        assert max(map(len, text.splitlines())) <= width


def test_a_comparison_says_its_verdicts(
    make_report: Make, usual_rows: dict[RowSpec, float], tmp_path: Path
) -> None:
    slower = {spec: 1.2 * milliseconds for spec, milliseconds in usual_rows.items()}
    comparison = compare(make_report(1), make_report(2, slower))
    console = Console(width=120, record=True, file=(tmp_path / "out").open("w"))
    console.print(comparison_table(comparison))
    assert console.export_text().count("slower") == len(comparison.changes)


def test_markdown_has_a_row_a_row(full: BenchReport) -> None:
    text = markdown([full])
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(table) == len(full.rows) + 2 * 2  # two scopes, each with a head and a rule
    assert len({line.count("|") for line in table[:3]}) == 1
    assert full.command in text
    assert full.host.cpu in text
    assert "**failed self-test**" in text


@pytest.mark.parametrize("values", [[1.0], [0.01, 1000.0], [5.0, 5.0], [1e-9, 1e9]])
def test_scales_keep_their_values_inside(values: list[float]) -> None:
    for scale in (log_scale(values, 10, 90), linear_scale(max(values), 10, 90)):
        assert all(10 <= scale(value) <= 90 for value in values)
        assert all(scale.low <= tick <= scale.high * (1 + 1e-9) for tick in scale.ticks())
        assert len(scale.ticks()) < 40


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_chromium_opens_it_without_a_word(full: BenchReport, jetson: Host, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(html_page([full, replace(full, host=jetson)]), "utf-8")
    shot = tmp_path / "shot.png"
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
        "--v=0", "--window-size=1040,3000", f"--screenshot={shot}", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "CONSOLE" not in done.stderr
    assert shot.stat().st_size > 50_000
