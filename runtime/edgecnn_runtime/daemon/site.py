"""``site.yaml``: what a daemon does, as data; every key is a field here.

Any text or number in the file may be ``{file: NAME}`` instead: the value is then what that file
holds, without the line break at its end. NAME is relative to ``$CREDENTIALS_DIRECTORY`` where
systemd sets it and the file is there, otherwise to the folder of ``site.yaml``. No message, page,
metric or log shows such a value.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import quote

import msgspec
from msgspec import Meta

from edgecnn_runtime.bundle.atomic import atomic_file
from edgecnn_runtime.bundle.bundle import MANIFEST
from edgecnn_runtime.bundle.bundle import SUFFIX as BUNDLE_SUFFIX
from edgecnn_runtime.config import SIZE_LIMIT, KeyLines, is_yaml, parse_keys, read_text
from edgecnn_runtime.device.cache import default_cache_dir
from edgecnn_runtime.errors import ConfigError
from edgecnn_runtime.redaction import redact
from edgecnn_runtime.rules.conditions import as_tuple
from edgecnn_runtime.rules.privacy import PrivacyConfig
from edgecnn_runtime.rules.rule import RuleConfig
from edgecnn_runtime.schema_errors import Key, suggestion
from edgecnn_runtime.sinks.events import SinkConfig
from edgecnn_runtime.sinks.events.base import Size, size_in_bytes
from edgecnn_runtime.source.address import NETWORK

VERSION = 1
"""Of the shape of site.yaml."""
UPGRADES: dict[int, Callable[[str], str]] = {}
"""By version, what makes the text of the next version of it; one line per version that was left."""
SMALLEST_AREA = 1e-4
"""Of a zone, as a fraction of the picture: below, its points lie on a line."""

LEAST_DISK = 10_000_000
"""Bytes of events and pictures together, at least: below, every event would be removed at once."""

Fraction: TypeAlias = Annotated[float, Meta(ge=0, le=1, description="0 to 1, of the picture")]
Point: TypeAlias = tuple[Fraction, Fraction]
Polygon: TypeAlias = Annotated[
    tuple[Point, ...],
    Meta(min_length=3, max_length=100, description="at least three points [x, y]"),
]
Line: TypeAlias = tuple[Point, Point]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=86400, description="seconds, above 0")]
Rate: TypeAlias = Annotated[
    float, Meta(ge=0.001, le=1000, description="results per second, 0.001 to 1000")
]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
"""Of cameras, zones, lines and sinks: they are parts of addresses, topics and file names."""
HOST = re.compile(r"\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253}")
NO_TIMEZONE = "there is no such time zone; it has an IANA name such as Europe/Berlin"


class CameraConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One camera.

    Attributes:
        source: What is opened; all that ``edgecnn run`` takes but pictures. A video file is played
            in real time.
        detect_source: A smaller stream of the same camera, to detect in; crops are then cut from
            ``source``, which is decoded only for them.
        credentials: ``USER:PASSWORD``, put into the address of both streams.
        pipeline: A pipeline (``plates.yaml``) or a bundle (``faces.edge``), or a list of them;
            relative to site.yaml.
        rate: Results per second at most; without it as many as this machine makes.
        idle_rate: The same while nothing moves in the picture; without it motion does not matter.
        max_age: A frame that is older when the engine is free for it is dropped.
        zones: Named parts of the picture, as polygons.
        lines: Named lines to cross, from one point to another: "in" is from their left to their
            right, as seen from the first point.
        mask: Polygons that are blacked out before anything is looked at, shown or stored.
        rotate: Degrees clockwise.
        flip: After rotating: "h" left-right, "v" upside down, "hv" both.
        transport: Of RTSP.
        open_timeout: How long to wait for a connection.
        read_timeout: How long to wait for the next picture.
        frozen: After how long without any change of the picture it counts as frozen.
        loop: Play a video file again and again.
        paused: Whether it waits to be started on the page or through the API.
    """

    source: Annotated[str, Meta(min_length=1, max_length=4096)]
    pipeline: str | Annotated[tuple[str, ...], Meta(min_length=1, max_length=8)]
    detect_source: str = ""
    credentials: str = ""
    rate: Rate | None = None
    idle_rate: Rate | None = None
    max_age: Seconds = 0.5
    zones: dict[str, Polygon] = {}
    lines: dict[str, Line] = {}
    mask: tuple[Polygon, ...] = ()
    rotate: Literal[0, 90, 180, 270] = 0
    flip: Literal["", "h", "v", "hv"] = ""
    transport: Literal["tcp", "udp"] = "tcp"
    open_timeout: Seconds = 10.0
    read_timeout: Seconds = 10.0
    frozen: Seconds = 30.0
    loop: bool = False
    paused: bool = False

    @property
    def pipelines(self) -> tuple[str, ...]:
        """The pipelines, also where there is one."""
        return (self.pipeline,) if isinstance(self.pipeline, str) else self.pipeline

    def address(self, source: str) -> str:
        """A source of this camera with its credentials in it; holds a secret.

        Args:
            source: ``source`` or ``detect_source``.
        """
        scheme, separator, rest = source.partition("://")
        if not self.credentials or not separator:
            return source
        user, _, password = self.credentials.partition(":")
        return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{rest}"


class ModelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How one bundle is used; for bundles that need more than their name.

    Attributes:
        digest: The only content that is accepted; ``edgecnn inspect`` prints it.
        backend: The only engine that is used.
        threads: Of the engine; 0 leaves it to the measured or default choice.
        batch: Frames of several cameras per run of the engine, where that measures faster here; of
            a second model crops, 4 unless another number is given.
    """

    digest: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z", description="64 hex digits")] = ""
    backend: str = ""
    threads: Annotated[int, Meta(ge=0, le=1024)] = 0
    batch: Annotated[int, Meta(ge=1, le=64)] | None = None


class HttpConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The page, the API and the metrics.

    Attributes:
        listen: Address and port; "" for no page at all. Port 0 takes any free one.
        certificate: A PEM file with the certificate and its chain: pages come over TLS then.
        key: The PEM file with its private key.
        path: Where a reverse proxy shows the page, such as ``/cameras``.
        hosts: Names under which it is reached, besides its addresses and the machine's own name.
        proxies: Addresses or networks of reverse proxies that are believed about who asks.
        streams: Live views and event lists that are open at the same time, at most.
        auth: Whether a token is asked for. Only a loopback address may do without.
        metrics: Who may read /metrics: "token", or "loopback" for programs on this machine without
            a token, too.
    """

    listen: str = "127.0.0.1:8090"
    certificate: str = ""
    key: str = ""
    path: Annotated[str, Meta(pattern=r"^(/[A-Za-z0-9_.~-]+)*\Z", description="such as /edge")] = ""
    hosts: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    streams: Annotated[int, Meta(ge=1, le=100, description="1 to 100")] = 16
    auth: bool = True
    metrics: Literal["token", "loopback"] = "loopback"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of ``listen``."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


class KeepConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """For how long events and their pictures are kept, and on how much disk.

    Attributes:
        days: How long events are kept.
        evidence_days: How long their pictures are; 0 keeps none at all. Without it as long as the
            events.
        disk: How much events and pictures may take together; the oldest pictures go first.
        frame_size: Pixels of the longer side of the full frames, at most; 0 for no limit. Crops are
            stored as they are.
        frames: How many full frames a minute each camera stores on average; 0 for no limit.
    """

    days: Annotated[float, Meta(gt=0, le=36500, description="days, above 0")] = 30.0
    evidence_days: Annotated[float, Meta(ge=0, le=36500, description="days")] | None = None
    disk: Size | None = "10GB"
    frame_size: Annotated[int, Meta(ge=0, le=65535, description="pixels, or 0")] = 1280
    frames: Annotated[float, Meta(ge=0, le=6000, description="frames a minute, or 0")] = 30.0


class LoggingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is logged, to standard error.

    Attributes:
        level: The least level.
        format: ``json``: one object per line; ``text``: one line for people.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Site(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that a daemon does.

    Attributes:
        version: Of the shape of this file.
        cameras: By name.
        models: Bundles that need more than their name, by the path that pipelines resolve to.
        rules: Which events pass, and what is added to them; each is asked in turn.
        sinks: Who is told of events, by name; see the page on events for each kind.
        http: The page, the API and the metrics.
        keep: For how long events and their pictures are kept.
        privacy: What of a person or a text may be stored and shown.
        logging: What is logged.
        timezone: The IANA name of the time zone of schedules; "" is the machine's own.
        state: The folder of the database, the evidence and the tokens; "" is the service's or the
            user's state folder.
    """

    version: int = VERSION
    cameras: Annotated[dict[str, CameraConfig], Meta(max_length=256)] = {}
    models: dict[str, ModelConfig] = {}
    rules: Annotated[tuple[RuleConfig, ...], Meta(max_length=256)] = ()
    sinks: Annotated[dict[str, SinkConfig], Meta(max_length=64)] = {}
    http: HttpConfig = HttpConfig()
    keep: KeepConfig = KeepConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    logging: LoggingConfig = LoggingConfig()
    timezone: str = ""
    state: str = ""


@dataclass(frozen=True)
class SiteFile:
    """A site.yaml that was read.

    Attributes:
        path: The file.
        text: The YAML itself.
        site: What it says; holds secrets.
        keys: Where its keys stand.
        secrets: Everything in it that no log may show: what came from files, and passwords.
    """

    path: Path
    text: str = field(repr=False)
    site: Site = field(repr=False)
    keys: KeyLines = field(repr=False)
    secrets: frozenset[str] = field(repr=False)

    @property
    def state(self) -> Path:
        """The state folder.

        Raises:
            UsageError: None is named, and this user has no home directory.
        """
        return self.resolve(self.site.state) if self.site.state else default_cache_dir()

    def resolve(self, name: str) -> Path:
        """The path of a file that site.yaml names, relative to its folder."""
        return self.path.parent / name

    def error(self, key: Key, words: str) -> ConfigError:
        """What cannot be right at a key, as ``FILE:LINE: KEY: words``; to be raised."""
        return self.keys.error(key, words)


def load_site(path: str | Path) -> SiteFile:
    """Read a site.yaml, and validate all that its own text tells.

    What depends on this machine (bundles, ports, folders) is looked at by ``check.problems``.

    Args:
        path: The file.

    Raises:
        ConfigError: It cannot be right; the message begins ``FILE:LINE: KEY``.
    """
    return parse_site(_upgraded(_read_text(Path(path))), Path(path))


def _read_text(path: Path) -> str:
    """The text of a site.yaml; what to type where somebody named something else.

    Raises:
        ConfigError: It cannot be read.
    """
    make = f"edgecnn cameras --write {path if is_yaml(path) else 'site.yaml'} --pipeline"
    if path.suffix == BUNDLE_SUFFIX or (path / MANIFEST).exists():
        raise ConfigError(
            f"{path}: a bundle is no site: `edgecnn run {path} SOURCE` runs it, and "
            f"`{make} {path}` makes a site of it"
        )
    try:
        return read_text(path)
    except ConfigError:
        if path.exists():
            raise
        raise ConfigError(
            f"{path}: there is no such file; `{make} NAME.edge` makes one of the cameras here"
        ) from None


def upgrade_site(path: Path) -> Path | None:
    """Bring a file of an older version up to date, with a copy of it beside it.

    Args:
        path: The file.

    Returns:
        The copy; None where the file is of this version.

    Raises:
        ConfigError: It cannot be read or written.
    """
    text = _read_text(path)
    new = _upgraded(text)
    if new == text:
        return None
    copy = path.with_name(f"{path.name}.{_version(text)}")
    try:
        copy.touch(0o600)
        copy.write_text(text, encoding="utf-8")
        with atomic_file(path) as scratch:
            scratch.touch(0o600)  # there may be passwords in it
            scratch.write_text(new, encoding="utf-8")
            scratch.chmod(path.stat().st_mode)
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be written: {error.strerror}") from None
    return copy


def _upgraded(text: str) -> str:
    """The text in the shape of this version; as it is where that is not possible."""
    while (version := _version(text)) in UPGRADES:
        text = UPGRADES[version](text)
    return text


def _version(text: str) -> int:
    match = re.search(r"^version:\s*([0-9]{1,6})\b", text, re.MULTILINE)
    return int(match[1]) if match else VERSION


def parse_site(text: str, path: Path) -> SiteFile:
    """Validate the text of a site.yaml.

    Args:
        text: The YAML.
        path: The file that it stands or will stand in: other files are relative to its folder.

    Raises:
        ConfigError: As ``load_site``.
    """
    if len(text.encode()) > SIZE_LIMIT:  # it could be written, and not be read again
        words = f"over {SIZE_LIMIT >> 10} KiB, which is not read: remove zones or lines from it"
        raise ConfigError(f"{path}: {words}")
    if re.search(r"^(detect|recognize):", text, re.MULTILINE):
        words = (
            f"is a pipeline, not a site: name it as `pipeline` of a camera, or `edgecnn run {path}`"
        )
        raise ConfigError(f"{path}: {words}")
    secrets: set[str] = set()

    def look_up(name: str) -> str:
        secrets.add(value := read_value(name, path.parent))
        return value

    site, keys = parse_keys(text, Site, str(path), look_up=look_up)
    file = SiteFile(path, text, site, keys, frozenset(secrets | _passwords(site)))
    for key, words in _mistakes(file.site):
        raise file.error(key, words)
    return file


def _passwords(site: Site) -> set[str]:
    """Passwords of cameras and sinks, wherever they were written."""
    passwords = {camera.credentials.partition(":")[2] for camera in site.cameras.values()}
    for sink in site.sinks.values():
        passwords |= {getattr(sink, name, "") for name in ("password", "secret")}
        passwords |= set(getattr(sink, "headers", {}).values())
    return passwords - {""}


def read_value(name: str, folder: Path) -> str:
    """What a file holds that stands for a value, without the line break at its end.

    Args:
        name: Relative to the credentials of the service, or to ``folder``.
        folder: Of site.yaml.

    Raises:
        ConfigError: It cannot be read; the message does not show what it holds.
    """
    places = [folder / name]
    if credentials := os.environ.get("CREDENTIALS_DIRECTORY"):
        places.insert(0, Path(credentials) / name)
    path = next((place for place in places if os.path.lexists(place)), places[-1])
    try:
        if not path.is_file():
            raise ConfigError(f"{path}: there is no such file")
        if path.stat().st_size > SIZE_LIMIT:
            raise ConfigError(f"{path}: over {SIZE_LIMIT >> 10} KiB: this is not a value")
        text = path.read_bytes().decode()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    return re.sub(r"\r?\n\Z", "", text)


def _mistakes(site: Site) -> Iterator[tuple[Key, str]]:
    """What the types alone do not tell, by key."""
    if site.version != VERSION:
        newer = "; a newer edgecnn wrote it: install that one" * (site.version > VERSION)
        yield ("version",), f"{site.version} is not a version of this edgecnn ({VERSION}){newer}"
    for key, name in _names(site):
        if not NAME.fullmatch(name):
            yield key, "a name has letters, digits, _ . and -, and at most 63 of them"
    for name, camera in site.cameras.items():
        yield from _camera_mistakes(name, camera)
    yield from _cameras_twice(site.cameras)
    for index, rule in enumerate(site.rules):
        yield from _rule_mistakes(("rules", index), rule, site.cameras)
    for name, sink in site.sinks.items():
        for unknown in sorted({*sink.cameras} - {*site.cameras}):
            yield ("sinks", name, "cameras"), no_such("camera", unknown, site.cameras)
    yield from _http_mistakes(site.http)
    if site.state.startswith("~"):
        yield ("state",), "~ is not the home directory here: write the whole path"
    if site.keep.disk is not None and size_in_bytes(site.keep.disk) < LEAST_DISK:
        yield ("keep", "disk"), f"{site.keep.disk} is too little: {LEAST_DISK // 10**6}MB or more"
    if site.timezone and not _is_timezone(site.timezone):
        yield ("timezone",), NO_TIMEZONE


def _names(site: Site) -> Iterator[tuple[Key, str]]:
    """Every name that a person gives in the file, by its key."""
    for name, camera in site.cameras.items():
        yield ("cameras", name), name
        yield from ((("cameras", name, "zones", zone), zone) for zone in camera.zones)
        yield from ((("cameras", name, "lines", line), line) for line in camera.lines)
    yield from ((("sinks", name), name) for name in site.sinks)


def _camera_mistakes(camera_name: str, camera: CameraConfig) -> Iterator[tuple[Key, str]]:
    key = ("cameras", camera_name)
    for name in ("source", "detect_source"):
        source = getattr(camera, name)
        scheme, separator, rest = source.partition("://")
        if separator and scheme.lower() not in {*NETWORK, "csi", "file"} and "gst:" not in source:
            yield (*key, name), f"{redact(source)}: no such kind of source {scheme}://"
        if camera.credentials and "@" in rest.partition("/")[0]:
            yield (*key, "credentials"), f"{name} names a user, too: keep one of the two"
    if camera.credentials and not ("://" in camera.source and ":" in camera.credentials[1:]):
        yield (*key, "credentials"), "must be USER:PASSWORD of a network stream"
    if camera.idle_rate and camera.rate and camera.idle_rate > camera.rate:
        yield (*key, "idle_rate"), f"is above the rate of {camera.rate:g}"
    if len(set(camera.pipelines)) < len(camera.pipelines):
        yield (*key, "pipeline"), "the same pipeline stands there twice"
    areas: list[tuple[str, str | int, Polygon]] = [
        *(("zones", *item) for item in camera.zones.items()),
        *(("mask", *item) for item in enumerate(camera.mask)),
    ]
    for kind, area, polygon in areas:
        if _area(polygon) < SMALLEST_AREA:
            yield (*key, kind, area), "encloses nothing: its points lie on a line"
    for line, (start, end) in camera.lines.items():
        if start == end:
            yield (*key, "lines", line), "begins where it ends"


def _cameras_twice(cameras: Mapping[str, CameraConfig]) -> Iterator[tuple[Key, str]]:
    for (first, one), (second, other) in combinations(cameras.items(), 2):
        if first.lower() == second.lower():
            yield ("cameras", second), f"differs from the camera {first} only in capital letters"
        if one.source == other.source and not one.loop:
            words = f"the camera {first} opens {redact(one.source)}, too: list both pipelines there"
            yield ("cameras", second, "source"), words


def _rule_mistakes(
    key: Key, rule: RuleConfig, cameras: Mapping[str, CameraConfig]
) -> Iterator[tuple[Key, str]]:
    for name in as_tuple(rule.camera):
        if name not in cameras:
            yield (*key, "camera"), no_such("camera", name, cameras)
    if rule.schedule and rule.schedule.zone and not _is_timezone(rule.schedule.zone):
        yield (*key, "schedule", "timezone"), NO_TIMEZONE


def _http_mistakes(http: HttpConfig) -> Iterator[tuple[Key, str]]:
    if http.listen:
        host, _, port = http.listen.rpartition(":")
        if not (HOST.fullmatch(host) and re.fullmatch(r"[0-9]{1,5}", port) and int(port) <= 65535):
            yield ("http", "listen"), "must be ADDRESS:PORT, such as 127.0.0.1:8090"
        elif not http.auth and not is_loopback(http.address[0]):
            words = f"without a token only a loopback address is allowed, and {host} is none"
            yield ("http", "auth"), words
    for i, name in enumerate(http.hosts):
        if not HOST.fullmatch(name):
            yield (
                ("http", "hosts", i),
                "must be a name without scheme and port, such as box.example.org",
            )
    for i, name in enumerate(http.proxies):
        if words := _proxy_mistake(name):
            yield ("http", "proxies", i), words
    if bool(http.certificate) != bool(http.key):
        yield ("http",), "TLS needs both certificate and key"


def _proxy_mistake(name: str) -> str:
    """Why requests can come from no such proxy, or from anybody; empty where it is one."""
    from ipaddress import ip_network

    try:
        network = ip_network(name, strict=False)
    except ValueError:
        return f"{name!r} is not an IP address such as 192.0.2.5, or a network such as 10.0.0.0/8"
    if network.prefixlen == 0:
        return f"{name} is every address: anybody could say who asks"
    host = name.partition("/")[0]
    if ip_network(host)[0] != network[0]:
        return f"{name} is neither the address {host} nor the network {network}: which of the two?"
    return ""


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach an address."""
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_timezone(name: str) -> bool:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError):  # absent, no such file, a path out of the folder
        return False
    return True


def no_such(kind: str, name: str, known: Mapping[str, Any] | set[str]) -> str:
    """That there is no camera, zone or line of a name, with the nearest or all that there are."""
    there = ", ".join(sorted(known)) or "none"
    return f"there is no {kind} {name!r}" + (suggestion(name, known) or f"; there are: {there}")


def _area(polygon: tuple[Point, ...]) -> float:
    """Of a polygon, by the shoelace formula."""
    following = (*polygon[1:], polygon[0])
    pairs = zip(polygon, following, strict=True)
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs)) / 2
