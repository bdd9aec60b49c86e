"""A pipeline as data: what a YAML file says, checked whole before anything starts.

    # plates.yaml; paths are relative to this file
    detect: {model: plate-detector.edge, score: 0.4}
    track: {max_gap: 1.5}                 # seconds, not frames
    recognize: {model: plate-reader.edge, crop: corners, per_track: 8}
    vote: {kind: text}
    events: [recognized, left]

Either model may be left out. Without a second model, objects enter and leave. Without a detector,
the other one looks at whole frames, and its answer is an event whenever it changes for good. A
bundle alone is the shortest pipeline.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from edgecnn_runtime.bundle.bundle import open_bundle
from edgecnn_runtime.bundle.manifest import ModelSpec, Semantic
from edgecnn_runtime.config import KeyLines, is_yaml, parse_keys, read_text
from edgecnn_runtime.errors import ConfigError, EdgecnnError, UsageError
from edgecnn_runtime.rules import RuleConfig, Rules
from edgecnn_runtime.rules.lines import check_line
from edgecnn_runtime.rules.rule import NOT_RECOGNIZED, class_problem, rule_mistakes
from edgecnn_runtime.rules.zones import check_polygon
from edgecnn_runtime.schema_errors import Key, explain, suggestion, unknown_key_message
from edgecnn_runtime.stages.crop import CROPS, CropKind
from edgecnn_runtime.tasks import task_of
from edgecnn_runtime.track import TRACKERS, TrackerKind, answer
from edgecnn_runtime.vote import VOTERS, voter_for_task
from edgecnn_runtime.vote.syntax import country_problem, read_syntax

ANSWERS: Mapping[str, TrackerKind] = {"answer": answer.KIND}
"""What follows the answers of a model that looks at whole frames."""

BundlePath = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=4096)]
Digest = Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$")]
Name = Annotated[str, Meta(min_length=1, max_length=64)]
OptionalName = Annotated[str, Meta(max_length=64)]
Fraction = Annotated[float, Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, Meta(gt=0.0, le=86400.0)]
Readings = Annotated[int, Meta(ge=1, le=1000)]
Threads = Annotated[int, Meta(ge=0, le=1024)]
Areas: TypeAlias = dict[Name, tuple[tuple[float, float], ...]]
PipelineEvent: TypeAlias = Literal["entered", "recognized", "crossed", "present", "left"]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The base of every part: unknown keys are refused."""


class Detect(Part, frozen=True, kw_only=True):
    """The model that looks at every frame and finds objects.

    Attributes:
        model: Its bundle.
        score: Detections from this score on begin a track; by default the bundle's threshold. Less
            sure ones may continue a track.
        labels: Only these classes; empty for all.
        digest: Refuse any other content of the bundle; ``edgecnn inspect`` prints it.
        backend: Use this engine; empty for the one that was chosen here.
        threads: Threads of the engine; 0 for what was chosen here.
    """

    model: BundlePath
    score: Fraction | None = None
    labels: tuple[Name, ...] = ()
    digest: Digest = ""
    backend: OptionalName = ""
    threads: Threads = 0


class Accept(Part, frozen=True, kw_only=True):
    """Which tracks count: of others, nothing is said.

    Attributes:
        min_size: The least width and height of its box, as a fraction of the frame's shorter side.
        min_seconds: How long it has to be seen.
        scores: The least score of its detection, by class.
    """

    min_size: Fraction = 0.0
    min_seconds: Annotated[float, Meta(ge=0.0, le=86400.0)] = 0.0
    scores: dict[Name, Fraction] = {}


class Recognize(Part, frozen=True, kw_only=True):
    """The second model, which looks at crops of the tracks; without a detector, at whole frames.

    Attributes:
        model: Its bundle: of a classify, ocr or embed model.
        crop: How a crop is cut from the full frame: along the ``box``, straightened by the four
            ``corners`` that the detector finds, or aligned by its five ``landmarks``.
        margin: What to add around the object, as a fraction of its size.
        per_track: How often a track is looked at, at most; its best crops come first.
        per_frame: How many crops of one frame are looked at, at most; new tracks come first.
        min_quality: Crops of a lower quality, 0 to 1, are not looked at.
        digest: As in ``detect``.
        backend: As in ``detect``.
        threads: As in ``detect``.
    """

    model: BundlePath
    crop: CropKind = "box"
    margin: Annotated[float, Meta(ge=0.0, le=2.0)] = 0.0
    per_track: Readings = 8
    per_frame: Readings = 4
    min_quality: Fraction = 0.02
    digest: Digest = ""
    backend: OptionalName = ""
    threads: Threads = 0


