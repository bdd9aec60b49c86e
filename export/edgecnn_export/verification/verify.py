"""Every artifact, on every engine installed here, against the reference on the same pixels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from edgecnn_export.progress import Progress
from edgecnn_export.verification.output_slices import output_slices
from edgecnn_runtime.backends import (
    Options,
    get_engine,
    onnxruntime_exact,
    open_backend,
    require_installed,
)
from edgecnn_runtime.bundle.bundle import GoldenData
from edgecnn_runtime.bundle.manifest import Artifact, ModelSpec, Parity, Run, Yolo
from edgecnn_runtime.device.cpu import cpu_features, saturates
from edgecnn_runtime.errors import UnsupportedModelError, VerificationError
from edgecnn_runtime.parity import NOISE_FLOOR, input_sensitivity, parity, snr_db
from edgecnn_runtime.preprocess import identity_geometry
from edgecnn_runtime.tasks import make_decoder
from edgecnn_runtime.types import Floats, Pixels, Result
from edgecnn_runtime.verification.result_matching import agreement_rate, results_match
from edgecnn_runtime.verification.selftest import run_batches

EXTRA_BATCH = 4
"""A graph that takes any batch is also run once with so many pictures, on the first engine."""
ANY_COSINE = -1.0


@dataclass(frozen=True)
class Gate:
    """What a run has to reach to be emitted.

    cosine: the smallest centered cosine of any output. agreement: the share of decoded results, of
    a detector's boxes, that are the reference's.
    """

    cosine: float
    agreement: float

    def margin(self, cosine: float, agreement: float) -> float:
        """How far above the gate that is; negative where it fails."""
        return min(cosine - self.cosine, agreement - self.agreement)

    def requirement(self, cosine: float, agreement: float) -> str:
        """What was reached beside what was wanted."""
        results = f"{agreement:.1%} of results equal (at least {self.agreement:.0%})"
        if self.cosine == ANY_COSINE:
            return results
        return f"centered cosine {cosine:.4f} (at least {self.cosine:.4g}), {results}"


GATES: Mapping[str, Gate] = {
    "fp32": Gate(cosine=0.9999, agreement=0.0),
    "int8": Gate(cosine=ANY_COSINE, agreement=0.0),
}
"""By the artifact's precision. INT8 has passed a gate of its own, on more pictures, before it is
written; here it is only recorded."""
FALLBACK_BACKEND = "onnxruntime"
"""Runs an artifact none of whose engines is installed here: it computes any graph, and export needs
it in any case."""
FULL_RANGE = frozenset({"cpu", "openvino", "trt"})
"""The targets whose weights have all eight bits."""
MIN_AGREEMENT = 0.99
MIN_BOXES = 30
"""So many boxes prove something: with 30 out of 30 equal, 90 % or more are, 95 times in 100."""


@dataclass(frozen=True)
class ReferenceOutputs:
    """What is true of the verification pictures.

    pixels: uint8[N,H,W,3]. outputs: the reference's, float32[N,…] by name, the batch first.
    results: the same, decoded.
    """

    pixels: Pixels
    outputs: Mapping[str, Floats]
    results: tuple[Result, ...]

    def some(self, count: int) -> "ReferenceOutputs":
        """The same of ``count`` pictures, spread over all."""
        step = max(1, len(self.pixels) // count)
        outputs = {name: values[::step][:count] for name, values in self.outputs.items()}
        return ReferenceOutputs(self.pixels[::step][:count], outputs, self.results[::step][:count])


@dataclass(frozen=True)
class Check:
    """One artifact on one engine.

    run: what was measured. outputs: float32[N,…] by name. agreed: by picture, whether all of its
    result is the reference's. failed: outputs that miss the gate.
    """

    artifact: Artifact
    run: Run
    gate: Gate
    outputs: Mapping[str, Floats]
    agreed: tuple[bool, ...]
    failed: tuple[str, ...]

    @property
    def backend(self) -> str:
        """The engine's name, without the precision."""
        return self.run.engine.partition("/")[0]


def engines(asked: Iterable[str] | None) -> list[str]:
    """Engines to verify on: those asked for, else every one that is installed here.

    Raises BackendMissingError for one that was asked for and cannot be used here, or when none can.
    """
    for name in asked or ():
        get_engine(name).version()
    return list(asked or require_installed())


