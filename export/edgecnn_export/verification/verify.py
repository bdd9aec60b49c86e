"""Every artifact, on every engine installed here, against the reference on the same pixels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

import msgspec

from edgecnn_export.progress import Progress
from edgecnn_export.verification.compare import Comparison, ReferenceOutputs, compare
from edgecnn_export.verification.gate import GATES, Gate, applicable_gate
from edgecnn_runtime.backends import get_engine, onnxruntime_exact, require_installed
from edgecnn_runtime.bundle.manifest import REDUCED_RANGE, Artifact, ModelSpec, Run, artifact_name
from edgecnn_runtime.device.cpu import cpu_features, saturates
from edgecnn_runtime.errors import UnsupportedModelError, VerificationError
from edgecnn_runtime.parity import NOISE_FLOOR, input_sensitivity, snr_db
from edgecnn_runtime.tasks import task_of
from edgecnn_runtime.verification.row_matching import comparable

LONG = 400
"""Characters of an engine's message that are shown; its internals come after its reason."""
EXTRA_BATCH = 4
"""A graph that takes any batch also runs once with so many images, on the first engine."""
FALLBACK_BACKEND = "onnxruntime"
"""Runs an artifact none of whose engines is installed here: it computes any graph, and export needs
it in any case."""
EXACT_BACKEND = onnxruntime_exact.ENGINE.name


@dataclass(frozen=True)
class Check:
    """One artifact on one engine at one precision.

    Attributes:
        artifact: The file that was run.
        backend: The engine's name.
        precision: What it computed in.
        version: The engine's.
        gate: What was required.
        comparison: What was measured.
    """

    artifact: Artifact
    backend: str
    precision: str
    version: str
    gate: Gate
    comparison: Comparison

    @property
    def engine(self) -> str:
        """``backend/precision``, as in ``manifest.Run.engine``."""
        return f"{self.backend}/{self.precision}"

    @property
    def failed(self) -> tuple[str, ...]:
        """The outputs that miss the gate; all of them where too few results agree."""
        parity = self.comparison.parity
        failed = tuple(name for name in parity if not parity[name].cosine >= self.gate.cosine)
        disagrees = self.comparison.agreement < self.gate.agreement
        return failed or (tuple(parity) if disagrees else ())

    def run(self, spec: ModelSpec, truth: ReferenceOutputs, golden: Sequence[int]) -> Run:
        """What the manifest records of it.

        Args:
            spec: What the model takes and gives.
            truth: What it was compared with.
            golden: Which of the images are in the self-test.
        """
        expected = {name: values[golden] for name, values in truth.outputs.items()}
        outputs = {name: self.comparison.outputs[name][golden] for name in expected}
        return Run(
            engine=self.engine,
            version=self.version,
            parity=self.comparison.parity,
            golden_snr_db={
                name: snr_db(*comparable(spec.decode, name, expected, outputs)) for name in expected
            },
            agreement=self.comparison.agreement,
        )


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
        """Check every artifact on every engine that takes it, at the engine's exact precision.

        Raises:
            VerificationError: An engine does not take an artifact.
        """
        names = list(backends)
        checks = []
        for artifact in artifacts:
            for name in engines_for(artifact.target, names, artifact.precision):
                with progress.step(step_name(artifact, name)):
                    extra = name in {names[0], EXACT_BACKEND}
                    checks.append(self._check_batches(artifact, name, extra=extra))
        return checks

    def check(
        self,
        artifact: Artifact,
        backend: str,
        gate: Gate,
        *,
        precision: str = "",
        batch: int = 0,
        count: int = 0,
    ) -> Check:
        """Check one artifact on one engine.

        Args:
            artifact: A file in ``folder``.
            backend: The engine's name.
            gate: What is required, as far as it applies to the model.
            precision: One of the engine's; "" means its exact one.
            batch: Images in one run; 0 means the fewest the artifact takes.
            count: How many of the images to use; 0 means all.

        Raises:
            VerificationError: The engine does not take the artifact.
        """
        engine = get_engine(backend)
        precision = precision or engine.precisions()[0]
        truth = self.truth.some(count) if count else self.truth
        path = self.folder / artifact.file
        try:
            comparison = compare(path, self.spec, truth, backend, batch=batch, precision=precision)
        except UnsupportedModelError as error:
            raise VerificationError(
                f"{artifact.file} cannot be verified on {backend}: {shorten(str(error), LONG)}\n"
                "  try --opset 18, or --backends with the engines you need, without this one"
            ) from error
        gate = applicable_gate(gate, self.spec, self.truth.results)
        return Check(artifact, backend, precision, engine.version(), gate, comparison)

    def _check_batches(self, artifact: Artifact, backend: str, *, extra: bool) -> Check:
        """At every batch size of the bundle, and, with ``extra``, at one more where any is allowed.

        The first check that fails; where none does, that of the first batch size.
        """
        gate = GATES[artifact.precision]
        checks = [
            self.check(artifact, backend, gate, batch=batch) for batch in self.spec.batch or (1,)
        ]
        if extra and self.spec.batch is None:
            checks.append(self.check(artifact, backend, gate, batch=EXTRA_BATCH, count=EXTRA_BATCH))
        return next((check for check in checks if check.failed), checks[0])