class Vote(Part, frozen=True, kw_only=True):
    """How the results of the second model become one answer per track.

    Attributes:
        kind: ``text`` (character by character), ``label`` (class by class) or ``embedding``; by
            default what the second model's task needs.
        votes: Results that a decision needs, unless the track has ended.
        score: How sure a decision must be, 0 to 1.
        syntax: A file that says what texts look like, for votes of the kind ``text``.
        countries: Entries of it whose texts are expected: doubtful characters become those that
            fit. Empty changes no text.
    """

    kind: OptionalName = ""
    votes: Readings = 3
    score: Fraction = 0.5
    syntax: Annotated[str, Meta(max_length=4096)] = ""
    countries: tuple[Name, ...] = ()


class Recipe(Part, frozen=True, kw_only=True):
    """A whole pipeline.

    Attributes:
        detect: The model that finds objects; None where the second one looks at whole frames.
        track: How objects are followed: ``kind`` and the settings of that kind of tracker.
        accept: Which tracks count.
        recognize: The model that looks closer; None without one.
        vote: How its results become one answer per track.
        events: What is reported; by default ``entered`` (``recognized`` where there is a second
            model), ``crossed`` and ``left``, of whole frames ``recognized`` alone.
        present_every: Seconds after which ``present`` says again that a track is still there.
        zones: Named parts of the picture, polygons whose points are fractions of its width and
            height; for cameras that have none of their own.
        lines: Named lines, two points each; for cameras that have none of their own.
        rules: Which of its events pass, before the rules of a site; files are relative.
    """

    detect: Detect | None = None
    track: dict[str, Any] = {}
    accept: Accept = Accept()
    recognize: Recognize | None = None
    vote: Vote = Vote()
    events: tuple[PipelineEvent, ...] = ()
    present_every: Seconds = 60.0
    zones: Areas = {}
    lines: Areas = {}
    rules: tuple[RuleConfig, ...] = ()

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

    @property
    def least_score(self) -> float | None:
        """Detections below it are of no use; None where nothing is detected."""
        if self.detect is None or self.detect.score is None:
            return None
        return min(self.detect.score, float(self.track.get("doubtful", 1.0)))


def read_recipe(path: str | Path, *, score: float | None = None, cropped: bool = False) -> Recipe:
    """Read a pipeline and check it against the bundles that it names.

    Args:
        path: A YAML file, or a bundle, which is a pipeline by itself.
        score: The detector's threshold, instead of what the file says.
        cropped: Without the detector: every frame is an object that is cut out already.

    Returns:
        The recipe; the paths in it are not relative any more, and every default that depends on
        the models is filled in.

    Raises:
        ConfigError: A key or value cannot be right, or the models do not fit each other; the
            message begins ``FILE:LINE: KEY``.
        UsageError: There is no such bundle, or the score is none of a detector.
        BundleError: A bundle is damaged.
    """
    path = Path(path)
    recipe, lines = _read(path)
    if recipe.detect is None and recipe.recognize is None:
        raise lines.error((), "a pipeline has at least one model: detect: {model: NAME.edge}")
    if cropped:
        recipe = _without_detector(recipe, lines)
    if score is not None:
        if recipe.detect is None or not 0 <= score <= 1:
            raise UsageError(
                f"a score of {score:g}: it is a probability, 0 to 1, and drops detections, so that "
                "it needs a detector"
            )
        recipe = replace(recipe, detect=replace(recipe.detect, score=score))
    return complete(recipe, lines)


def complete(recipe: Recipe, lines: KeyLines) -> Recipe:
    """The recipe with the defaults that depend on its models, checked against them.

    Args:
        recipe: With paths that are not relative.
        lines: Where its keys stand.

    Raises:
        ConfigError: A part does not fit its model, or one model the other.
        UsageError: There is no such bundle.
        BundleError: A bundle is damaged.
    """
    detect, detector, reader = recipe.detect, None, None
    if detect is not None:
        detector = _read_spec(detect, "detect", lines)
        _check_detector(detect, detector, lines)
        if detect.score is None:
            detect = replace(detect, score=detector.score_threshold)
    vote = recipe.vote
    if recipe.recognize is not None:
        reader = _read_spec(recipe.recognize, "recognize", lines)
        _check_reader(recipe.recognize, reader, detector, lines)
        vote = _complete_vote(vote, reader, lines)
    elif vote.kind:
        raise lines.error(("vote",), "votes need a second model: recognize: {model: NAME.edge}")
    if (first := detector or reader) and (first is detector or first.labels):
        for label in recipe.accept.scores:  # texts are classes of their own
            _check_label(label, first, ("accept", "scores", label), lines)
    _check_areas(recipe, lines)
    _check_rules(recipe, detector, lines)
    track, events = _complete_track(recipe.track, detect, lines), _complete_events(recipe, lines)
    return replace(recipe, detect=detect, vote=vote, track=track, events=events)