def engines_for(target: str, names: Iterable[str]) -> list[str]:
    """Those of the engines that take an artifact; where none does, the one that runs them all.

    What a processor that saturates would say of full-range INT8 is its own fault: there the sums
    are exact, and the form that it runs itself is ``cpu-rr``.
    """
    takers = [name for name in names if get_engine(name).takes(target)] or [FALLBACK_BACKEND]
    if target not in FULL_RANGE or not saturates(cpu_features()):
        return takers
    exact = onnxruntime_exact.ENGINE.name
    return list(
        dict.fromkeys(exact if get_engine(name).device == "cpu" else name for name in takers)
    )


def step_name(artifact: Artifact, engine: str) -> str:
    """``verify on openvino``, ``verify int8-cpu on openvino``."""
    form = "" if artifact.target == "any" else f"int8-{artifact.target} "
    return f"verify {form}on {engine}"


@dataclass(frozen=True)
class Verifier:
    """Compares artifacts with the reference, on the engines installed here.

    Attributes:
        folder: Where the artifacts' files are.
        spec: What the model takes and gives.
        truth: The reference's outputs on the verification images.
    """

    folder: Path
    spec: ModelSpec
    truth: ReferenceOutputs

    def run(
        self, artifacts: Iterable[Artifact], backends: Iterable[str], progress: Progress
    ) -> list[Check]:
        """Every artifact on every engine that takes it, at the engine's exact precision."""
        names = list(backends)
        checks = []
        for artifact in artifacts:
            for name in engines_for(artifact.target, names):
                with progress.step(step_name(artifact, name)):
                    more = name in (names[0], onnxruntime_exact.ENGINE.name)
                    checks.append(self._check(artifact, name, more=more))
        return checks

    def _check(self, artifact: Artifact, name: str, *, more: bool) -> Check:
        """``more``: whether a graph that takes any batch is shown to do so."""
        spec, truth = self.spec, self.truth
        batches = spec.batch or (1,)
        runs = [self._measure(artifact, name, batch, truth) for batch in batches]
        if more and spec.batch is None:
            runs.append(self._measure(artifact, name, EXTRA_BATCH, truth.some(EXTRA_BATCH)))
        gate = applicable_gate(GATES[artifact.precision], spec, truth.results)
        for run, outputs, agreed in runs:
            if failed := _failed(run, gate):
                return Check(artifact, run, gate, outputs, agreed, failed)
        run, outputs, agreed = runs[0]
        return Check(artifact, run, gate, outputs, agreed, ())

    def check_reduced(self, artifact: Artifact, name: str, precision: str, gate: Gate) -> Check:
        """One artifact on one engine at a precision below its exact one."""
        batch = self.spec.smallest_batch
        run, outputs, agreed = self._measure(artifact, name, batch, self.truth, precision)
        gate = applicable_gate(gate, self.spec, self.truth.results)
        return Check(artifact, run, gate, outputs, agreed, _failed(run, gate))

    def _measure(
        self,
        artifact: Artifact,
        name: str,
        batch: int,
        truth: ReferenceOutputs,
        precision: str = "",
    ) -> tuple[Run, dict[str, Floats], tuple[bool, ...]]:
        spec, runner = self.spec, get_engine(name)
        precision = precision or runner.precisions()[0]
        path = self.folder / artifact.file
        try:
            outputs = infer(path, spec, name, truth.pixels, batch, precision=precision)
        except UnsupportedModelError as error:
            raise VerificationError(
                f"{artifact.file} cannot be verified on {name}: {error}\n"
                "  try --opset 18, or --backends with the engines you need, without this one"
            ) from error
        threshold = float(getattr(spec.decode, "score", 0.0))
        pairs = list(zip(truth.results, decode_all(spec, outputs), strict=True))
        agreed = tuple(results_match(*pair, threshold=threshold) for pair in pairs)
        run = Run(
            engine=f"{name}/{precision}",
            version=runner.version(),
            parity={
                output: _worst_part(spec, output, expected, outputs[output])
                for output, expected in truth.outputs.items()
            },
            golden_snr_db={},
            agreement=agreement_rate(pairs, threshold=threshold),
        )
        return run, outputs, agreed


def make_truth(spec: ModelSpec, pixels: Pixels, outputs: Mapping[str, Floats]) -> ReferenceOutputs:
    """Decode the reference's outputs, all of them finite."""
    return ReferenceOutputs(pixels, outputs, decode_all(spec, outputs))


