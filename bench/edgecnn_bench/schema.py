"""What `edgecnn bench --json` writes: one BenchReport; every number has its unit in its name.

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
"""engine: pixels and outputs stay in the engine's buffers. frame: from a frame in memory to a
decoded result. stream: from a video file, its decoding included, to a decoded result."""

STAGES = ("capture", "prepare", "engine", "decode")


class ReportStruct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Common settings of every value in a report."""


class BenchSettings(ReportStruct, frozen=True, kw_only=True):
    """How it was measured.

    Attributes:
        seconds: Measuring time per row, in ``rounds`` slots.
        rounds: How many times all rows take turns.
        warmup_seconds: How long each row runs before the rounds.
        seed: Of the order in which rows take turns.
        frame: Size and origin of the frames of the frame and stream scopes.
        cold_starts: Fresh processes per row.
    """

    seconds: float
    rounds: int
    warmup_seconds: float
    seed: int
    frame: str
    cold_starts: int


class BenchedModel(ReportStruct, frozen=True, kw_only=True):
    """A bundle that was measured.

    Attributes:
        name: Unique in the report.
        digest: Of the bundle.
        source_sha256: Of the file it was exported from; the same for reports of one model.
        task: Of the model.
        input: Size, as 640x384.
    """

    name: str
    digest: str
    source_sha256: str
    task: str
    input: str


class Accuracy(ReportStruct, frozen=True, kw_only=True):
    """How good this artifact is, according to its manifest: measured at export, not here.

    The float model's is that on the labeled pictures which INT8 was judged on.

    Attributes:
        metric: The task's metric on labeled pictures, or "agreement" with the PyTorch model.
        value: 0 to 1.
        cosine: Smallest centered cosine of any output, on this engine if export tried it.
    """

    metric: str
    value: float
    cosine: float | None = None


class Cold(ReportStruct, frozen=True, kw_only=True):
    """Starting from nothing: medians over fresh processes, with files in the page cache.

    Attributes:
        seconds: Process start to first result.
        import_seconds: Of these, until the runtime is imported.
        load_seconds: Of these, to load the model.
        first_seconds: Of these, the first inference.
        starts: How many processes.
    """

    seconds: float
    import_seconds: float
    load_seconds: float
    first_seconds: float
    starts: int


class Memory(ReportStruct, frozen=True, kw_only=True):
    """Memory of that fresh process.

    Attributes:
        resident_mib: Resident after its runs.
        peak_mib: The most that was ever resident.
        base_mib: Resident with the runtime imported and nothing loaded.
    """

    resident_mib: float
    peak_mib: float
    base_mib: float


class Energy(ReportStruct, frozen=True, kw_only=True):
    """Average power while the row ran, and energy per frame; idle power is included.

    Attributes:
        watts: Average power.
        joules_per_frame: Energy per frame.
        covers: What the meters cover: board, cpu, gpu, cpu+gpu.
    """

    watts: float
    joules_per_frame: float
    covers: str


class RoundSample(ReportStruct, frozen=True, kw_only=True):
    """One row in one round.

    Attributes:
        round: Number of the round, from 0.
        n: Runs.
        p50_ms: Median of the runs.
        p95_ms: 95th percentile of the runs.
        ratio: p50 over the reference workload's in that round, averaged over stretches as long as
            p50 (``reference_workload.at_scale``).
    """

    round: int
    n: int
    p50_ms: float
    p95_ms: float
    ratio: float


class VersusFastest(ReportStruct, frozen=True, kw_only=True):
    """A row compared with the fastest of its model and scope, paired round by round.

    Attributes:
        against: Key of the fastest row.
        verdict: What the interval of ``ratio`` allows.
        ratio: A frame's time over the fastest row's, with a 99 % interval; 1 for the fastest.
    """

    against: str
    verdict: Verdict | Literal["fastest"]
    ratio: Interval


