"""How well the artifacts of a bundle do on labeled images, on the engines of this machine."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from edgecnn_runtime.backends import Backend, get_engine, open_backend
from edgecnn_runtime.backends.candidate import Candidate
from edgecnn_runtime.bundle.bundle import Bundle
from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.device.cache import default_cache_dir
from edgecnn_runtime.errors import SelfTestError, UnsupportedModelError
from edgecnn_runtime.evaluation.dataset import LabeledSet
from edgecnn_runtime.evaluation.metrics import Score
from edgecnn_runtime.preprocess import Preprocessor
from edgecnn_runtime.tasks import make_decoder, task_of
from edgecnn_runtime.types import Result
from edgecnn_runtime.verification.result_matching import agreement_rate
from edgecnn_runtime.verification.result_store import ResultStore
from edgecnn_runtime.verification.selftest import ensure_selftest


@dataclass(frozen=True, kw_only=True)
class ArtifactScore:
    """One artifact on labeled images.

    Attributes:
        candidate: The artifact and the engine that ran it.
        version: The engine's.
        score: By the metric of the task; None where the engine does not take the artifact.
        classes: The same class by class, by name; empty for a task without classes.
        agreement: The share of results that equal those of the first artifact; None for that one.
        problem: Why ``load`` would not use it here; "" where it would.
    """

    candidate: Candidate
    version: str
    score: Score | None = None
    classes: Mapping[str, Score]
    agreement: float | None = None
    problem: str = ""


def score_artifacts(
    bundle: Bundle,
    candidates: Sequence[Candidate],
    labeled: LabeledSet,
    on_image: Callable[[], None] = lambda: None,
    spec: ModelSpec | None = None,
) -> Iterator[ArtifactScore]:
    """Score each artifact on all images.

    Args:
        bundle: Whose artifacts they are.
        candidates: What to run, the one first that others are compared with.
        labeled: The images.
        on_image: Called after each image of each artifact.
        spec: How outputs are decoded, where not as the bundle says; all else in it is the bundle's.

    Yields:
        One score per candidate, when it is known.

    Raises:
        UsageError: A file is not an image.
        BackendMissingError: The engine of a candidate is not here.
        BundleError: The bundle is damaged.
    """
    spec = spec or bundle.manifest.model
    task = task_of(spec)
    reference: Sequence[Result] = ()
    for candidate in candidates:
        version = get_engine(candidate.backend).version()
        try:
            results, problem = _run(bundle, candidate, labeled, on_image, spec)
        except UnsupportedModelError as error:
            yield ArtifactScore(
                candidate=candidate, version=version, classes={}, problem=str(error)
            )
            continue
        agreement = None
        if reference:
            agreement = agreement_rate(spec, zip(results, reference, strict=True))
        reference = reference or results
        yield ArtifactScore(
            candidate=candidate,
            version=version,
            score=task.score(labeled.samples, results, spec),
            classes=task.score_classes(labeled.samples, results, spec),
            agreement=agreement,
            problem=problem,
        )


def labeled_results(backend: Backend, spec: ModelSpec, labeled: LabeledSet) -> Iterator[Result]:
    """Run labeled images as the runtime would run a camera's.

    Args:
        backend: Opened; its ``pixels`` are overwritten.
        spec: What the model takes and gives.
        labeled: The images.

    Yields:
        One decoded result per image, in the image's own pixels.

    Raises:
        UsageError: A file is not an image.
    """
    decoder, preprocessor = make_decoder(spec), Preprocessor(spec.input, backend.pixels)
    frames = labeled.frames()
    while geometries := [
        preprocessor.load_frame(frame, slot)
        for slot, (_, frame) in enumerate(islice(frames, len(backend.pixels)))
    ]:
        outputs = backend.run()
        for slot, geometry in enumerate(geometries):
            yield decoder.decode(outputs, slot, geometry)


def _run(
    bundle: Bundle,
    candidate: Candidate,
    labeled: LabeledSet,
    on_image: Callable[[], None],
    spec: ModelSpec,
) -> tuple[Sequence[Result], str]:
    """All results, and why ``load`` would refuse the candidate."""
    artifact, cache = candidate.artifact, default_cache_dir()
    options = candidate.options(spec.smallest_batch, cache)
    engine, problem = get_engine(candidate.backend), ""

    def watched(results: Iterator[Result]) -> Iterator[Result]:
        for result in results:
            yield result
            on_image()

    with open_backend(engine.name, bundle.file(artifact), options, spec) as backend:
        if not engine.is_fake:
            try:
                ensure_selftest(bundle, artifact, candidate.engine, backend, cache)
            except SelfTestError as error:
                problem = str(error)
        return ResultStore(watched(labeled_results(backend, spec, labeled))), problem