def infer(
    path: Path,
    spec: ModelSpec,
    backend: str,
    pixels: Pixels,
    batch: int,
    *,
    precision: str = "",
) -> dict[str, Floats]:
    """All pictures through one engine, ``batch`` at a time: float32[N,…] by name, new arrays.

    precision: "" is the engine's exact one.
    """
    with open_backend(backend, path, Options(batch=batch, precision=precision), spec) as opened:
        return run_batches(opened, GoldenData(pixels, {}), spec)


def decode_all(spec: ModelSpec, outputs: Mapping[str, Floats]) -> tuple[Result, ...]:
    """A result a picture, in pixels of the network's input. outputs: the batch first."""
    decoder, geometry = make_decoder(spec), identity_geometry(spec.input)
    placed = {o.name: np.moveaxis(outputs[o.name], 0, o.batch_axis) for o in spec.outputs}
    count = len(next(iter(outputs.values())))
    return tuple(decoder.decode(placed, item, geometry) for item in range(count))


def artifacts_with_runs(
    checks: Sequence[Check], truth: ReferenceOutputs, golden: list[int]
) -> tuple[Artifact, ...]:
    """The artifacts with what was measured of each; golden: the pictures of the self-test."""
    artifacts = {check.artifact.file: check.artifact for check in checks}
    return tuple(
        msgspec.structs.replace(
            artifact,
            runs=tuple(
                msgspec.structs.replace(check.run, golden_snr_db=_golden_snr(check, truth, golden))
                for check in checks
                if check.artifact.file == artifact.file
            ),
        )
        for artifact in artifacts.values()
    )


def stable_images(checks: Sequence[Check]) -> list[int]:
    """Pictures on whose result every engine here agrees; all of them where there are none.

    A self-test on another one would refuse good engines for the toss of a coin.
    """
    agreed = [all(same) for same in zip(*(check.agreed for check in checks), strict=True)]
    return [index for index, same in enumerate(agreed) if same] or list(range(len(agreed)))


def constant_output_warnings(truth: ReferenceOutputs) -> list[str]:
    """A warning for each output that hardly changes with the picture."""
    changes = {name: input_sensitivity(values) for name, values in truth.outputs.items()}
    return [
        f"output {name!r} changes by {change:.2%} only between the verification pictures: that it "
        "agrees proves little. Verify with pictures the model was made for: --images DIR"
        for name, change in changes.items()
        if change < NOISE_FLOOR
    ]


def _golden_snr(check: Check, truth: ReferenceOutputs, golden: list[int]) -> dict[str, float]:
    return {
        name: snr_db(expected[golden], check.outputs[name][golden])
        for name, expected in truth.outputs.items()
    }


def _worst_part(spec: ModelSpec, name: str, expected: Floats, got: Floats) -> Parity:
    if expected.shape != got.shape:
        return parity(expected, got)
    pairs = zip(
        output_slices(spec.decode, name, expected),
        output_slices(spec.decode, name, got),
        strict=True,
    )
    measured = [parity(one, other) for one, other in pairs]
    return Parity(
        max_abs=max(part.max_abs for part in measured),
        cosine=min(part.cosine for part in measured),
        snr_db=min(part.snr_db for part in measured),
    )


def applicable_gate(gate: Gate, spec: ModelSpec, results: Sequence[Result]) -> Gate:
    """The gate as far as it says something about this model.

    Suppression inside a graph may swap rows, so that only what they decode to can be compared.
    And below the exact precisions, a detector is judged by the boxes it finds, where there are
    enough of them: most of its output is about background that no threshold lets through, and
    what it says of the size of a face that is not there is no error.
    """
    decode = spec.decode
    rows_may_swap = isinstance(decode, Yolo) and decode.layout == "nms"
    found = sum(len(result) for result in results if isinstance(result, list))
    by_boxes = found >= MIN_BOXES and gate.cosine < GATES["fp32"].cosine
    if gate.cosine > ANY_COSINE and (rows_may_swap or by_boxes):
        return Gate(ANY_COSINE, gate.agreement or MIN_AGREEMENT)
    return gate


def _failed(run: Run, gate: Gate) -> tuple[str, ...]:
    failed = [name for name, measured in run.parity.items() if not measured.cosine >= gate.cosine]
    if not failed and run.agreement < gate.agreement:
        failed = list(run.parity)
    return tuple(failed)