def followed_classes(recipe: Recipe) -> tuple[str, ...] | None:
    """The names of the classes that a pipeline follows; None where it looks at whole frames.

    Args:
        recipe: What ``read_recipe`` gives.

    Raises:
        EdgecnnError: The bundle of its detector is not what it was.
    """
    if recipe.detect is None:
        return None
    return _classes(recipe, open_bundle(recipe.detect.model).manifest.model)


def _read(path: Path) -> tuple[Recipe, KeyLines]:
    if not is_yaml(path):
        return _of_bundle(path), KeyLines(str(path), {(): 1})
    if not path.exists():
        raise ConfigError(
            f"{path}: there is no such pipeline; a bundle (NAME.edge) is one by itself, and "
            "`detect: {model: NAME.edge}` is the shortest file"
        )
    text = read_text(path)
    if re.search(r"^cameras:", text, re.MULTILINE):
        raise ConfigError(f"{path}: is a site, not a pipeline: `edgecnn serve {path}`")
    recipe, lines = parse_keys(text, Recipe, str(path))
    return _resolve(recipe, path.parent), lines


def _without_detector(recipe: Recipe, lines: KeyLines) -> Recipe:
    """Of whole frames that are the crops."""
    if recipe.recognize is None:
        raise lines.error((), "has no second model, and nothing that reads crops")
    recognize = replace(recipe.recognize, crop="box", margin=0.0)
    return Recipe(recognize=recognize, vote=recipe.vote, rules=recipe.rules)


def _of_bundle(path: Path) -> Recipe:
    if task_of(open_bundle(path).manifest.model).locates:
        return Recipe(detect=Detect(model=str(path)))
    return Recipe(recognize=Recognize(model=str(path)))


def _resolve(recipe: Recipe, folder: Path) -> Recipe:
    """With paths that are relative to the folder of the file."""
    detect, recognize = (
        part and replace(part, model=str(folder / part.model))
        for part in (recipe.detect, recipe.recognize)
    )
    rules = tuple(_resolve_rule(rule, folder) for rule in recipe.rules)
    vote = recipe.vote
    if vote.syntax:
        vote = replace(vote, syntax=str(folder / vote.syntax))
    return replace(recipe, detect=detect, recognize=recognize, vote=vote, rules=rules)


def _resolve_rule(rule: RuleConfig, folder: Path) -> RuleConfig:
    known = rule.watchlist
    if isinstance(known, str):
        return replace(rule, watchlist=str(folder / known))
    return replace(rule, watchlist=known and replace(known, file=str(folder / known.file)))


def _read_spec(part: Detect | Recognize, key: str, lines: KeyLines) -> ModelSpec:
    try:
        return open_bundle(part.model, digest=part.digest).manifest.model
    except EdgecnnError as error:  # of the same type, at its place
        raise type(error)(str(lines.error((key, "model"), str(error)))) from None


def _check_detector(part: Detect, model: ModelSpec, lines: KeyLines) -> None:
    if not task_of(model).locates:
        raise lines.error(
            ("detect", "model"),
            f"{part.model} finds no objects, its task is {model.task!r}: name a detector, or put "
            "this bundle under recognize and leave detect out, to look at whole frames",
        )
    if isinstance(model.decode, Semantic):
        raise lines.error(
            ("detect", "model"),
            f"{part.model} gives every pixel a class, and a class map has no objects to follow: "
            "name a detector, or a segment model of instances; edgecnn run takes the bundle itself",
        )
    for i, label in enumerate(part.labels):
        _check_label(label, model, ("detect", "labels", i), lines)


def _check_label(label: str, model: ModelSpec, key: Key, lines: KeyLines) -> None:
    if problem := class_problem(label, [model.labels]):
        raise lines.error(key, problem)


def _check_reader(
    part: Recognize, model: ModelSpec, detector: ModelSpec | None, lines: KeyLines
) -> None:
    """Whether the second model can read what the first one finds."""
    if not voter_for_task(model.task):
        tasks = ", ".join(kind.task for kind in VOTERS.values())
        raise lines.error(
            ("recognize", "model"),
            f"the task of {part.model} is {model.task!r}; what looks closer is one of {tasks}",
        )
    if detector is None:
        if model.task == "embed":
            raise lines.error(
                ("recognize", "model"),
                f"{part.model} gives vectors, which say nothing of a whole frame: put a detector "
                "before it, detect: {model: NAME.edge}",
            )
        if part.crop != "box":
            raise lines.error(
                ("recognize", "crop"), "there is no detector, whose points it could be cut by"
            )
        return
    needed, found = CROPS[part.crop].points, int(getattr(detector.decode, "points", 0))
    if needed and found != needed:
        raise lines.error(
            ("recognize", "crop"),
            f"{part.crop} are {needed} points, and the detector finds {found or 'none'}: "
            "use crop: box, or another detector",
        )


