"""Reports made from planted samples: the code under test sees what it would see of a machine."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from edgecnn_bench.host import Gpu, Host, fingerprint, host_id
from edgecnn_bench.latency import LatencySamples, WorkloadSamples
from edgecnn_bench.rows import RowSpec, build_machine, build_rows, build_warnings
from edgecnn_bench.schema import (
    SCHEMA_VERSION,
    Accuracy,
    BenchedModel,
    BenchReport,
    BenchSettings,
    Cold,
    MachineSample,
    Memory,
)
from edgecnn_bench.thermal import condition


class Planted:
    """Latencies of a machine that drifts, is shared, and is sometimes interrupted.

    Everything in one round is slowed by the same factor; samples scatter around it with a long
    tail, as measured ones do.
    """

    def __init__(self, seed: int, rounds: int = 20, noise: float = 0.05) -> None:
        self.rng = np.random.default_rng(seed)
        self.rounds = rounds
        self.noise = noise
        walk = np.cumsum(self.rng.normal(0, 0.02, rounds))
        self.drift = np.exp(walk + self.rng.normal(0, noise, rounds))

    def samples(self, milliseconds: float, runs: int = 60) -> WorkloadSamples:
        """One row of that typical latency."""
        samples = WorkloadSamples()
        for number, factor in enumerate(self.drift):
            own = np.exp(self.rng.normal(0, 0.01))
            tail = self.rng.exponential(0.04, runs) * (self.rng.random(runs) < 0.3)
            samples.rounds.append(number)
            samples.times.append(milliseconds * factor * own * (1 + tail))
        samples.cpu_seconds, samples.wall_seconds = 3.8, 2.0
        return samples

    def moments(self) -> list[MachineSample]:
        """The reference workload in the same rounds: two milliseconds on a quiet machine."""
        return [
            MachineSample(
                at_seconds=0.5 * number,
                reference_ms=float(2 * factor * np.exp(self.rng.normal(0, 0.01))),
                mhz=2600.0,
                celsius=55.0 + number / 10,
                others_cores=0.1,
                stolen_cores=0.0,
            )
            for number, factor in enumerate(self.drift)
        ]


def spec(scope: str = "engine", **changes: Any) -> RowSpec:
    """An ordinary row's description."""
    values: dict[str, Any] = {
        "model": "digits", "scope": scope, "artifact": "fp32", "backend": "onnxruntime",
        "precision": "fp32", "threads": 1, "batch": 1, "version": "1.31.1",
    }  # fmt: skip
    return RowSpec(**(values | changes))


ROWS: dict[RowSpec, float] = {
    spec(): 9.0,
    spec(threads=2): 5.2,
    spec(backend="openvino", precision="f32"): 7.4,
    spec(artifact="int8-cpu"): 3.1,
    spec("frame", artifact="int8-cpu"): 3.9,
}


@pytest.fixture
def planted() -> type[Planted]:
    """The generator of samples."""
    return Planted


@pytest.fixture
def new_job() -> Callable[..., RowSpec]:
    """Makes the description of a row."""
    return spec


@pytest.fixture
def usual_rows() -> dict[RowSpec, float]:
    """The rows that ``make_report`` plants when none are named, in milliseconds."""
    return dict(ROWS)


@pytest.fixture(scope="session")
def host() -> Host:
    """This machine."""
    return fingerprint()


@pytest.fixture(scope="session")
def jetson(host: Host) -> Host:
    """Some other machine."""
    gpus = (Gpu(name="Tegra", driver="L4T 36.4.7"),)
    changes = {"board": "NVIDIA Jetson Orin Nano", "cpu": "Cortex-A78AE", "cores": 6,
               "affinity": 6, "power_mode": "15W", "gpus": gpus, "arch": "aarch64",
               "virtual": "", "features": ("dotprod", "neon")}  # fmt: skip
    other = msgspec.structs.replace(host, **changes)
    return msgspec.structs.replace(other, id=host_id(other))


@pytest.fixture
def make_report(host: Host) -> Callable[..., BenchReport]:
    """Makes a report from planted latencies: ``make_report(seed, {spec: milliseconds})``."""

    def make(
        seed: int = 0,
        latencies: dict[RowSpec, float] = ROWS,
        *,
        rounds: int = 20,
        noise: float = 0.05,
        models: Sequence[str] = (),
        **changes: Any,
    ) -> BenchReport:
        machine = Planted(seed, rounds, noise)
        workloads = {each.key: machine.samples(ms) for each, ms in latencies.items()}
        for each, ms in latencies.items():
            if each.scope == "frame":
                parts = {"prepare": 0.2, "engine": ms - 0.25, "decode": 0.05}
                workloads[each.key].stages = {name: [part] * 9 for name, part in parts.items()}
        moments = machine.moments()
        work = [[np.full(20, moment.reference_ms * 1e6)] for moment in moments]
        samples = LatencySamples(workloads, work, moments, [condition(), condition()])
        start = (
            Cold(seconds=0.4, import_seconds=0.2, load_seconds=0.15, first_seconds=0.05, starts=3),
            Memory(resident_mib=94.0, peak_mib=101.0, base_mib=48.0),
        )
        starts = {each.key: start for each in latencies if each.scope == "engine"}
        rows = build_rows(list(latencies), samples, (), starts)
        state = build_machine(samples)
        names = models or list(dict.fromkeys(each.model for each in latencies))
        report = BenchReport(
            schema=SCHEMA_VERSION,
            created="2026-11-22T08:00:00Z",
            edgecnn="0.1.0",
            command="edgecnn bench digits.edge",
            partial=False,
            host=host,
            settings=BenchSettings(
                seconds=4.0,
                rounds=rounds,
                warmup_seconds=0.5,
                seed=0,
                frame="1920x1080 golden pictures",
                cold_starts=3,
            ),
            models=tuple(
                BenchedModel(
                    name=name,
                    digest="d" * 64,
                    source_sha256="a" * 64,
                    task="classify",
                    input="28x28",
                )
                for name in names
            ),
            rows=rows,
            absent=(),
            skipped=(),
            machine=state,
            remarks=build_warnings(rows, state, partial=False),
        )
        return msgspec.structs.replace(report, **changes)

    return make


@pytest.fixture
def accuracy() -> Accuracy:
    """What a manifest says of an INT8 artifact."""
    return Accuracy(metric="top-1", value=0.987, cosine=0.995)
