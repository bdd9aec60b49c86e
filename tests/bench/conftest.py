"""Reports made from planted samples: the code under test sees what it would see of a machine."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgecnn_bench.host import Gpu, Host, fingerprint, host_id
from edgecnn_bench.latency import Measured, Track
from edgecnn_bench.rows import Job, build_machine, build_remarks, build_rows
from edgecnn_bench.schema import (
    SCHEMA_VERSION,
    Accuracy,
    Cold,
    Memory,
    Model,
    Moment,
    Report,
    Settings,
)
from edgecnn_bench.thermal import condition
from edgecnn_runtime import manifest
from edgecnn_runtime.bundle import new_bundle, sha256_file, write_manifest


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

    def track(self, milliseconds: float, runs: int = 60) -> Track:
        """One row of that typical latency."""
        track = Track()
        for number, factor in enumerate(self.drift):
            own = np.exp(self.rng.normal(0, 0.01))
            tail = self.rng.exponential(0.04, runs) * (self.rng.random(runs) < 0.3)
            track.rounds.append(number)
            track.times.append(milliseconds * factor * own * (1 + tail))
        track.cpu_seconds, track.wall_seconds = 3.8, 2.0
        return track

    def moments(self) -> list[Moment]:
        """The reference workload in the same rounds: two milliseconds on a quiet machine."""
        return [
            Moment(
                at_seconds=0.5 * number,
                reference_ms=float(2 * factor * np.exp(self.rng.normal(0, 0.01))),
                mhz=2600.0,
                celsius=55.0 + number / 10,
                others_cores=0.1,
                stolen_cores=0.0,
            )
            for number, factor in enumerate(self.drift)
        ]


def job(scope: str = "engine", **changes: Any) -> Job:
    """An ordinary row's description."""
    values: dict[str, Any] = {
        "model": "digits", "scope": scope, "artifact": "fp32", "backend": "onnxruntime",
        "precision": "fp32", "threads": 1, "batch": 1, "version": "1.31.1",
    }  # fmt: skip
    return Job(**(values | changes))


ROWS: dict[Job, float] = {
    job(): 9.0,
    job(threads=2): 5.2,
    job(backend="openvino", precision="f32"): 7.4,
    job(artifact="int8-cpu"): 3.1,
    job("frame", artifact="int8-cpu"): 3.9,
}


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is learnt about bundles of these tests is kept with them."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def planted() -> type[Planted]:
    """The generator of samples."""
    return Planted


@pytest.fixture
def new_job() -> Callable[..., Job]:
    """Makes the description of a row."""
    return job


