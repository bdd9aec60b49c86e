"""The gate: whether an INT8 graph still does the float model's work, on every engine it is for."""

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from edgecnn_export.progress import NullProgress, Progress
from edgecnn_export.quantization.accuracy_restoration import GateResult
from edgecnn_export.verification.compare import (
    Comparison,
    ReferenceOutputs,
    compare_outputs,
    decode_reference,
    infer,
)
from edgecnn_export.verification.gate import ANY_COSINE, LOWER, Gate, applicable_gate
from edgecnn_export.verification.output_slices import paired_slices
from edgecnn_runtime import __version__
from edgecnn_runtime.backends import Options, get_engine, open_backend
from edgecnn_runtime.bundle.manifest import ModelSpec, Quality
from edgecnn_runtime.device.fingerprint import numerics_key
from edgecnn_runtime.evaluation.dataset import LabeledSet
from edgecnn_runtime.evaluation.metrics import Score
from edgecnn_runtime.parity import ROUNDING, percent_text, snr_db
from edgecnn_runtime.tasks import task_of
from edgecnn_runtime.types import Floats, Pixels, Result
from edgecnn_runtime.verification.accuracy import labeled_results
from edgecnn_runtime.verification.result_matching import agreement_rate
from edgecnn_runtime.verification.result_store import ResultStore
from edgecnn_runtime.verification.selftest import decode_all, run_batches

GATE = LOWER
"""Where no evaluation data is given."""
TARGET = Gate(cosine=0.994, agreement=0.995)
"""A repair goes on until this is reached: images other than those measured lose up to 1.7 times as
much."""
STRESS_FACTOR = 4.0
"""Results are decoded once more with the outputs' error so many times as large, and so many times
as many of them may change: where none of 128 does, up to 2 % of others may."""
TIE_BREAKER = 0.25
MANY = 1000
"""Labeled pictures from which the choice of them hardly matters."""
POOR = 0.2
"""A metric under which the labels are doubted before the model is."""
CHANCE_FACTOR = 1.2
"""A metric is poor as well up to so many times what guessing a class reaches."""
FAR, FAR_RESULTS = 2.0, 6
"""A graph fails by far that loses so many times what the gate lets through, and so many results."""
CHUNK = 16
"""Images between two reports of progress."""
GATE_OFF = 100.0
"""Points of a metric that may be lost from which there is no gate."""


class GateMeasurement(msgspec.Struct, frozen=True):
    """One graph on one engine, compared with the float graph.

    Attributes:
        engine: The engine's name.
        cosine: The smallest centered cosine of any output.
        agreement: The share of decoded results that equal the float graph's.
        foreseen: The same for other images, estimated from how near these results came to changing.
        snr_db: The smallest signal-to-noise ratio of any output.
        quality: The task's metric; None without evaluation data.
    """

    engine: str
    cosine: float
    agreement: float
    foreseen: float
    snr_db: float
    quality: Score | None = None


