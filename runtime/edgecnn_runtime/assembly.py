"""Recipes → pipelines: models are opened, and the parts of each camera are put together."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from edgecnn_runtime.event_maker import EventMaker, ModelIdentity
from edgecnn_runtime.inference import ModelInference
from edgecnn_runtime.model import Model, load
from edgecnn_runtime.pipeline import Pipeline
from edgecnn_runtime.recipe import ANSWERS, Detect, Recipe, Recognize, read_recipe
from edgecnn_runtime.rules import Rules
from edgecnn_runtime.rules.base import Rule
from edgecnn_runtime.rules.happenings import Happenings
from edgecnn_runtime.rules.thresholds import Thresholds
from edgecnn_runtime.stages.model_reader import CROPS_PER_RUN, ModelReader
from edgecnn_runtime.stages.recognize import CropReader, Recognizer
from edgecnn_runtime.track import TRACKERS, Tracker
from edgecnn_runtime.track.still import StillTracker
from edgecnn_runtime.types import Frame, FrameResult, Point, Track
from edgecnn_runtime.vote import VOTERS, TrackVoter, Voter
from edgecnn_runtime.vote.single import SingleVoter
from edgecnn_runtime.vote.syntax import make_syntax, read_syntax


def load_pipeline(
    path: str | Path,
    *,
    camera: str = "camera",
    backend: str = "",
    threads: int = 0,
    cache_dir: str | Path | None = None,
    self_test: bool = True,
) -> Pipeline:
    """Open a pipeline for one camera, with models of its own.

    Args:
        path: A YAML file, or a bundle, which is the shortest pipeline.
        camera: The name in its events.
        backend: For every model, instead of what the file says.
        threads: The same.
        cache_dir: As in ``load``.
        self_test: As in ``load``.

    Returns:
        The pipeline; close it, or use it as a context manager.

    Raises:
        ConfigError: A key or value cannot be right, or the models do not fit each other.
        EdgecnnError: A model cannot be opened, for one of the reasons that ``load`` lists.
    """
    models = open_models(
        read_recipe(path), backend=backend, threads=threads, cache_dir=cache_dir,
        self_test=self_test,
    )  # fmt: skip
    infer = ModelInference(models.first)
    return models.pipeline(camera, infer=lambda frame: infer([frame])[0], close=models.close)


@dataclass(frozen=True)
class PipelineModels:
    """The opened models of a recipe; close them, or use them as a context manager.

    Attributes:
        recipe: What they were opened for.
        first: Looks at every frame.
        second: Looks at crops; None without one.
        reader: Runs it, for one caller at a time.
        batched: The second model again, for several crops per run; None where its bundle takes one.
    """

    recipe: Recipe
    first: Model
    second: Model | None
    reader: CropReader | None
    batched: Model | None = None

    def pipeline(
        self,
        camera: str,
        *,
        infer: Callable[[Frame], FrameResult] | None = None,
        close: Callable[[], None] = lambda: None,
    ) -> Pipeline:
        """A pipeline for one camera; several share the models.

        Args:
            camera: The name in its events.
            infer: Runs the first model on one frame; None where ``follow`` gets its results.
            close: Called by the pipeline's ``close``.
        """
        return make_pipeline(
            self.recipe,
            self.first,
            self.second,
            self.reader,
            camera=camera,
            infer=infer,
            close=close,
        )

    def close(self) -> None:
        """Release the engines. Idempotent."""
        for model in (self.first, self.second, self.batched):
            if model is not None:
                model.close()

    def __enter__(self) -> "PipelineModels":
        return self

    def __exit__(self, *_problem: object) -> None:
        self.close()


def open_models(
    recipe: Recipe,
    *,
    backend: str = "",
    threads: int = 0,
    cache_dir: str | Path | None = None,
    self_test: bool = True,
) -> PipelineModels:
    """Open the models of a recipe.

    Args:
        recipe: What ``read_recipe`` gives.
        backend: For every model, instead of what the recipe says.
        threads: The same.
        cache_dir: As in ``load``.
        self_test: As in ``load``.

    Raises:
        EdgecnnError: A model cannot be opened, for one of the reasons that ``load`` lists.
    """
    open_one = partial(
        open_part, backend=backend, threads=threads, cache_dir=cache_dir, self_test=self_test
    )
    with ExitStack() as stack:
        first = stack.enter_context(open_one(recipe.first, score=recipe.least_score))
        if recipe.second is None:
            stack.pop_all()
            return PipelineModels(recipe, first, None, None)
        second, batched = stack.enter_context(open_one(recipe.second)), None
        crops = second.spec.largest_batch(CROPS_PER_RUN)
        if crops > second.batch_size:
            batched = stack.enter_context(open_one(recipe.second, batch=crops))
        reader = ModelReader(second) if batched is None else ModelReader(second, batched)
        stack.pop_all()
    return PipelineModels(recipe, first, second, reader, batched)


def open_part(
    part: Detect | Recognize,
    *,
    score: float | None = None,
    batch: int = 1,
    backend: str = "",
    threads: int = 0,
    cache_dir: str | Path | None = None,
    self_test: bool = True,
) -> Model:
    """Open the model of one part of a recipe.

    Args:
        part: Names the bundle, and what it runs on.
        score: ``Recipe.least_score``, for a detector.
        batch: The most frames of one inference.
        backend: Instead of what the part says.
        threads: The same.
        cache_dir: As in ``load``.
        self_test: As in ``load``.

    Raises:
        EdgecnnError: It cannot be opened, for one of the reasons that ``load`` lists.
    """
    return load(
        part.model,
        digest=part.digest,
        backend=backend or part.backend,
        threads=threads or part.threads,
        batch=batch,
        score=score,
        cache_dir=cache_dir,
        self_test=self_test,
    )


def make_pipeline(
    recipe: Recipe,
    first: ModelIdentity,
    second: ModelIdentity | None = None,
    reader: CropReader | None = None,
    *,
    camera: str,
    zones: Mapping[str, Sequence[Point]] | None = None,
    lines: Mapping[str, Sequence[Point]] | None = None,
    rules: Sequence[Rule] = (),
    enlarge: Callable[[Frame], Frame | None] | None = None,
    watch: Callable[[Frame, Sequence[Track]], None] = lambda _frame, _tracks: None,
    infer: Callable[[Frame], FrameResult] | None = None,
    close: Callable[[], None] = lambda: None,
) -> Pipeline:
    """Put the parts of one camera together.

    Args:
        recipe: What ``read_recipe`` gives.
        first: The model that looks at every frame, as its events name it.
        second: The model that looks at crops; the same.
        reader: Runs ``second``.
        camera: The name in its events.
        zones: Of this camera; None for those of the recipe.
        lines: The same.
        rules: Applied to every event, in this order, after those of the recipe.
        enlarge: Gives the frame of the same moment in a larger stream, to cut crops from; as
            ``Recognizer`` takes it.
        watch: As ``Pipeline`` takes it.
        infer: Runs ``first`` on one frame; None where its results are given to ``follow``.
        close: Called by the pipeline's ``close``.
    """
    detect, accept = recipe.detect, recipe.accept
    return Pipeline(
        _tracker(recipe),
        EventMaker(camera, first, second),
        types=recipe.events,
        stage=None if reader is None else _stage(recipe.second, reader, enlarge),
        voter=_voter(recipe),
        happenings=Happenings(
            recipe.zones if zones is None else zones,
            recipe.lines if lines is None else lines,
            thresholds=Thresholds(accept.min_size, accept.min_seconds, accept.scores),
            present=recipe.present_every,
        ),
        rules=[Rules(recipe.rules, Path()), *rules] if recipe.rules else rules,
        stills=StillTracker(0.0 if detect is None else detect.score or 0.0),
        labels=() if detect is None else detect.labels,
        confident=0.0 if detect is None else detect.score or 0.0,
        watch=watch,
        infer=infer,
        close=close,
    )


def _tracker(recipe: Recipe) -> Tracker:
    kinds = ANSWERS if recipe.detect is None else TRACKERS
    settings = dict(recipe.track)
    kind = kinds[settings.pop("kind")]
    return kind.make(msgspec.convert(settings, kind.settings))


def _stage(
    part: Recognize | None,
    reader: CropReader,
    enlarge: Callable[[Frame], Frame | None] | None,
) -> Recognizer:
    assert part is not None
    return Recognizer(
        reader,
        crop=part.crop,
        margin=part.margin,
        per_track=part.per_track,
        per_frame=part.per_frame,
        min_quality=part.min_quality,
        enlarge=enlarge,
    )


def _voter(recipe: Recipe) -> Voter | None:
    vote = recipe.vote
    refine = make_syntax(read_syntax(vote.syntax), vote.countries) if vote.syntax else None
    if recipe.detect is None:
        return SingleVoter(refine)
    if not vote.kind:
        return None
    return TrackVoter(VOTERS[vote.kind], votes=vote.votes, score=vote.score, refine=refine)
