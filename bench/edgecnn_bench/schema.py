"""What `edgecnn bench --json` writes: one Report, every number with its unit in its name.

Unknown keys are refused, and another schema version is refused by name, so that two files that
can be read can also be compared.
"""

from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from edgecnn_bench.host import Host
from edgecnn_bench.results import read_json, write_json
from edgecnn_bench.stats import Interval, Summary, Verdict

SCHEMA_VERSION = 1

Scope: TypeAlias = Literal["engine", "frame", "stream"]
"""engine: pixels are in the engine's buffer, outputs are left there. frame: one frame in memory
to a decoded result. stream: a video file, its decoding included, to a decoded result."""

STAGES = ("capture", "prepare", "engine", "decode")


class ReportStruct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Common settings of every value in a report."""


class BenchSettings(ReportStruct, frozen=True, kw_only=True):
    """How it was measured.

    seconds: measuring time a row, in ``rounds`` slots. frame: size of the frames of the frame
    and stream scopes, and where they came from.
    """

    seconds: float
    rounds: int
    warmup_seconds: float
    seed: int
    frame: str
    cold_starts: int


class BenchedModel(ReportStruct, frozen=True, kw_only=True):
    """A bundle that was measured. source_sha256 says whether two reports are of one model."""

    name: str
    digest: str
    source_sha256: str
    task: str
    input: str


class Accuracy(ReportStruct, frozen=True, kw_only=True):
    """How good this artifact is, as its manifest says: measured at export, not here.

    metric: the task's own, on labeled pictures; else "agreement" with the PyTorch model.
    value: 0..1. cosine: smallest centered cosine of any output, on this engine if it was tried.
    """

    metric: str
    value: float
    cosine: float | None = None


class Cold(ReportStruct, frozen=True, kw_only=True):
    """Starting from nothing: medians over fresh processes, files in the page cache.

    seconds: process start to first result, of which import_seconds until the runtime is
    imported and load_seconds until the model is loaded.
    """

    seconds: float
    import_seconds: float
    load_seconds: float
    first_seconds: float
    starts: int


class Memory(ReportStruct, frozen=True, kw_only=True):
    """Of that fresh process: resident after its runs, and the most it ever was.

    base_mib: resident with the runtime imported and nothing loaded.
    """

    resident_mib: float
    peak_mib: float
    base_mib: float


class Energy(ReportStruct, frozen=True, kw_only=True):
    """Average power while the row ran, and energy a frame, of what ``covers`` names.

    Everything drawn is counted, idle power too: it is what the battery or the fan sees.
    """

    watts: float
    joules_per_frame: float
    covers: str


class RoundSample(ReportStruct, frozen=True, kw_only=True):
    """One row in one round. ratio: p50 over the reference workload's in that round, the latter
    seen over stretches as long as p50 (``reference.at_scale``)."""

    round: int
    n: int
    p50_ms: float
    p95_ms: float
    ratio: float


class VersusFastest(ReportStruct, frozen=True, kw_only=True):
    """A row against the fastest of its model and scope, paired round by round.

    ratio: a frame's time over the fastest row's, with a 99 % interval; 1 for the fastest itself.
    """

    against: str
    verdict: Verdict | Literal["fastest"]
    ratio: Interval


class BenchRow(ReportStruct, frozen=True, kw_only=True):
    """One artifact on one engine at one precision, thread count and batch, in one scope.

    key: what it is called in tables and comparisons; unique in a report.
    latency: milliseconds a run; a run is ``batch`` frames. fps: frames a second.
    relative: p50 over the reference workload's, median of the rounds.
    cpu_cores: cores kept busy while it ran. stages_ms: medians, in the order they happen.
    verified: whether it reproduced the bundle's golden outputs here; self_test says more.
    """

    key: str
    model: str
    scope: Scope
    artifact: str
    backend: str
    precision: str
    threads: int
    batch: int
    version: str
    verified: bool
    self_test: str
    latency: Summary
    fps: float
    relative: Interval
    cpu_cores: float
    stages_ms: dict[str, float]
    slots: tuple[RoundSample, ...]
    standing: VersusFastest | None = None
    accuracy: Accuracy | None = None
    cold: Cold | None = None
    memory: Memory | None = None
    energy: Energy | None = None


class UnavailableBackend(ReportStruct, frozen=True, kw_only=True):
    """A backend that was not measured, why, and what would make it so."""

    backend: str
    why: str
    install: str


class Skipped(ReportStruct, frozen=True, kw_only=True):
    """A row that was planned and could not be measured, and what it said."""

    key: str
    why: str


class MachineSample(ReportStruct, frozen=True, kw_only=True):
    """The machine in one round. others_cores: busy with other programs; stolen_cores: withheld
    by the hypervisor."""

    at_seconds: float
    reference_ms: float
    mhz: float | None
    celsius: float | None
    others_cores: float
    stolen_cores: float


class Machine(ReportStruct, frozen=True, kw_only=True):
    """How the machine behaved meanwhile.

    reference: name of the reference workload; spread: how far its middle 80 % of rounds lie
    apart, as a share of its median. throttled: every reason seen.
    """

    reference: str
    reference_ms: float
    spread: float
    throttled: tuple[str, ...]
    moments: tuple[MachineSample, ...]


class Window(ReportStruct, frozen=True, kw_only=True):
    """A stretch of a sustained run."""

    at_seconds: float
    n: int
    p50_ms: float
    p95_ms: float
    reference_ms: float
    mhz: float | None
    celsius: float | None
    watts: float | None


class Sustained(ReportStruct, frozen=True, kw_only=True):
    """One row run without a pause.

    last_over_first: p50 of the last minute over that of the first (of the last and first tenth
    in runs under ten minutes). steady_seconds: from then on every window's p50, smoothed over
    three, stays within 5 % of the last tenth's; None where that is less than a quarter of the run.
    """

    key: str
    minutes: float
    last_over_first: Interval
    steady_seconds: float | None
    throttled: tuple[str, ...]
    windows: tuple[Window, ...]


class BenchReport(ReportStruct, frozen=True, kw_only=True):
    """Everything one `edgecnn bench` found. partial: it was interrupted, and this is what was
    measured until then. remarks: what a reader of the numbers must know, most serious first."""

    schema: int
    kind: Literal["bench"] = "bench"
    created: str
    edgecnn: str
    command: str
    partial: bool
    host: Host
    settings: BenchSettings
    models: tuple[BenchedModel, ...]
    rows: tuple[BenchRow, ...]
    absent: tuple[UnavailableBackend, ...]
    skipped: tuple[Skipped, ...]
    machine: Machine
    remarks: tuple[str, ...]
    sustained: tuple[Sustained, ...] = ()


def write_report(path: Path, report: BenchReport) -> None:
    """Write a report whole or not at all. Raises EdgecnnError where that is impossible."""
    write_json(path, report)


def read_report(path: Path) -> BenchReport:
    """Read a report. Raises UsageError naming the file and what is wrong with it."""
    return read_json(path, BenchReport, SCHEMA_VERSION)
