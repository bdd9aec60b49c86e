"""What the web pages and the API may know of the daemon, and ask of it."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeAlias

import msgspec
from msgspec import Meta

from edgecnn_runtime.delivery import SinkStatus
from edgecnn_runtime.source.connection import CameraProblem, CameraState
from edgecnn_runtime.stats import StatsSnapshot
from edgecnn_runtime.types import Event, EventType, FrameResult, Track

Fraction: TypeAlias = Annotated[float, Meta(ge=0, le=1, description="0 to 1, of the picture")]
AreaPoint: TypeAlias = tuple[Fraction, Fraction]
Polygon: TypeAlias = Annotated[tuple[AreaPoint, ...], Meta(min_length=3, max_length=100)]
AreaName: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$",
        description="letters, digits, _ . and -, at most 63",
    ),
]
EventId: TypeAlias = Annotated[str, Meta(pattern="^([0-9a-f]{32})?$", description="or empty")]
Moment: TypeAlias = Annotated[float, Meta(ge=0, le=1e11, description="seconds since 1970, UTC")]


class StreamStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The stream that a camera's crops are cut from, as it is now.

    Attributes:
        state: Where its state machine stands.
        since: When that began, in seconds since 1970, UTC.
        reason: Why it is in this state, for a person; empty while live.
        reconnects: How often it was opened again.
    """

    state: CameraState
    since: float
    reason: str
    reconnects: int


class CameraStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One camera, as it is now.

    Attributes:
        name: Its name in site.yaml.
        state: Where its state machine stands.
        since: When that began, in seconds since 1970, UTC.
        source: What is opened, without any password.
        reason: Why it is in this state, for a person; empty while live.
        problem: "frozen", "black", "too slow" or empty.
        pipelines: The names of its pipelines.
        width: Of its frames in pixels; 0 before the first one.
        height: The same.
        stats: The figures of its first pipeline.
        reconnects: How often it was opened again.
        pipeline_stats: Those of each pipeline by its name, where there are several.
        main: The stream that crops are cut from, where that is another one.
    """

    name: str
    state: CameraState
    since: float
    source: str
    reason: str
    problem: CameraProblem
    pipelines: Sequence[str]
    width: int
    height: int
    stats: StatsSnapshot
    reconnects: int
    pipeline_stats: Mapping[str, StatsSnapshot] = {}
    main: StreamStatus | None = None


class LiveView(msgspec.Struct, frozen=True):
    """The newest result of a pipeline: a frame, and what belongs to exactly this frame.

    Attributes:
        result: The frame and the detector's result.
        tracks: The tracks after this frame.
        names: What the second model says of a track, by the track's id.
        pipeline: Its name.
    """

    result: FrameResult
    tracks: Sequence[Track] = ()
    names: Mapping[int, str] = {}
    pipeline: str = ""


class CameraAreas(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Zones, lines and masked areas of a camera; points are fractions of the frame.

    Attributes:
        zones: Polygons by name.
        lines: Two points each, by name.
        mask: Polygons that are blacked out.
    """

    zones: dict[AreaName, Polygon] = {}
    lines: dict[AreaName, tuple[AreaPoint, AreaPoint]] = {}
    mask: tuple[Polygon, ...] = ()


def areas_revision(areas: CameraAreas) -> str:
    """What differs once areas do; an ETag without its quotes."""
    return hashlib.sha256(msgspec.json.encode(areas)).hexdigest()[:32]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of the whole daemon.

    Attributes:
        outbox_events: Events that the outbox holds.
        outbox_bytes: Size of its database and evidence on disk.
        events_lost: Events that could not be stored since the start, on a full disk.
        sinks: The event sinks, in the order of site.yaml.
        temperature: Of the hottest sensor of the processor, in degrees Celsius; None without one.
        seconds: How long the daemon has been running.
    """

    outbox_events: int = 0
    outbox_bytes: int = 0
    events_lost: int = 0
    sinks: Sequence[SinkStatus] = ()
    temperature: float | None = None
    seconds: float = 0.0


class EventQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events are asked for; what is left out restricts nothing.

    Attributes:
        camera: Of this camera.
        type: Of this type.
        text: Whose label, text or name contains this, in any case.
        since: From this time on, in seconds since 1970, UTC.
        until: Before this time.
        before: Committed before the event with this id: the last one of the page before.
        after: Committed after the event with this id.
        limit: At most so many.
    """

    camera: Annotated[str, Meta(max_length=200)] = ""
    type: EventType | None = None
    text: Annotated[str, Meta(max_length=200)] = ""
    since: Moment | None = None
    until: Moment | None = None
    before: EventId = ""
    after: EventId = ""
    limit: Annotated[int, Meta(ge=1, le=500)] = 50


class Operations(Protocol):
    """The daemon, as pages and API see it; every method may be called from any thread.

    Every method with the name of a camera raises an UnknownCameraError where there is none.
    """

    def cameras(self) -> Sequence[CameraStatus]:
        """All cameras, in the order of site.yaml."""

    def view(
        self, camera: str, after: int = -1, timeout: float = 0.0, pipeline: str = ""
    ) -> LiveView | None:
        """The newest result of a camera, already masked and blurred as the site asks.

        Args:
            camera: Its name.
            after: Wait for a frame whose index is not this one.
            timeout: Seconds to wait at most.
            pipeline: The name of its pipeline; empty for the first one.

        Returns:
            None where there is no such frame in time.
        """

    def subscribe(self, wake: Callable[[str], None]) -> Callable[[], None]:
        """Call ``wake`` with a camera's name at each new view; returns what ends that.

        ``wake`` returns at once and may be called from any thread. While nobody is subscribed, no
        view need be made.
        """

    def areas(self, camera: str) -> CameraAreas:
        """What is drawn on a camera's picture."""

    def set_areas(self, camera: str, areas: CameraAreas, expected: Collection[str] = ()) -> None:
        """Write zones, lines and mask of a camera to site.yaml and use them from now on.

        Args:
            camera: Its name.
            areas: All of them.
            expected: What ``areas_revision`` of those before has to be; anything where it is empty.

        Raises:
            EditConflictError: It is another one: somebody else has changed them.
            ConfigError: They cannot be right.
        """

    def pause(self, camera: str, paused: bool) -> None:
        """Stop reading a camera, or go on."""

    def add_camera(self, name: str, config: Mapping[str, Any]) -> None:
        """Add a camera to site.yaml and start it.

        Raises:
            ConfigError: It cannot be right; nothing was changed.
        """

    def remove_camera(self, name: str) -> None:
        """Stop a camera and take it out of site.yaml."""

    def reload(self) -> None:
        """Read site.yaml again.

        Raises:
            ConfigError: It cannot be right; the old one stays.
        """

    def events(self, query: EventQuery) -> Sequence[Event]:
        """Committed events, newest first."""

    def event(self, event_id: str) -> Event | None:
        """One committed event; None where there is none of this id, or no longer."""

    def evidence(self, event_id: str, name: str) -> Path | None:
        """The file that shows "crop" or "frame" of an event; None where there is none."""

    def subscribe_events(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call ``wake`` after events were committed; returns what ends that.

        ``wake`` returns at once and may be called from any thread.
        """

    def ready(self) -> str:
        """Why this daemon is not ready to serve; empty where it is."""

    def figures(self) -> Figures:
        """Figures of the whole daemon."""
