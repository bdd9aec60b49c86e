"""What the web pages and the API may know of the daemon, and ask of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from edgecnn_runtime.stats import StatsSnapshot
from edgecnn_runtime.types import FrameResult, Point, Track

CameraState: TypeAlias = Literal["connecting", "live", "stalled", "backing-off", "paused"]


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
        stats: Its figures.
        reconnects: How often it was opened again.
    """

    name: str
    state: CameraState
    since: float
    source: str
    reason: str
    problem: str
    pipelines: Sequence[str]
    width: int
    height: int
    stats: StatsSnapshot
    reconnects: int


class LiveView(msgspec.Struct, frozen=True):
    """The newest result of a camera: a frame, and what belongs to exactly this frame.

    Attributes:
        result: The frame and the detector's result.
        tracks: The tracks after this frame.
    """

    result: FrameResult
    tracks: Sequence[Track] = ()


class CameraAreas(msgspec.Struct, frozen=True):
    """Zones, lines and masked areas of a camera; points are fractions of the frame.

    Attributes:
        zones: Polygons by name.
        lines: Two points each, by name.
        mask: Polygons that are blacked out.
    """

    zones: Mapping[str, Sequence[Point]] = {}
    lines: Mapping[str, Sequence[Point]] = {}
    mask: Sequence[Sequence[Point]] = ()


class Operations(Protocol):
    """The daemon, as pages and API see it; every method may be called from any thread."""

    def cameras(self) -> Sequence[CameraStatus]:
        """All cameras, in the order of site.yaml."""

    def view(self, camera: str, after: int = -1, timeout: float = 0.0) -> LiveView | None:
        """The newest result of a camera, already masked and blurred as the site asks.

        Args:
            camera: Its name.
            after: Wait for a frame whose index is not this one.
            timeout: Seconds to wait at most.

        Raises:
            UnknownCameraError: There is no such camera.
        """

    def subscribe(self, wake: Callable[[str], None]) -> Callable[[], None]:
        """Call ``wake`` with a camera's name at each new view; returns what ends that."""

    def areas(self, camera: str) -> CameraAreas:
        """What is drawn on a camera's picture."""

    def set_areas(self, camera: str, areas: CameraAreas) -> None:
        """Write zones, lines and mask of a camera to site.yaml and use them from now on.

        Raises:
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

    def ready(self) -> str:
        """Why this daemon is not ready to serve; empty where it is."""

    def figures(self) -> Mapping[str, float]:
        """Figures of the whole daemon: such as the outbox, its queues and the temperature."""
