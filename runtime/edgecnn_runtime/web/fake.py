"""A daemon without cameras, models or files: for tests of pages and API, and to show them."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgecnn_runtime.errors import ConfigError, EditConflictError, UnknownCameraError
from edgecnn_runtime.source.connection import CameraState
from edgecnn_runtime.stats import StreamStats
from edgecnn_runtime.types import Event
from edgecnn_runtime.web.operations import (
    CameraAreas,
    CameraStatus,
    EventQuery,
    Figures,
    LiveView,
    StreamStatus,
    areas_revision,
)


class FakeOperations:
    """Shows what it is given.

    Attributes:
        problem: Why it is not ready; empty where it is.
        pipelines: The names of each camera's pipelines.
        main_streams: Of cameras whose crops are cut from another stream.
        current_figures: What ``figures`` returns.
        reloads: How often it was reloaded.
        subscribers: How many watch the views.
    """

    def __init__(self, *names: str, folder: Path | None = None) -> None:
        """Have cameras, all of them live.

        Args:
            names: Of the cameras.
            folder: Where the evidence of events lies.
        """
        self.problem = ""
        self.pipelines = ["faces"]
        self.main_streams: dict[str, StreamStatus] = {}
        self.current_figures = Figures()
        self.reloads = 0
        self._folder = folder
        self._stats: dict[str, defaultdict[str, StreamStats]] = {
            name: defaultdict(StreamStats) for name in names
        }
        """Of each camera by pipeline."""
        self._states: dict[str, CameraState] = dict.fromkeys(names, "live")
        self._since = dict.fromkeys(names, time.time())
        self._views: dict[tuple[str, str], LiveView] = {}
        self._areas = {name: CameraAreas() for name in names}
        self._events: list[Event] = []
        self._changed = threading.Condition()
        self._view_wakes: list[Callable[[str], None]] = []
        self._event_wakes: list[Callable[[], None]] = []

    @property
    def subscribers(self) -> int:
        """How many watch the views."""
        return len(self._view_wakes)

    def show(self, camera: str, view: LiveView) -> None:
        """A new result of a camera."""
        with self._changed:
            pipeline = view.pipeline or self.pipelines[0]
            self._stats[camera][pipeline].add(view.result)
            self._views[camera, pipeline] = view
            self._changed.notify_all()
            wakes = list(self._view_wakes)
        for wake in wakes:
            wake(camera)

    def commit(self, *events: Event) -> None:
        """New events, in their order."""
        with self._changed:
            self._events.extend(events)
            wakes = list(self._event_wakes)
        for wake in wakes:
            wake()

    def set_state(self, camera: str, state: CameraState) -> None:
        """Another state of a camera, from now on."""
        self._check(camera)
        self._states[camera], self._since[camera] = state, time.time()

    def cameras(self) -> Sequence[CameraStatus]:
        """See ``Operations``."""
        return [self._status(name) for name in list(self._states)]

    def view(
        self, camera: str, after: int = -1, timeout: float = 0.0, pipeline: str = ""
    ) -> LiveView | None:
        """See ``Operations``."""
        self._check(camera)

        key = camera, pipeline or self.pipelines[0]

        def is_new() -> bool:
            view = self._views.get(key)
            return view is not None and view.result.frame.index != after

        with self._changed:
            return self._views[key] if self._changed.wait_for(is_new, timeout) else None

    def subscribe(self, wake: Callable[[str], None]) -> Callable[[], None]:
        """See ``Operations``."""
        self._view_wakes.append(wake)
        return lambda: self._view_wakes.remove(wake)

    def areas(self, camera: str) -> CameraAreas:
        """See ``Operations``."""
        self._check(camera)
        return self._areas[camera]

    def set_areas(self, camera: str, areas: CameraAreas, expected: Collection[str] = ()) -> None:
        """See ``Operations``."""
        self._check(camera)
        if expected and areas_revision(self._areas[camera]) not in expected:
            raise EditConflictError(f"the areas of {camera} are others now")
        self._areas[camera] = areas

    def pause(self, camera: str, paused: bool) -> None:
        """See ``Operations``."""
        self.set_state(camera, "paused" if paused else "live")

    def add_camera(self, name: str, config: Mapping[str, Any]) -> None:
        """See ``Operations``."""
        if not isinstance(config.get("source"), str):
            raise ConfigError(f"cameras.{name}: lacks the key source")
        self._stats[name], self._areas[name] = defaultdict(StreamStats), CameraAreas()
        self._states[name], self._since[name] = "connecting", time.time()

    def remove_camera(self, name: str) -> None:
        """See ``Operations``."""
        self._check(name)
        for table in (self._states, self._stats, self._areas, self._since):
            table.pop(name, None)

    def reload(self) -> None:
        """See ``Operations``."""
        self.reloads += 1

    def events(self, query: EventQuery) -> Sequence[Event]:
        """See ``Operations``."""
        with self._changed:
            events = list(self._events)
        ids = [event.id for event in events]
        start = ids.index(query.after) + 1 if query.after in ids else 0
        end = ids.index(query.before) if query.before in ids else len(events)
        matches = [event for event in events[start:end] if _matches(event, query)]
        return matches[::-1][: query.limit]

    def event(self, event_id: str) -> Event | None:
        """See ``Operations``."""
        return next((event for event in self._events if event.id == event_id), None)

    def evidence(self, event_id: str, name: str) -> Path | None:
        """See ``Operations``."""
        event = self.event(event_id)
        if event is None or self._folder is None or name not in event.evidence:
            return None
        return self._folder / event.evidence[name]

    def subscribe_events(self, wake: Callable[[], None]) -> Callable[[], None]:
        """See ``Operations``."""
        self._event_wakes.append(wake)
        return lambda: self._event_wakes.remove(wake)

    def ready(self) -> str:
        """See ``Operations``."""
        return self.problem

    def figures(self) -> Figures:
        """See ``Operations``."""
        return self.current_figures

    def _check(self, camera: str) -> None:
        if camera not in self._states:
            raise UnknownCameraError(f"there is no camera {camera}")

    def _status(self, name: str) -> CameraStatus:
        view, state = self._views.get((name, self.pipelines[0])), self._states[name]
        height, width = view.result.frame.pixels.shape[:2] if view else (0, 0)
        stats = {each: self._stats[name][each].snapshot() for each in self.pipelines}
        return CameraStatus(
            name=name, state=state, since=self._since[name], source=f"rtsp://{name}/stream",
            reason="" if state == "live" else f"the camera is {state}", problem="",
            pipelines=self.pipelines, width=width, height=height, reconnects=0,
            stats=stats[self.pipelines[0]], pipeline_stats=stats if len(stats) > 1 else {},
            main=self.main_streams.get(name),
        )  # fmt: skip


def _matches(event: Event, query: EventQuery) -> bool:
    words = f"{event.label}\0{event.text}\0{event.name}".lower()
    return (
        query.camera in {"", event.camera}
        and query.type in {None, event.type}
        and query.text.lower() in words
        and (query.since is None or event.time >= query.since)
        and (query.until is None or event.time < query.until)
    )
