"""A pipeline as data: what a YAML file says, checked whole before anything starts.

    # plates.yaml; paths are relative to this file
    detect: {model: plate-detector.edge, score: 0.4}
    track: {max_gap: 1.5}
    recognize: {model: plate-reader.edge, crop: corners, per_track: 8}
    vote: {kind: text}
    events: [recognized, left]

Either model may be left out. Without a second model, objects enter and leave. Without a detector,
the other one looks at whole frames, and its answer is an event whenever it changes for good. A
bundle alone is the shortest pipeline.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from edgecnn_runtime.bundle.bundle import Bundle, open_bundle
from edgecnn_runtime.bundle.manifest import ModelSpec, TaskName
from edgecnn_runtime.config import KeyLines, read_yaml
from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.schema_errors import Key, suggestion

YAML_SUFFIXES = (".yaml", ".yml")

BundlePath = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=4096)]
Digest = Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$")]
Name = Annotated[str, Meta(max_length=64)]
Score = Annotated[float, Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, Meta(gt=0.0, le=86400.0)]
Readings = Annotated[int, Meta(ge=1, le=1000)]
Threads = Annotated[int, Meta(ge=0, le=1024)]
Crop: TypeAlias = Literal["box", "corners", "landmarks"]
VoteKind: TypeAlias = Literal["text", "label", "embedding"]
PipelineEvent: TypeAlias = Literal["entered", "recognized", "crossed", "present", "left"]

POINTS: Mapping[Crop, int] = {"box": 0, "corners": 4, "landmarks": 5}
"""How many points of a detection a crop is cut by."""
VOTES: Mapping[TaskName, VoteKind] = {"ocr": "text", "classify": "label", "embed": "embedding"}
"""How the results of a second model are voted on, by its task."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The base of every part: unknown keys are refused."""


class Detect(Part, frozen=True, kw_only=True):
    """The model that looks at every frame and finds objects.

    Attributes:
        model: Its bundle.
        score: Detections from this score on begin a track; by default the bundle's threshold. Less
            sure ones are used, too, to follow tracks that exist.
        labels: Only these classes; empty for all.
        digest: Refuse any other content of the bundle; ``edgecnn inspect`` prints it.
        backend: Use this engine; empty for the one that was chosen here.
        threads: Threads of the engine; 0 for what was chosen here.
    """

    model: BundlePath
    score: Score | None = None
    labels: tuple[Name, ...] = ()
    digest: Digest = ""
    backend: Name = ""
    threads: Threads = 0


class Following(Part, frozen=True, kw_only=True):
    """How objects are followed from frame to frame.

    Attributes:
        max_gap: Seconds after which a track that is not seen any more has ended.
    """

    max_gap: Seconds = 1.5


class Recognize(Part, frozen=True, kw_only=True):
    """The second model, which looks at crops of the tracks; without a detector, at whole frames.

    Attributes:
        model: Its bundle, of a classify, ocr or embed model.
        crop: How a crop is cut from the full frame: along the box, rectified by the four corners
            that the detector finds, or aligned by its five landmarks.
        margin: What to add on every side of the box, as a fraction of its size.
        per_track: How often a track is looked at, at most; its best crops come first.
        digest: As in ``detect``.
        backend: As in ``detect``.
        threads: As in ``detect``.
    """

    model: BundlePath
    crop: Crop = "box"
    margin: Annotated[float, Meta(ge=0.0, le=2.0)] = 0.0
    per_track: Readings = 8
    digest: Digest = ""
    backend: Name = ""
    threads: Threads = 0


class Vote(Part, frozen=True, kw_only=True):
    """How the results of the second model become one answer per track.

    Attributes:
        kind: ``text`` (character by character), ``label`` (classes) or ``embedding``; by
            default what the second model's task needs.
    """

    kind: VoteKind | None = None


class Recipe(Part, frozen=True, kw_only=True):
    """A whole pipeline.

    Attributes:
        detect: The model that finds objects; None where the second one looks at whole frames.
        track: How objects are followed.
        recognize: The model that looks closer; None without one.
        vote: How its results become one answer per track.
        events: What is reported; by default what there is: entered (or recognized), crossed, left.
        present_every: Seconds after which ``present`` says again that a track is still there.
    """

    detect: Detect | None = None
    track: Following = Following()
    recognize: Recognize | None = None
    vote: Vote = Vote()
    events: tuple[PipelineEvent, ...] = ()
    present_every: Seconds = 60.0

    @property
    def first(self) -> Detect | Recognize:
        """The model that looks at every frame."""
        model = self.detect or self.recognize
        assert model is not None
        return model

    @property
    def second(self) -> Recognize | None:
        """The model that looks at crops."""
        return self.recognize if self.detect is not None else None


