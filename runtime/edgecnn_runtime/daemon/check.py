"""Whether a site can be served on this machine: everything but its own text, and nothing starts."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.util import find_spec

from edgecnn_runtime.bundle.bundle import open_bundle
from edgecnn_runtime.daemon.health import free_bytes
from edgecnn_runtime.daemon.models import ModelPool
from edgecnn_runtime.daemon.plan import make_plan
from edgecnn_runtime.daemon.site import CameraConfig, SiteFile, no_such
from edgecnn_runtime.delivery import open_routes
from edgecnn_runtime.errors import BackendMissingError, ConfigError, EdgecnnError, UsageError
from edgecnn_runtime.outbox.database import check_database, is_locked
from edgecnn_runtime.recipe import Recipe, followed_classes, read_recipe
from edgecnn_runtime.requirements import install_command
from edgecnn_runtime.rules.conditions import as_tuple
from edgecnn_runtime.rules.rule import RuleConfig, Rules, rule_mistakes
from edgecnn_runtime.source import parse_address
from edgecnn_runtime.web.server import listen
from edgecnn_runtime.web.tls import tls_context
from edgecnn_runtime.web.tokens import ROLES, load_tokens, token_file

LEAST_FREE = 2_000_000
"""Bytes that the state folder's disk must have left to begin with."""


def problems(file: SiteFile, *, serving: SiteFile | None = None) -> Iterator[EdgecnnError]:
    """Everything that keeps a site from being served here.

    Args:
        file: The site.
        serving: What this process serves already: its port is in use, and its disk may be full.

    Yields:
        One error each; the message names file, line and key where it is about one.
    """
    recipes: dict[str, Recipe | EdgecnnError] = {}
    yield from _pipeline_problems(file, recipes)
    yield from _rule_problems(file, recipes)
    yield from _source_problems(file)
    yield from _part_problems(file)
    yield from _state_problems(file, serving=serving is not None)
    if serving is None:
        port_is_ours = is_locked(file.state)  # a daemon of this site runs, and listens there
    else:
        port_is_ours = serving.site.http.listen == file.site.http.listen
    yield from _http_problems(file, serving=port_is_ours)


def model_problems(file: SiteFile) -> Iterator[EdgecnnError]:
    """Every model that does not run on this machine; of a site without other problems.

    Args:
        file: The site.

    Yields:
        One error per model, such as a failed self-test.
    """
    plan, pool = make_plan(file), ModelPool(file.state)
    for key in sorted(plan.detectors | plan.readers, key=str):
        try:
            pool.open((), [key])
        except EdgecnnError as error:
            yield error
        pool.keep((), ())


def _pipeline_problems(
    file: SiteFile, recipes: dict[str, Recipe | EdgecnnError]
) -> Iterator[EdgecnnError]:
    """Bundles and pipelines that cannot be used; fills ``recipes`` by the names in the site."""
    for name, config in file.site.models.items():
        try:
            open_bundle(file.resolve(name), digest=config.digest)
        except EdgecnnError as error:
            yield _at(file, ("models", name), error)
    for name, camera in file.site.cameras.items():
        for pipeline in camera.pipelines:
            if pipeline not in recipes:
                try:
                    recipes[pipeline] = read_recipe(file.resolve(pipeline))
                except EdgecnnError as error:
                    recipes[pipeline] = error
            if isinstance(problem := recipes[pipeline], EdgecnnError):
                yield _at(file, ("cameras", name, "pipeline"), problem)


def _rule_problems(
    file: SiteFile, recipes: Mapping[str, Recipe | EdgecnnError]
) -> Iterator[EdgecnnError]:
    """Zones, lines and classes in rules that none of their cameras has."""
    usable = {name: each for name, each in recipes.items() if isinstance(each, Recipe)}
    for index, rule in enumerate(file.site.rules):
        names = as_tuple(rule.camera) or tuple(file.site.cameras)
        cameras = [file.site.cameras[name] for name in names]
        pipelines = {pipeline for camera in cameras for pipeline in camera.pipelines}
        if not pipelines or not pipelines <= usable.keys():  # which is a problem of its own
            continue
        behind = [usable[name] for name in sorted(pipelines)]
        for field in ("zone", "line"):
            known = {name for camera in cameras for name in _areas(camera, f"{field}s", usable)}
            for name in as_tuple(getattr(rule, field) or ()):
                if name not in known:
                    yield file.error(("rules", index, field), no_such(field, name, known))
        recognizes = any(recipe.recognize is not None for recipe in behind)
        for key, words in rule_mistakes(rule, _classes(rule, behind), recognizes=recognizes):
            yield file.error(("rules", index, *key), words)