def _complete_vote(vote: Vote, model: ModelSpec, lines: KeyLines) -> Vote:
    needed = voter_for_task(model.task)
    if vote.kind and vote.kind not in VOTERS:
        hint = suggestion(vote.kind, VOTERS)
        raise lines.error(
            ("vote", "kind"), f"cannot be {vote.kind!r}; one of {', '.join(VOTERS)}{hint}"
        )
    if vote.kind and VOTERS[vote.kind].task != model.task:
        raise lines.error(
            ("vote", "kind"),
            f"{vote.kind} does not count what the second model gives, its task is "
            f"{model.task!r}: use {needed}",
        )
    vote = replace(vote, kind=vote.kind or needed)
    _check_syntax(vote, lines)
    return vote


def _check_syntax(vote: Vote, lines: KeyLines) -> None:
    """Whether the countries are known, and the votes are of texts."""
    if not vote.syntax:
        if vote.countries:
            raise lines.error(
                ("vote", "countries"), "they are entries of a file: add syntax: syntax.yaml"
            )
        return
    if vote.kind != "text":
        raise lines.error(
            ("vote", "syntax"), f"it is of texts, and the votes are of the kind {vote.kind}"
        )
    file = read_syntax(vote.syntax)
    for index, country in enumerate(vote.countries):
        if problem := country_problem(country, file):
            raise lines.error(("vote", "countries", index), problem)


def _complete_track(
    track: Mapping[str, Any], detect: Detect | None, lines: KeyLines
) -> dict[str, Any]:
    """Kind and settings of the tracker, all of them."""
    kinds = ANSWERS if detect is None else TRACKERS
    settings = dict(track)
    name = settings.pop("kind", next(iter(kinds)))
    if not isinstance(name, str) or name not in kinds:
        hint = suggestion(str(name), kinds)
        raise lines.error(("track", "kind"), f"cannot be {name!r}; one of {', '.join(kinds)}{hint}")
    kind = kinds[name].settings
    if detect is not None and "confident" in kind.__struct_fields__:
        if "confident" in settings:
            raise lines.error(("track", "confident"), "it is the score of detect")
        settings["confident"] = detect.score
    known = ["kind", *kind.__struct_fields__]
    if unknown := [setting for setting in track if setting not in known]:
        raise lines.error(("track", unknown[0]), unknown_key_message(unknown[0], known))
    try:
        return {"kind": name, **msgspec.to_builtins(msgspec.convert(settings, kind))}
    except msgspec.ValidationError as error:
        key, words = explain(error, settings, kind)
        raise lines.error(("track", *key), words) from None


def _complete_events(recipe: Recipe, lines: KeyLines) -> tuple[PipelineEvent, ...]:
    if "recognized" in recipe.events and recipe.recognize is None:
        raise lines.error(
            ("events", recipe.events.index("recognized")),
            NOT_RECOGNIZED,
        )
    if recipe.events:
        return recipe.events
    if recipe.detect is None:
        return ("recognized",)
    return ("recognized" if recipe.recognize else "entered", "crossed", "left")


def _check_rules(recipe: Recipe, detector: ModelSpec | None, lines: KeyLines) -> None:
    classes = () if detector is None else (_classes(recipe, detector),)
    for i, rule in enumerate(recipe.rules):
        try:
            Rules([rule], Path())
        except ConfigError as error:
            raise lines.error(("rules", i), str(error)) from None
        for key, words in rule_mistakes(rule, classes, recognizes=recipe.recognize is not None):
            raise lines.error(("rules", i, *key), words)


def _classes(recipe: Recipe, detector: ModelSpec) -> tuple[str, ...]:
    """The classes of which objects are followed."""
    assert recipe.detect is not None
    return recipe.detect.labels or detector.labels


def _check_areas(recipe: Recipe, lines: KeyLines) -> None:
    for key, areas, check in (
        ("zones", recipe.zones, check_polygon),
        ("lines", recipe.lines, check_line),
    ):
        for name, points in areas.items():
            try:
                check(points, "")
            except ConfigError as error:
                words = str(error).removeprefix(": ")
                raise lines.error((key, name), words) from None