class BenchRow(ReportStruct, frozen=True, kw_only=True):
    """One artifact on one engine at one precision, thread count and batch, in one scope.

    Attributes:
        key: Name in tables and comparisons; unique in a report.
        model: Name of the bundle.
        scope: What a run includes.
        artifact: "fp32", "int8-cpu", …; "checkpoint" for torch.
        backend: Name of the engine.
        precision: What the engine computes in.
        threads: Threads of the engine.
        batch: Frames per run.
        version: Version of the engine.
        verified: Whether it reproduced the bundle's golden outputs here.
        self_test: Why not, otherwise empty.
        latency: Milliseconds per run.
        fps: Frames per second.
        relative: p50 over the reference workload's, median over the rounds.
        cpu_cores: Cores kept busy while it ran.
        stages_ms: Median milliseconds by stage, in order.
        slots: The rounds one by one.
        standing: Comparison with the fastest row; None where no round is shared.
        accuracy: From the manifest; None where it is unknown.
        cold: Cold start; None where it was not measured.
        memory: Memory; None where it was not measured.
        energy: Energy; None without a meter.
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
    """A backend that was not measured.

    Attributes:
        backend: Its name.
        why: What is missing.
        install: What to type to change that; may be empty.
    """

    backend: str
    why: str
    install: str


class SkippedRow(ReportStruct, frozen=True, kw_only=True):
    """A row that was planned and could not be measured.

    Attributes:
        key: Name of the row.
        why: The error's message.
    """

    key: str
    why: str


class MachineSample(ReportStruct, frozen=True, kw_only=True):
    """The machine in one round.

    Attributes:
        at_seconds: Since the first round began.
        reference_ms: Median time of the reference workload.
        mhz: Mean clock of the CPUs; None where unknown.
        celsius: Hottest sensor; None where there is none.
        others_cores: Cores busy with other programs.
        stolen_cores: Cores withheld by the hypervisor.
    """

    at_seconds: float
    reference_ms: float
    mhz: float | None
    celsius: float | None
    others_cores: float
    stolen_cores: float


class Machine(ReportStruct, frozen=True, kw_only=True):
    """How the machine behaved meanwhile.

    Attributes:
        reference: Name of the reference workload.
        reference_ms: Its median time.
        spread: 10th to 90th percentile of the rounds, as a share of the median.
        throttled: Every reason for a clock that was held down.
        moments: The rounds one by one.
    """

    reference: str
    reference_ms: float
    spread: float
    throttled: tuple[str, ...]
    moments: tuple[MachineSample, ...]


class Window(ReportStruct, frozen=True, kw_only=True):
    """A stretch of a sustained run.

    Attributes:
        at_seconds: End of the stretch, since the run began.
        n: Runs.
        p50_ms: Median of the runs.
        p95_ms: 95th percentile of the runs.
        reference_ms: Time of the reference workload.
        mhz: Mean clock of the CPUs; None where unknown.
        celsius: Hottest sensor; None where there is none.
        watts: Average power; None without a meter.
    """

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

    Attributes:
        key: Name of the row.
        minutes: Duration.
        last_over_first: p50 of the last minute over that of the first; of the last and first tenth
            in runs under ten minutes.
        steady_seconds: From then on every window's p50, smoothed over three, stays within 5 % of
            the last tenth's; None where that is less than a quarter of the run.
        throttled: Every reason for a clock that was held down.
        windows: The run, stretch by stretch.
    """

    key: str
    minutes: float
    last_over_first: Interval
    steady_seconds: float | None
    throttled: tuple[str, ...]
    windows: tuple[Window, ...]


class BenchReport(ReportStruct, frozen=True, kw_only=True):
    """The result of one `edgecnn bench`.

    Attributes:
        schema: SCHEMA_VERSION.
        kind: Always "bench".
        created: UTC, ISO 8601.
        edgecnn: Version of edgecnn.
        command: The command line.
        partial: Whether it was interrupted; the rows hold what was measured until then.
        host: The machine and its settings.
        settings: How it was measured.
        models: The bundles.
        rows: By model and scope, the fastest first.
        absent: Backends that are not here.
        skipped: Rows that could not be measured.
        machine: How the machine behaved meanwhile.
        remarks: What a reader of the numbers must know, most serious first.
        sustained: Sustained runs.
    """

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
    skipped: tuple[SkippedRow, ...]
    machine: Machine
    remarks: tuple[str, ...]
    sustained: tuple[Sustained, ...] = ()


def write_report(path: Path, report: BenchReport) -> None:
    """Write a report, whole or not at all.

    Raises:
        EdgecnnError: The file cannot be written.
    """
    write_json(path, report)


def read_report(path: Path) -> BenchReport:
    """Read a report.

    Raises:
        UsageError: The file is missing, no report, or of another schema version.
    """
    return read_json(path, BenchReport, SCHEMA_VERSION)