@pytest.fixture
def usual_rows() -> dict[Job, float]:
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
def make_report(host: Host) -> Callable[..., Report]:
    """Makes a report from planted latencies: ``make_report(seed, {job: milliseconds})``."""

    def make(
        seed: int = 0,
        latencies: dict[Job, float] = ROWS,
        *,
        rounds: int = 20,
        noise: float = 0.05,
        models: Sequence[str] = (),
        **changes: Any,
    ) -> Report:
        machine = Planted(seed, rounds, noise)
        tracks = {each.key: machine.track(ms) for each, ms in latencies.items()}
        for each, ms in latencies.items():
            if each.scope == "frame":
                parts = {"prepare": 0.2, "engine": ms - 0.25, "decode": 0.05}
                tracks[each.key].stages = {name: [part] * 9 for name, part in parts.items()}
        measured = Measured(tracks, machine.moments(), [condition(), condition()])
        start = (
            Cold(seconds=0.4, import_seconds=0.2, load_seconds=0.15, first_seconds=0.05, starts=3),
            Memory(resident_mib=94.0, peak_mib=101.0, base_mib=48.0),
        )
        starts = {each.key: start for each in latencies if each.scope == "engine"}
        rows = build_rows(list(latencies), measured, (), starts)
        state = build_machine(measured)
        names = models or list(dict.fromkeys(each.model for each in latencies))
        report = Report(
            schema=SCHEMA_VERSION,
            created="2026-11-22T08:00:00Z",
            edgecnn="0.1.0",
            command="edgecnn bench digits.edge",
            partial=False,
            host=host,
            settings=Settings(
                seconds=4.0,
                rounds=rounds,
                warmup_seconds=0.5,
                seed=0,
                frame="1920x1080 golden pictures",
                cold_starts=3,
            ),
            models=tuple(
                Model(
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
            remarks=build_remarks(rows, state, partial=False),
        )
        return msgspec.structs.replace(report, **changes)

    return make


@pytest.fixture
def accuracy() -> Accuracy:
    """What a manifest says of an INT8 artifact."""
    return Accuracy(metric="top-1", value=0.987, cosine=0.995)


SIZE, CLASSES = 32, 4


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a real bundle: a small convolutional classifier that takes raw pixels.

    wrong: its golden outputs are not what it computes. channels: how much there is to compute.
    """

    def make(name: str = "tiny", *, wrong: bool = False, channels: int = 8) -> Path:
        out = tmp_path_factory.mktemp("bundles") / f"{name}.edge"
        with new_bundle(out, overwrite=False) as folder:
            graph = folder / "model.fp32.onnx"
            graph.write_bytes(tiny_graph(channels))
            pixels = distinct_pictures()
            outputs = reference_outputs(graph, pixels)
            golden = folder / "golden.npz"
            np.savez(
                golden, pixels=pixels, **{"output.scores": outputs[::-1] if wrong else outputs}
            )
            write_manifest(folder, tiny_manifest(name, graph, golden))
        return out

    return make


def distinct_pictures() -> "np.ndarray[Any, Any]":
    """uint8[3,32,32,3] BGR: one bluish, one greenish, one reddish, with some texture."""
    pixels = np.random.default_rng(5).integers(0, 60, (3, SIZE, SIZE, 3), np.uint8)
    pixels[[0, 1, 2], :, :, [0, 1, 2]] += 180
    return pixels


def tiny_graph(channels: int) -> bytes:
    """uint8[N,32,32,3] → Cast, Transpose, Conv, Relu, average, Gemm → scores float32[N,4]."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(9)
    weights = {
        "kernel": rng.normal(0, 0.02, (channels, 3, 3, 3)),
        "matrix": rng.normal(0, 1, (channels, CLASSES)),
    }
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel"], ["features"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["features"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return model.SerializeToString()


def reference_outputs(graph: Path, pixels: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """What the graph gives, by the onnx package's own evaluator."""
    from onnx.reference import ReferenceEvaluator

    (scores,) = ReferenceEvaluator(str(graph)).run(None, {"pixels": pixels})
    return np.asarray(scores, np.float32)


def tiny_manifest(name: str, graph: Path, golden: Path) -> manifest.Manifest:
    """What an export would say of it."""
    numbers = manifest.Normalization(mean=(0.0,) * 3, std=(1.0,) * 3, origin="preset")
    return manifest.Manifest(
        schema=manifest.SCHEMA_VERSION,
        name=name,
        task="classify",
        input=manifest.Input(width=SIZE, height=SIZE, color="bgr", normalization=numbers),
        outputs=(manifest.Output(name="scores", dtype="float32", shape=(None, CLASSES)),),
        decode=manifest.Classify(output="scores"),
        labels=tuple("abcd"),
        batch=None,
        artifacts=(
            manifest.Artifact(
                file=graph.name,
                precision="fp32",
                sha256=sha256_file(graph),
                bytes=graph.stat().st_size,
            ),
        ),
        golden=manifest.Golden(
            file=golden.name,
            sha256=sha256_file(golden),
            bytes=golden.stat().st_size,
            count=3,
            pictures="given",
        ),
        provenance=manifest.Provenance(
            source="tiny.onnx",
            source_sha256=sha256_file(graph),
            created="2026-11-22T08:00:00Z",
            command="edgecnn export tiny.onnx",
            versions={},
        ),
    )
