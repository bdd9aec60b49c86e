"""Whether a site can be served on this machine: everything but its own text, and nothing starts."""

import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from edgecnn_runtime.bundle.bundle import open_bundle
from edgecnn_runtime.config import SUFFIXES
from edgecnn_runtime.daemon.health import free_bytes
from edgecnn_runtime.daemon.models import ModelPool
from edgecnn_runtime.daemon.plan import make_plan, unused_models
from edgecnn_runtime.daemon.site import CameraConfig, SiteFile, no_such
from edgecnn_runtime.delivery import open_routes
from edgecnn_runtime.errors import BackendMissingError, ConfigError, EdgecnnError, UsageError
from edgecnn_runtime.outbox.database import LOCK, check_database, is_locked
from edgecnn_runtime.outbox.database import NAME as DATABASE
from edgecnn_runtime.recipe import Recipe, followed_classes, read_recipe
from edgecnn_runtime.requirements import install_command
from edgecnn_runtime.rules.conditions import as_tuple
from edgecnn_runtime.rules.rule import RuleConfig, Rules, rule_mistakes
from edgecnn_runtime.schema_errors import Key
from edgecnn_runtime.sinks.events import kind_of
from edgecnn_runtime.source import parse_address
from edgecnn_runtime.web.server import listen
from edgecnn_runtime.web.tls import tls_context
from edgecnn_runtime.web.tokens import ROLES, load_tokens, token_file

OWN_ENDINGS = (
    *(DATABASE + suffix for suffix in ("", "-wal", "-shm")), LOCK, ".token", ".key",
    *SUFFIXES,
)  # fmt: skip
"""What the names of files end in that are the daemon's own, or that it reads."""
LEAST_FREE = 2_000_000
"""Bytes that the state folder's disk must have left to begin with."""
OTHERS = stat.S_IRWXO
"""Rights of users who are neither the owner nor of the folder's group, who may be let in."""


def problems(file: SiteFile, *, serving: SiteFile | None = None) -> Iterator[EdgecnnError]:
    """Everything that keeps a site from being served here.

    Args:
        file: The site.
        serving: What this process serves already: its port is in use, and its disk may be full.

    Yields:
        One error each; the message names file, line and key where it is about one.
    """
    recipes: dict[str, Recipe] = {}
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


def remarks(file: SiteFile) -> Iterator[str]:
    """What keeps a site without problems from nothing, and is hardly what somebody wants.

    Args:
        file: The site.

    Yields:
        A sentence each, with what to do.
    """
    for name in unused_models(file, make_plan(file)):
        yield f"{file.path}: models: no pipeline uses {name}"
    state = file.state.absolute()
    if state.is_dir() and (mode := stat.S_IMODE(state.stat().st_mode)) & OTHERS:
        yield (
            f"{state}: every user of this machine may look into it (mode {mode:04o}): tokens, "
            f"events and pictures are for its owner alone, their names are not: chmod o= {state}"
        )


def _pipeline_problems(file: SiteFile, recipes: dict[str, Recipe]) -> Iterator[EdgecnnError]:
    """Bundles and pipelines that cannot be used; fills ``recipes`` by the names in the site."""
    for name, config in file.site.models.items():
        try:
            open_bundle(file.resolve(name), digest=config.digest)
        except (EdgecnnError, OSError) as error:  # OSError: a name that is too long
            yield _at(file, ("models", name), error)
    failures: dict[str, EdgecnnError | OSError] = {}
    for name, camera in file.site.cameras.items():
        for pipeline in camera.pipelines:
            if pipeline not in recipes and pipeline not in failures:
                try:
                    recipes[pipeline] = read_recipe(file.resolve(pipeline))
                except (EdgecnnError, OSError) as error:
                    failures[pipeline] = error
            if failure := failures.get(pipeline):
                yield _at(file, ("cameras", name, "pipeline"), failure)


def _rule_problems(file: SiteFile, recipes: Mapping[str, Recipe]) -> Iterator[EdgecnnError]:
    """Zones, lines and classes in rules that none of their cameras has."""
    for index, rule in enumerate(file.site.rules):
        names = as_tuple(rule.camera) or tuple(file.site.cameras)
        cameras = [file.site.cameras[name] for name in names]
        pipelines = {pipeline for camera in cameras for pipeline in camera.pipelines}
        if not pipelines or not pipelines <= recipes.keys():  # which is a problem of its own
            continue
        behind = [recipes[name] for name in sorted(pipelines)]
        for field in ("zone", "line"):
            known = {name for camera in cameras for name in _areas(camera, f"{field}s", recipes)}
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
    yield from _output_problems(file)


def _output_problems(file: SiteFile) -> Iterator[EdgecnnError]:
    """Files and folders of sinks that cannot be written, or that are somebody else's."""
    owners: dict[tuple[str, Path], str] = {}
    for name, settings in file.site.sinks.items():
        for field in ("file", "folder"):
            if not isinstance(output := getattr(settings, field, None), str):
                continue
            path = Path(os.path.realpath(file.resolve(output)))
            kind = kind_of(settings) if field == "folder" else field  # a kind counts its own files
            try:
                problem = _not_written(path, is_folder=field == "folder")
            except OSError:  # a name that is too long, as the sink says itself
                continue
            if (other := owners.setdefault((kind, path), name)) != name:
                problem = f"the sink {other} writes {output}, too: name another {field}"
            if path.name.endswith(OWN_ENDINGS) or path == file.path.resolve():
                problem = f"{output} is no place for events"
            if problem:
                yield file.error(("sinks", name, field), problem)


def _not_written(path: Path, *, is_folder: bool) -> str:
    """Why a sink could not write a file or folder; empty where it can. Nothing is made."""
    if path.exists() and path.is_dir() != is_folder:
        return f"{path} is a file, not a folder" if is_folder else f"{path} is a folder: add a name"
    places = [path] if path.exists() else []
    if not (is_folder and places):
        places.append(path.parent)  # where files are made, and renamed when a day is over
    for place in filter(Path.exists, places):  # that a folder is missing, the sink says itself
        mode = os.W_OK | os.X_OK if place.is_dir() else os.W_OK
        if not os.access(place, mode, effective_ids=True):
            return f"this user (uid {os.geteuid()}) may not write {place}"
    return ""


def local_source(file: SiteFile, source: str) -> str:
    """A source as it is opened: a video file is relative to the folder of site.yaml."""
    path = file.resolve(source)
    is_file = "://" not in source and not source.startswith("gst:") and os.path.lexists(path)
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


def _at(file: SiteFile, key: Key, error: EdgecnnError | OSError) -> EdgecnnError:
    """The same kind of error, with the place in site.yaml in front."""
    if isinstance(error, OSError):
        return file.error(key, f"{error.filename}: {error.strerror}")
    kind = ConfigError if isinstance(error, UsageError) else type(error)
    name = ".".join(map(str, key))  # sinks say it themselves, and which of their keys it is
    words = str(error).removeprefix(f"{name}: ")
    if within := re.match(rf"{re.escape(name)}\.([\w.]+): ", words):
        key, words = (*key, *within[1].split(".")), words[within.end() :]
    return kind(str(file.error(key, words)))
