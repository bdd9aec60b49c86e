"""The daemon: cameras, models, events and pages, as a site.yaml describes them.

    with Daemon(load_site("site.yaml")) as daemon:
        daemon.run()  # until SIGTERM, SIGINT or stop(); SIGHUP or a changed file: reload()

Threads: those of each camera (``cameras``, ``worker``), one per detector (``models``), one per sink
(``delivery``), those of the outbox and of the pages; and the caller's own in ``run``, which looks
after all of them once a second and tells systemd that it does.
"""

import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from edgecnn_runtime.bundle.atomic import atomic_file
from edgecnn_runtime.bundle.bundle import SUFFIX as BUNDLE_SUFFIX
from edgecnn_runtime.daemon.cameras import Cameras
from edgecnn_runtime.daemon.check import problems, remarks
from edgecnn_runtime.daemon.health import temperature
from edgecnn_runtime.daemon.logs import Redactor, set_logging
from edgecnn_runtime.daemon.memory import INTERVAL as TRIM_INTERVAL
from edgecnn_runtime.daemon.memory import release_free_memory
from edgecnn_runtime.daemon.models import ModelPool, file_stamp
from edgecnn_runtime.daemon.page import Page
from edgecnn_runtime.daemon.plan import make_plan
from edgecnn_runtime.daemon.site import SiteFile, load_site
from edgecnn_runtime.daemon.site_edits import (
    with_areas,
    with_camera,
    without_camera,
    write_site,
)
from edgecnn_runtime.daemon.systemd import notify, watchdog_interval
from edgecnn_runtime.daemon.views import Views
from edgecnn_runtime.delivery import Delivery, open_routes
from edgecnn_runtime.errors import (
    ConfigError,
    EdgecnnError,
    EditConflictError,
    OutboxError,
)
from edgecnn_runtime.outbox import EventFilter, FrameLimits, Outbox, Retention
from edgecnn_runtime.sinks.event_sink import FrameWatcher
from edgecnn_runtime.sinks.events.base import size_in_bytes
from edgecnn_runtime.types import Event, Frame
from edgecnn_runtime.web.operations import (
    CameraAreas,
    CameraStatus,
    EventQuery,
    Figures,
    LiveView,
    areas_revision,
)

TICK = 1.0
"""Seconds between two looks at everything."""
STUCK = 30.0
"""Seconds that one run of an engine may take; then the daemon does not count as alive."""
STOP_SECONDS = 1.0
"""What the threads of sinks have to end."""

log = logging.getLogger(__name__)