@dataclass(frozen=True)
class AccuracyGate:
    """Measures graphs against the float one, on images and, where given, labeled images.

    Attributes:
        spec: What the model takes and gives.
        truth: The float graph's outputs on images that were not calibrated on.
        engines: Backends to run on.
        evaluation: Labeled images; with them the task's metric decides.
        reference: The float graph's score on them.
        example: A result of the float graph that is not its label, in words; "" without one.
        max_drop: How much of the metric may be lost, in points of a hundred; 100 lets everything
            through.
        required: What a graph has to reach without evaluation data; None is GATE.
        ample: What is enough for other images too; None is TARGET.
        progress: Shows how many images are done.
    """

    spec: ModelSpec
    truth: ReferenceOutputs
    engines: Sequence[str]
    evaluation: LabeledSet | None
    reference: Score | None
    example: str
    max_drop: float
    required: Gate | None = None
    ample: Gate | None = None
    progress: Progress = field(default_factory=NullProgress)

    def measure(
        self, model: onnx.ModelProto, engines: Sequence[str] = (), first: int = 0
    ) -> tuple[GateMeasurement, ...]:
        """Compare a graph with the float one on each engine.

        Args:
            model: The graph.
            engines: Backends to run it on; none means all of the gate's.
            first: A graph that fails by far on so many images is not run on the others; 0 means
                that it is.
        """
        with model_file(model) as path:
            return tuple(self._measure(path, engine, first) for engine in engines or self.engines)

    def verdict(self, measurements: Sequence[GateMeasurement]) -> GateResult:
        """Whether the worst engine passes, and how far from the gate it is."""
        worst = min(measurements, key=self._margin)
        margin = self._margin(worst)
        ample = margin >= 0 and all(map(self._ample, measurements))
        return GateResult(margin >= 0, ample, margin, f"{worst.engine}: {self._describe(worst)}")

    def quality(self, measurements: Sequence[GateMeasurement]) -> Quality | None:
        """The task's metric on the worst engine, for the manifest."""
        if self.reference is None or self.evaluation is None:
            return None
        worst = min((m.quality for m in measurements if m.quality), key=lambda score: score.value)
        return Quality(
            metric=worst.metric,
            value=worst.value,
            reference=self.reference.value,
            low=worst.low,
            high=worst.high,
            samples=worst.samples,
            data=self.evaluation.name,
        )

    def compare(self, expected: Mapping[str, Floats], outputs: Mapping[str, Floats]) -> float:
        """Error power over the expected's centered power, summed over outputs and their slices.

        Where the gate asks for equal results alone: how far the results are apart, and the outputs'
        error power as a tie-breaker, because a device is held to what the outputs reach at export.

        Args:
            expected: The float graph's outputs by name, the batch first.
            outputs: The other graph's.
        """
        errors = [
            10 ** (-snr_db(*pair) / 10)
            for name in expected
            for pair in paired_slices(self.spec.decode, name, expected, outputs)
        ]
        if self.gate.cosine > ANY_COSINE:
            return sum(errors)
        task, threshold = task_of(self.spec), self.spec.score_threshold
        results = zip(decode_all(self.spec, outputs), decode_all(self.spec, expected), strict=True)
        distances = [d for pair in results for d in task.distances(*pair, threshold)]
        apart = sum(distances) / len(distances) if distances else 0.0
        return apart + TIE_BREAKER * sum(min(error, 1.0) for error in errors) / len(errors)

    @property
    def pixels(self) -> Pixels:
        """The images graphs are measured on, uint8[N,H,W,3] BGR."""
        return self.truth.pixels

    @property
    def gate(self) -> Gate:
        """What an engine has to reach without evaluation data."""
        return applicable_gate(self.required or GATE, self.spec, self.truth.results)

    @property
    def findings(self) -> int | None:
        """How many things the float graph finds; None for a task that does not locate."""
        task = task_of(self.spec)
        return sum(map(task.count, self.truth.results)) if task.locates else None

    @property
    def labels_uninformative(self) -> bool:
        """Whether labels prove so little that graphs have to agree with the float one as well."""
        if self.reference is None or self.max_drop >= GATE_OFF:
            return False
        return is_uninformative(self.reference)

    @property
    def batch_axes(self) -> dict[str, int]:
        """By output name."""
        return {output.name: output.batch_axis for output in self.spec.outputs}

    @property
    def key(self) -> str:
        """Everything a verdict depends on besides graph and images."""
        return repr(
            (
                __version__,
                [f"{name} {get_engine(name).version()}" for name in self.engines],
                numerics_key(),  # the same graph saturates on one processor and not on another
                self.evaluation.sha256() if self.evaluation else "",
                self.max_drop,
                self.gate,
                (self.spec.task, self.spec.input, self.spec.decode, self.spec.labels),
            )
        )

    def _measure(self, path: Path, engine: str, first: int) -> GateMeasurement:
        comparison = self._compare(path, engine, 0 if self.evaluation else first)
        if len(comparison.agreed) < len(self.pixels):
            return GateMeasurement(
                engine,
                comparison.cosine,
                comparison.agreement,
                comparison.agreement,
                comparison.snr_db,
            )
        decides = task_of(self.spec).decides
        return GateMeasurement(
            engine,
            comparison.cosine,
            comparison.agreement,
            self._foreseen(comparison.outputs) if decides else comparison.agreement,
            comparison.snr_db,
            _score(self.spec, path, engine, self.evaluation)[0],
        )

    def _compare(self, path: Path, engine: str, first: int) -> Comparison:
        """On all images, or on the first ones where the graph fails by far there."""
        spec, count = self.spec, len(self.pixels)
        order = np.arange(count)
        if 0 < first < count:
            early = order[:: -(-count // first)]
            order = np.concatenate([early, np.setdiff1d(order, early)])
        else:
            early = order[:0]
        with open_backend(engine, path, Options(batch=spec.smallest_batch), spec) as backend:
            parts: list[dict[str, Floats]] = []
            for chosen in _in_chunks(early, order[len(early) :]):
                parts.append(run_batches(backend, self.pixels[chosen], spec))
                done = sum(len(next(iter(part.values()))) for part in parts)
                self.progress.update(done, count)
                if done == len(early):
                    part = self.truth.part(early.tolist())
                    comparison = compare_outputs(spec, part, _joined(parts))
                    if self._fails_by_far(comparison):
                        return comparison
        back = np.argsort(order)
        outputs = {name: values[back] for name, values in _joined(parts).items()}
        return compare_outputs(spec, self.truth, outputs)

    def _fails_by_far(self, comparison: Comparison) -> bool:
        """Whether a part of the images proves enough: no luck with the others would help."""
        lost = (1 - comparison.agreement) * comparison.results
        allowed = (1 - self.gate.agreement) * comparison.results
        cosine = 1 - FAR * (1 - self.gate.cosine)
        too_many = lost > FAR * allowed + FAR_RESULTS
        return too_many or (self.gate.cosine > ANY_COSINE and comparison.cosine < cosine)

    def _foreseen(self, outputs: Mapping[str, Floats]) -> float:
        """The agreement to expect on other images. ``outputs`` is overwritten.

        The larger the error, the more decisions change, in proportion while they are few. So a few
        images with a larger error tell about many images with this one.
        """
        for name, values in self.truth.outputs.items():
            error = np.subtract(outputs[name], values, out=outputs[name])
            np.add(values, np.multiply(error, STRESS_FACTOR, out=error), out=error)
        pairs = zip(decode_all(self.spec, outputs), self.truth.results, strict=True)
        return 1 - (1 - agreement_rate(self.spec, pairs)) / STRESS_FACTOR

    def _margin(self, measurement: GateMeasurement) -> float:
        agreement = _margin(self.gate, measurement)
        if self.reference is None or measurement.quality is None:
            return agreement
        drop = self.reference.value - measurement.quality.value
        quality = self.max_drop / 100 - drop + 1e-9
        return min(quality, agreement) if self.labels_uninformative else quality

    def _ample(self, measurement: GateMeasurement) -> bool:
        if self.reference is not None and not self.labels_uninformative:
            return True
        ample = self.ample or TARGET
        cosine = ANY_COSINE if self.gate.cosine == ANY_COSINE else ample.cosine
        return _margin(Gate(cosine, ample.agreement), measurement) >= 0

    def _describe(self, measurement: GateMeasurement) -> str:
        agreement = self.gate.requirement(measurement.cosine, measurement.agreement)
        if measurement.foreseen < measurement.agreement:
            agreement += (
                f"; of other pictures {percent_text(measurement.foreseen, 1)} are expected to be"
            )
        quality = measurement.quality
        if self.reference is None or quality is None:
            return agreement
        drop = 100 * (self.reference.value - quality.value)
        change = f"a drop of {_points_lost(drop)}" if drop >= 0 else f"a gain of {-drop:.2f}"
        interval = (
            f"; {quality.samples} pictures leave it open between {100 * quality.low:.1f} and "
            f"{100 * quality.high:.1f} %"
            if quality.samples < MANY
            else ""
        )
        text = (
            f"{quality.metric} {100 * quality.value:.2f} % instead of "
            f"{100 * self.reference.value:.2f} %, {change} points "
            f"(allowed a drop of {self.max_drop:g}{interval})"
        )
        return f"{text}, and {agreement}" if self.labels_uninformative else text


def make_gate(
    spec: ModelSpec,
    model: onnx.ModelProto,
    pixels: Pixels,
    engines: Sequence[str],
    *,
    evaluation: LabeledSet | None = None,
    max_drop: float = 0.5,
    progress: Progress | None = None,
) -> AccuracyGate:
    """Measure the float graph on the first engine: what every INT8 graph is held to.

    Args:
        spec: What the model takes and gives.
        model: The float graph.
        pixels: uint8[N,H,W,3] BGR that are not calibrated on.
        engines: Backends to run graphs on.
        evaluation: Labeled images.
        max_drop: How much of their metric may be lost, in points of a hundred.
        progress: Shows how many images are done.
    """
    with model_file(model) as path:
        outputs = infer(path, spec, engines[0], pixels)
        reference, answers = _score(spec, path, engines[0], evaluation)
    return AccuracyGate(
        spec=spec,
        truth=decode_reference(spec, pixels, outputs),
        engines=engines,
        evaluation=evaluation,
        reference=reference,
        example=_wrong_answer(spec, evaluation, answers) if evaluation else "",
        max_drop=max_drop,
        progress=progress or NullProgress(),
    )


def _score(
    spec: ModelSpec, path: Path, engine: str, evaluation: LabeledSet | None
) -> tuple[Score | None, Sequence[Result]]:
    """The metric of a graph on labeled images, and its answers; None where there are none."""
    if evaluation is None:
        return None, []
    answers = ResultStore(results_on(spec, path, engine, evaluation, spec.smallest_batch))
    return task_of(spec).score(evaluation.samples, answers, spec), answers


def _wrong_answer(spec: ModelSpec, evaluation: LabeledSet, answers: Sequence[Result]) -> str:
    """The first answer that is not its label, in words; "" where they are not words."""
    task = task_of(spec)
    for sample, answer in zip(evaluation.samples, answers, strict=True):
        if task.decides and not task.score([sample], [answer], spec).value:
            answered = task.summarize(answer)
            return f"{sample.file.name} gives {answered!r} and is labeled {sample.label!r}"
    return ""


def results_on(
    spec: ModelSpec, path: Path, engine: str, evaluation: LabeledSet, batch: int
) -> Iterator[Result]:
    """Run a graph on labeled images as the runtime would.

    Args:
        spec: What it takes and gives.
        path: The graph's file.
        engine: The backend.
        evaluation: The images.
        batch: Images in one run.

    Yields:
        One decoded result per image, in the image's own pixels.
    """
    with open_backend(engine, path, Options(batch=batch), spec) as backend:
        yield from labeled_results(backend, spec, evaluation)


def _in_chunks(*groups: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """The indices of every group, CHUNK at a time."""
    for group in groups:
        for start in range(0, len(group), CHUNK):
            yield group[start : start + CHUNK]


def _joined(parts: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _margin(gate: Gate, measurement: GateMeasurement) -> float:
    return gate.margin(measurement.cosine, min(measurement.agreement, measurement.foreseen))


def _points_lost(drop: float) -> str:
    """Never rounded down to what is allowed."""
    return f"{math.ceil(100 * drop - ROUNDING) / 100:.2f}"


def is_uninformative(reference: Score) -> bool:
    """Whether a float model scores so badly that to lose little of it is easy."""
    return reference.value < max(POOR, CHANCE_FACTOR * reference.chance)


@contextmanager
def model_file(model: onnx.ModelProto) -> Iterator[Path]:
    """A graph as a file for as long as the block lasts, because engines load files."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        yield path