def read_recipe(path: str | Path) -> Recipe:
    """Read a pipeline and check it against the bundles that it names.

    Args:
        path: A YAML file, or a bundle, which is a pipeline by itself.

    Returns:
        The recipe; the paths in it are not relative any more, and every default that depends on
        the models is filled in.

    Raises:
        ConfigError: A key or value cannot be right, or the models do not fit each other; the
            message begins ``FILE:LINE: KEY``.
        UsageError: There is no such bundle.
        BundleError: A bundle is damaged.
    """
    path = Path(path)
    if not is_recipe(path):
        return _complete(_of_bundle(path), KeyLines(str(path), {(): 1}))
    recipe, lines = read_yaml(path, Recipe)
    if recipe.detect is None and recipe.recognize is None:
        raise lines.error((), "a pipeline has at least one model: detect: {model: NAME.edge}")
    return _complete(_resolved(recipe, path.parent), lines)


def is_recipe(path: Path) -> bool:
    """Whether a path names a pipeline in YAML, and not a bundle."""
    return path.suffix.lower() in YAML_SUFFIXES and not path.is_dir()


def _of_bundle(path: Path) -> Recipe:
    if open_bundle(path).manifest.model.task == "detect":
        return Recipe(detect=Detect(model=str(path)))
    return Recipe(recognize=Recognize(model=str(path)))


def _resolved(recipe: Recipe, folder: Path) -> Recipe:
    """With paths that are relative to the folder."""

    def resolve(part: Detect | Recognize | None) -> Detect | Recognize | None:
        return part and replace(part, model=str(folder / part.model))

    return replace(recipe, detect=resolve(recipe.detect), recognize=resolve(recipe.recognize))


def _complete(recipe: Recipe, lines: KeyLines) -> Recipe:
    """The recipe with the defaults that depend on its models.

    Raises:
        ConfigError: A part does not fit its model, or one model the other.
    """
    vote = recipe.vote
    detector = None
    if recipe.detect is not None:
        detector = _spec(recipe.detect, ("detect",), lines)
        _check_detector(recipe.detect, detector, lines)
    if recipe.recognize is not None:
        reader = _spec(recipe.recognize, ("recognize",), lines)
        _check_reader(recipe.recognize, reader, detector, lines)
        vote = _vote(vote, reader, lines)
    elif vote.kind is not None:
        raise lines.error(("vote",), "votes need a second model: recognize: {model: NAME.edge}")
    return replace(recipe, vote=vote, events=_events(recipe, lines))


def _spec(part: Detect | Recognize, key: Key, lines: KeyLines) -> ModelSpec:
    try:
        bundle: Bundle = open_bundle(part.model, digest=part.digest)
    except EdgecnnError as error:
        raise type(error)(str(lines.error((*key, "model"), str(error)))) from None
    return bundle.manifest.model


def _check_detector(part: Detect, model: ModelSpec, lines: KeyLines) -> None:
    if model.task != "detect":
        raise lines.error(
            ("detect", "model"),
            f"{part.model} finds no objects, its task is {model.task!r}: name a detector, or name "
            "this bundle under recognize and leave detect out, to look at whole frames",
        )
    if part.score is not None and not hasattr(model.decode, "score"):
        raise lines.error(("detect", "score"), f"{part.model} has no score threshold")
    for i, label in enumerate(part.labels):
        if label not in model.labels:
            known = ", ".join(model.labels[:20]) or "none"
            hint = suggestion(label, model.labels) or f"; its classes: {known}"
            raise lines.error(("detect", "labels", i), f"{part.model} has no class {label!r}{hint}")


def _check_reader(
    part: Recognize, model: ModelSpec, detector: ModelSpec | None, lines: KeyLines
) -> None:
    if model.task not in VOTES:
        raise lines.error(
            ("recognize", "model"),
            f"{part.model} is a {model.task} model; what looks closer reads or names what was "
            f"found: {', '.join(VOTES)}",
        )
    if detector is None:
        if model.task == "embed":
            raise lines.error(
                ("recognize", "model"),
                f"{part.model} gives vectors, which name nothing by themselves: put a detector "
                "before it (detect: {model: NAME.edge})",
            )
        if part.crop != "box":
            raise lines.error(("recognize", "crop"), "there is no detector whose points to cut by")
        return
    found, needed = int(getattr(detector.decode, "points", 0)), POINTS[part.crop]
    if needed and found != needed:
        raise lines.error(
            ("recognize", "crop"),
            f"{part.crop} needs {needed} points per detection, and the detector finds "
            f"{found or 'none'}: use crop: box, or another detector",
        )


def _vote(vote: Vote, model: ModelSpec, lines: KeyLines) -> Vote:
    needed = VOTES[model.task]
    if vote.kind not in {None, needed}:
        raise lines.error(
            ("vote", "kind"), f"{vote.kind} is not what the {model.task} model gives: {needed}"
        )
    return replace(vote, kind=needed)


def _events(recipe: Recipe, lines: KeyLines) -> tuple[PipelineEvent, ...]:
    if "recognized" in recipe.events and recipe.recognize is None:
        raise lines.error(
            ("events", recipe.events.index("recognized")),
            "nothing is recognized without a second model: recognize: {model: NAME.edge}",
        )
    if recipe.events:
        return recipe.events
    if recipe.detect is None:
        return ("recognized",)
    return ("entered" if recipe.recognize is None else "recognized", "crossed", "left")