def _areas(camera: CameraConfig, field: str, recipes: Mapping[str, Recipe]) -> Collection[str]:
    """Names of zones or lines of a camera: its own, or else those of its pipelines."""
    if own := getattr(camera, field):
        return set(own)
    return {name for each in camera.pipelines for name in getattr(recipes[each], field)}


def _classes(rule: RuleConfig, recipes: Sequence[Recipe]) -> list[tuple[str, ...]]:
    """What the detectors of these pipelines find, where a rule asks for it."""
    if not rule.label and not isinstance(rule.min_score, Mapping):
        return []
    return [names for each in recipes if (names := followed_classes(each)) is not None]


def _source_problems(file: SiteFile) -> Iterator[EdgecnnError]:
    for name, camera in file.site.cameras.items():
        for field in ("source", "detect_source"):
            if not (source := getattr(camera, field)):
                continue
            try:
                address = parse_address(local_source(file, source))
            except EdgecnnError as error:
                yield _at(file, ("cameras", name, field), error)
                continue
            if field == "source" and camera.detect_source and address.kind != "network":
                words = (
                    f"{address.name}: crops can be cut from another stream than detect_source only "
                    "where it comes over the network (rtsp://…)"
                )
                yield file.error(("cameras", name, field), words)
            if address.kind == "network" and find_spec("av") is None:
                words = f"network streams need PyAV: {install_command('stream')}"
                yield _at(file, ("cameras", name, field), BackendMissingError(words))
            if address.kind == "pictures":
                words = f"{address.name}: pictures are no camera: `edgecnn run` takes them"
                yield file.error(("cameras", name, field), words)


def _part_problems(file: SiteFile) -> Iterator[EdgecnnError]:
    for index, rule in enumerate(file.site.rules):
        try:
            Rules([rule], file.path.parent, timezone=file.site.timezone)
        except EdgecnnError as error:
            yield _at(file, ("rules", index), error)
    folder = file.path.parent
    for name, settings in file.site.sinks.items():
        try:
            open_routes({name: settings}, folder, folder, list(file.site.cameras))
        except EdgecnnError as error:
            yield _at(file, ("sinks", name), error)


def local_source(file: SiteFile, source: str) -> str:
    """A source as it is opened: a video file is relative to the folder of site.yaml."""
    path = file.resolve(source)
    is_file = "://" not in source and not source.startswith("gst:") and path.exists()
    return str(path) if is_file else source


def _state_problems(file: SiteFile, *, serving: bool) -> Iterator[EdgecnnError]:
    try:
        state = file.state.absolute()
        nearest = next(path for path in (state, *state.parents) if path.exists())
        if not nearest.is_dir():
            yield file.error(("state",), f"{nearest} is a file, not a folder")
            return
        if not os.access(nearest, os.W_OK | os.X_OK) or os.statvfs(nearest).f_flag & os.ST_RDONLY:
            words = f"{state}: this user (uid {os.getuid()}) may not write {nearest}"
            yield file.error(("state",), words)
            return
        if not serving and free_bytes(nearest) < LEAST_FREE:
            words = f"{state}: its disk is full: {LEAST_FREE // 10**6} MB must be free"
            yield file.error(("state",), words)
        check_database(state)
        if file.site.http.auth and any(token_file(state, role).exists() for role in ROLES):
            load_tokens(state)
    except OSError as error:
        yield file.error(("state",), f"{error.filename}: {error.strerror}")
    except EdgecnnError as error:
        yield _at(file, ("state",), error)


def _http_problems(file: SiteFile, *, serving: bool) -> Iterator[EdgecnnError]:
    http = file.site.http
    if http.certificate:
        try:
            tls_context(file.resolve(http.certificate), file.resolve(http.key))
        except EdgecnnError as error:
            yield _at(file, ("http", "certificate"), error)
    if http.listen and not serving:
        try:
            listen(*http.address).close()
        except EdgecnnError as error:
            yield _at(file, ("http", "listen"), error)


def _at(file: SiteFile, key: tuple[str | int, ...], error: EdgecnnError) -> EdgecnnError:
    """The same kind of error, with the place in site.yaml in front."""
    kind = ConfigError if isinstance(error, UsageError) else type(error)
    name = ".".join(map(str, key))  # sinks say it themselves
    words = str(error).removeprefix(f"{name}.").removeprefix(f"{name}: ")
    return kind(str(file.error(key, words)))