class Daemon:
    """Serves a site; implements ``web.operations.Operations``.

    Attributes:
        file: The site as it is served.
    """

    def __init__(self, file: SiteFile, redactor: Redactor | None = None) -> None:
        """Look at everything that the site needs; nothing starts yet.

        Args:
            file: The site.
            redactor: Is told the site's secrets, which it keeps out of the log.

        Raises:
            EdgecnnError: The first thing that keeps the site from being served.
        """
        self.file = file
        self._redactor = redactor or Redactor()
        self._redactor.learn(file.secrets)
        for problem in problems(file):
            raise problem
        self._state = file.state.absolute()
        self._began = time.monotonic()
        self._stack = ExitStack()
        self._stop, self._wake = threading.Event(), threading.Event()
        self._reload_asked = False
        self._page = Page(self, self._state)
        self._changing = threading.RLock()
        self._watchers: list[FrameWatcher] = []
        self._stamps = _stamps(file)
        self._trim_at = self._began + TRIM_INTERVAL

    def __enter__(self) -> "Daemon":
        """Start everything.

        Raises:
            EdgecnnError: Something does not start; nothing runs then.
        """
        self._state.mkdir(parents=True, exist_ok=True, mode=0o700)
        with ExitStack() as stack:
            file, keep = self.file, self.file.site.keep
            retention = Retention(
                days=keep.days,
                evidence_days=keep.evidence_days or None,
                disk=None if keep.disk is None else size_in_bytes(keep.disk),
            )
            privacy_key = read_key(self._state / "privacy.key")
            frames = FrameLimits(size=keep.frame_size or None, per_minute=keep.frames or None)
            self._outbox = stack.enter_context(Outbox(self._state, keep=retention, frames=frames))
            self._views = Views()
            self._deliver(file)
            stack.callback(self._end_delivery)
            self._pool = ModelPool(self._state)
            stack.callback(lambda: self._pool.keep((), ()))
            self._plan = make_plan(file)
            self._cameras = Cameras(
                self._pool, self._views, store=self._outbox.append, watch=self._watch,
                privacy_key=privacy_key,
            )  # fmt: skip
            stack.callback(self._cameras.close, self._page.close)
            self._cameras.connect(file, self._plan)
            self._pool.open(self._plan.detectors, self._plan.readers)
            self._cameras.follow(file, self._plan)
            self._page.start(file)
            for remark in remarks(file):
                log.warning(remark)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *problem: object) -> None:
        notify(STOPPING=1)
        began = time.monotonic()
        log.info("stopping: %s", self._summary_line())
        self._stop.set()
        self._stack.close()
        waiting = [each for each in self._delivery.status() if each.queue]
        log.info(
            "stopped in %.1f s: %d events are stored%s%s", time.monotonic() - began,
            self._outbox.figures().events, "; waiting for the next start: " if waiting else "",
            ", ".join(f"{each.queue} of sink {each.name}" for each in waiting),
        )  # fmt: skip

    def run(self) -> None:
        """Look after everything until a signal or ``stop``; in the main thread of the process.

        Raises:
            EdgecnnError: What cannot be started again by itself has failed.
        """
        handlers: dict[int, Callable[[int, FrameType | None], None]] = {
            signal.SIGTERM: lambda *_: self.stop(),
            signal.SIGINT: lambda *_: self.stop(),
            signal.SIGHUP: lambda *_: self._ask_reload(),
        }
        before = {number: signal.signal(number, each) for number, each in handlers.items()}
        interval = min(watchdog_interval() or TICK, TICK)
        notify(READY=1, STATUS=self._summary_line())
        try:
            while not self._stop.is_set():
                self._wake.wait(interval)
                self._wake.clear()
                if not self._stop.is_set():
                    self.look()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop(self) -> None:
        """End ``run``; does not wait."""
        self._stop.set()
        self._wake.set()

    @property
    def address(self) -> str:
        """Where the page is; empty where there is none."""
        return self._page.address

    def summary(self) -> dict[str, Any]:
        """What was started, as plain values."""
        return {
            "site": str(self.file.path),
            "page": self.address,
            "state": str(self._state),
            "pid": os.getpid(),
            "models": self._pool.choices(),
            "cameras": {
                camera.name: {"source": camera.source, "pipelines": list(camera.pipelines)}
                for camera in self.cameras()
            },
        }

    # What pages and API ask: web.operations.Operations

    def cameras(self) -> Sequence[CameraStatus]:
        """All cameras, in the order of site.yaml."""
        names = self.file.site.cameras
        workers = map(self._cameras.workers.get, names)  # another thread may change them
        return [worker.status() for worker in workers if worker is not None]

    def view(
        self, camera: str, after: int = -1, timeout: float = 0.0, pipeline: str = ""
    ) -> LiveView | None:
        """The newest result of a camera's pipeline, as the site allows it to be shown."""
        worker = self._cameras.worker(camera)
        name = pipeline or worker.pipelines[0]
        return self._views.get(camera, name, after, timeout, worker.is_live)

    def subscribe(self, wake: Callable[[str], None]) -> Callable[[], None]:
        """Call ``wake`` with a camera's name at each new view; returns what ends that."""
        return self._views.subscribe(wake)

    def areas(self, camera: str) -> CameraAreas:
        """What is drawn on a camera's picture."""
        self._cameras.worker(camera)
        config = self.file.site.cameras[camera]
        return CameraAreas(config.zones, config.lines, config.mask)

    def set_areas(self, camera: str, areas: CameraAreas, expected: Collection[str] = ()) -> None:
        """Write zones, lines and mask of a camera to site.yaml and use them from now on.

        Raises:
            EditConflictError: They are not what they are expected to be now.
            ConfigError: They cannot be right, or site.yaml cannot be written.
        """
        with self._changing:
            if expected and areas_revision(self.areas(camera)) not in expected:
                raise EditConflictError(
                    f"{camera}: somebody else has changed its zones, lines or masks since they "
                    "were read: GET them again"
                )
            self._cameras.worker(camera)
            self._write(with_areas(self.file, camera, areas))

    def pause(self, camera: str, paused: bool) -> None:
        """Stop reading a camera, or go on."""
        self._cameras.worker(camera).pause(paused)

    def add_camera(self, name: str, config: Mapping[str, Any]) -> None:
        """Add a camera to site.yaml and start it.

        Raises:
            ConfigError: It cannot be right; nothing was changed.
        """
        with self._changing:
            self._write(with_camera(self.file, name, config))

    def remove_camera(self, name: str) -> None:
        """Stop a camera and take it out of site.yaml.

        Raises:
            ConfigError: A rule or sink names it, or site.yaml cannot be written.
        """
        self._cameras.worker(name)
        with self._changing:
            self._write(without_camera(self.file, name))

    def reload(self) -> None:
        """Read site.yaml again.

        Raises:
            EdgecnnError: It cannot be right, or a model does not work; the old one stays.
        """
        with self._changing:
            notify(RELOADING=1)
            try:
                self._stamps = _stamps(self.file)
                self._change(load_site(self.file.path))
                self._stamps = _stamps(self.file)
            finally:
                notify(READY=1)

    def events(self, query: EventQuery) -> Sequence[Event]:
        """Committed events, newest first."""
        reader = self._outbox.events
        before = reader.get(query.before) if query.before else None
        after = reader.get(query.after) if query.after else None
        which = EventFilter(
            camera=query.camera, type=query.type or "", since=query.since, until=query.until,
            text=query.text,
        )  # fmt: skip
        entries = reader.read(
            which,
            before=before and before.sequence,
            after=after.sequence if after else 0,
            limit=query.limit,
        )
        return [entry.event for entry in entries]

    def event(self, event_id: str) -> Event | None:
        """One committed event; None where there is none of this id, or no longer."""
        entry = self._outbox.events.get(event_id)
        return entry and entry.event

    def evidence(self, event_id: str, name: str) -> Path | None:
        """The file that shows "crop" or "frame" of an event; None where there is none."""
        event = self.event(event_id)
        return None if event is None else self._outbox.events.picture(event, name)

    def subscribe_events(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call ``wake`` after events were committed; returns what ends that."""
        return self._outbox.subscribe(wake)

    def ready(self) -> str:
        """Why this daemon is not ready to serve; empty where it is."""
        if self._stop.is_set():
            return "it is ending"
        for key, model in list(self._pool.detectors.items()):
            if model.busy_seconds() > STUCK:
                return f"{key.path.name}: the engine has not answered for {STUCK:g} s"
        return self._page.problem or self._outbox.figures().problem

    def figures(self) -> Figures:
        """Figures of the whole daemon."""
        outbox = self._outbox.figures()
        return Figures(
            outbox_events=outbox.events,
            outbox_bytes=outbox.bytes + outbox.evidence_bytes,
            events_lost=outbox.lost,
            sinks=self._delivery.status(),
            temperature=temperature(),
            seconds=time.monotonic() - self._began,
        )  # fmt: skip

    # Starting and changing

    def _change(self, file: SiteFile) -> None:
        """Serve another site from now on: whatever is the same in it goes on untouched.

        Raises:
            EdgecnnError: The new one cannot be served; nothing was changed.
        """
        for problem in problems(file, serving=self.file):
            raise problem
        plan = make_plan(file)
        rules = self._cameras.rules(file)  # watch lists are read before anything is changed
        self._pool.open(plan.detectors, plan.readers, meanwhile=partial(notify, WATCHDOG=1))
        before, self.file = self.file, file
        old, self._plan = self._plan, plan
        self._redactor.learn(file.secrets)
        set_logging(file.site.logging)
        self._cameras.change(before, file, old, plan, rules)
        self._pool.keep(plan.detectors, plan.readers)
        if (before.site.sinks, [*before.site.cameras]) != (file.site.sinks, [*file.site.cameras]):
            self._end_delivery()
            self._deliver(file)
        if before.site.http != file.site.http:
            self._page.renew()  # `run` starts it anew: this may be one of its own threads
            self._wake.set()
        for key in ("keep", "state"):
            if getattr(before.site, key) != getattr(file.site, key):
                log.warning("%s: %s: takes effect at the next start", file.path, key)
        log.info("%s: read again: %s", file.path, self._summary_line())

    def _write(self, text: str) -> None:
        """Use another text of site.yaml, and write it where that works.

        Raises:
            EdgecnnError: It cannot be right or written, or somebody else has changed the file.
        """
        self._stamps = _stamps(write_site(self.file, text, self._change))

    def _deliver(self, file: SiteFile) -> None:
        """Tell every sink of every event from now on."""
        site, folder = file.site, self._outbox.folder
        routes = open_routes(site.sinks, file.path.parent, folder, list(site.cameras))
        self._delivery = Delivery(self._outbox, routes)
        self._watchers = [
            route.sink for route in routes.values() if isinstance(route.sink, FrameWatcher)
        ]

    def _end_delivery(self) -> None:
        self._watchers = []
        self._delivery.close(STOP_SECONDS)

    def _watch(self, camera: str, frame: Frame) -> None:
        for watcher in self._watchers:
            watcher.watch(camera, frame)

    # Looking after it

    def look(self) -> None:
        """Look after everything; ``run`` does it once a second.

        Raises:
            OutboxError: What cannot be started again by itself has failed.
        """
        stamps = _stamps(self.file)
        if self._reload_asked or (stamps != self._stamps and None not in stamps):
            self._reload_asked = False
            try:
                self.reload()
            except EdgecnnError as error:
                log.error("%s; what was served before is still served", error)
        self._pool.look()
        if not self._outbox.alive:
            raise OutboxError(
                "the outbox has failed, the log says why; whoever started this daemon "
                "has to start it again"
            )
        self._page.look(self.file)
        if time.monotonic() >= self._trim_at:
            release_free_memory()
            self._trim_at = time.monotonic() + TRIM_INTERVAL
        if not any(m.busy_seconds() > STUCK for m in list(self._pool.detectors.values())):
            notify(WATCHDOG=1, STATUS=self._summary_line())

    def _ask_reload(self) -> None:
        self._reload_asked = True
        self._wake.set()

    def _summary_line(self) -> str:
        states = [camera.state for camera in self.cameras()]
        page = f", page {self.address}" if self.address else ""
        return f"{states.count('live')} of {len(states)} cameras live{page}"


def read_key(path: Path) -> bytes:
    """The site's secret for hashes of texts; made at the first call, for its owner's eyes.

    Raises:
        ConfigError: It cannot be read or written.
    """
    try:
        if not path.exists():
            with atomic_file(path) as scratch:
                descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(secrets.token_bytes(32))
        key = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if len(key) < 16:
        raise ConfigError(f"{path}: is damaged: delete it, and texts get other hashes from then on")
    return key


def _stamps(file: SiteFile) -> list[tuple[int, int, int] | None]:
    """What differs once site.yaml or a pipeline was changed; None for one that is not there."""
    names = {name for camera in file.site.cameras.values() for name in camera.pipelines}
    paths = [file.path, *(file.resolve(name) for name in sorted(names))]
    return [file_stamp(path) for path in paths if path.suffix != BUNDLE_SUFFIX]