def engines(names: Iterable[str] | None) -> list[str]:
    """Engines to verify on: those named, else every one that is installed here.

    Raises:
        UsageError: There is no engine of that name.
        BackendMissingError: One that is named cannot be used here, or none can.
    """
    for name in names or ():
        get_engine(name).version()
    return list(names or require_installed())


def engines_for(target: str, names: Iterable[str], precision: str = "int8") -> list[str]:
    """The engines that take an artifact; where none does, the one that runs every graph.

    Full-range INT8 is not judged by the kernels of a processor that saturates: the fault would be
    the processor's. Exact sums judge it there; the form such a processor runs itself is ``cpu-rr``.
    """
    takers = [name for name in names if get_engine(name).takes(target, precision=precision)]
    takers = takers or [FALLBACK_BACKEND]
    if precision == "fp16" or target in ("any", REDUCED_RANGE) or not saturates(cpu_features()):
        return takers
    judges = (EXACT_BACKEND if get_engine(name).device == "cpu" else name for name in takers)
    return list(dict.fromkeys(judges))


def step_name(artifact: Artifact, engine: str) -> str:
    """``verify on openvino``, ``verify int8-cpu on openvino``."""
    form = f"{artifact_name(artifact.file)} " if artifact.precision != "fp32" else ""
    return f"verify {form}on {engine}"


def artifacts_with_runs(
    checks: Sequence[Check], spec: ModelSpec, truth: ReferenceOutputs, golden: Sequence[int]
) -> tuple[Artifact, ...]:
    """The artifacts with what was measured of each.

    Args:
        checks: All of them, in the order in which artifacts and runs are to be listed.
        spec: What the model takes and gives.
        truth: What they were compared with.
        golden: Which of the images are in the self-test.
    """
    artifacts = {check.artifact.file: check.artifact for check in checks}
    return tuple(
        msgspec.structs.replace(
            artifact,
            runs=tuple(
                check.run(spec, truth, golden) for check in checks if check.artifact == artifact
            ),
        )
        for artifact in artifacts.values()
    )


def stable_images(checks: Sequence[Check]) -> list[int]:
    """Images on whose result every engine here agrees; all images where there are none.

    A self-test on any other image would refuse good engines by chance.
    """
    agreed = [all(row) for row in zip(*(check.comparison.agreed for check in checks), strict=True)]
    return [index for index, equal in enumerate(agreed) if equal] or list(range(len(agreed)))


def nothing_found_warnings(spec: ModelSpec, truth: ReferenceOutputs) -> list[str]:
    """A warning where the model itself finds nothing in any picture."""
    task = task_of(spec)
    if any(map(task.count, truth.results)):
        return []
    score = f" over a score of {spec.score_threshold:g}" if spec.score_threshold else ""
    return [
        f"the model found nothing{score} in any of the {len(truth.results)} verification pictures, "
        "so no result was compared. Give pictures that show what it was made for (--images DIR); "
        "if these do, look at --preset (or --mean and --std), --color and --head"
    ]


def constant_output_warnings(truth: ReferenceOutputs) -> list[str]:
    """A warning for each output that hardly changes with the image."""
    changes = {name: input_sensitivity(values) for name, values in truth.outputs.items()}
    return [
        f"output {name!r} changes by only {change:.2%} between the verification pictures: that it "
        "agrees proves little. Verify with pictures the model was made for: --images DIR"
        for name, change in changes.items()
        if change < NOISE_FLOOR
    ]
