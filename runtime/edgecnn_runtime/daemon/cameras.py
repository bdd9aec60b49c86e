"""The cameras of a site: connected, followed by their pipelines, changed while they run, ended."""

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from edgecnn_runtime.assembly import make_pipeline
from edgecnn_runtime.daemon.check import local_source
from edgecnn_runtime.daemon.looks import Neighbors
from edgecnn_runtime.daemon.models import ModelPool
from edgecnn_runtime.daemon.plan import CameraPlan, PipelinePlan, Plan
from edgecnn_runtime.daemon.site import SiteFile
from edgecnn_runtime.daemon.views import Views
from edgecnn_runtime.daemon.worker import CameraWorker, Parts, PipelineJob, report_change
from edgecnn_runtime.errors import UnknownCameraError
from edgecnn_runtime.rules.base import Rule
from edgecnn_runtime.rules.privacy import FramePrivacy, Mask, Privacy, hash_text
from edgecnn_runtime.rules.rule import Rules
from edgecnn_runtime.source import Limits, open_camera, parse_address
from edgecnn_runtime.source.main_stream import MainStream
from edgecnn_runtime.types import Event, Frame, Track

AREAS = ("zones", "lines", "mask")
"""Keys of a camera that say what is drawn on its picture."""
STOP_SECONDS = 1.0
"""What the threads of cameras have to end."""


class Cameras:
    """Runs a worker for each camera; changed by one thread at a time, read by any.

    Attributes:
        workers: By the names of their cameras.
    """

    def __init__(
        self,
        pool: ModelPool,
        views: Views,
        *,
        store: Callable[[Sequence[Event]], None],
        watch: Callable[[str, Frame], None],
        privacy_key: bytes,
    ) -> None:
        """No camera yet.

        Args:
            pool: Runs the models of their pipelines.
            views: Holds their newest results.
            store: Takes events.
            watch: Takes the frames of each camera's first pipeline, as they may be stored.
            privacy_key: The site's secret for hashes of texts.
        """
        self.workers: dict[str, CameraWorker] = {}
        self._pool, self._views = pool, views
        self._store, self._watch = store, watch
        self._privacy_key = privacy_key
        self._masks: dict[str, Mask] = {}
        self._mains: dict[str, MainStream | None] = {}

    def worker(self, camera: str) -> CameraWorker:
        """Of a camera.

        Raises:
            UnknownCameraError: There is none of this name.
        """
        worker = self.workers.get(camera)
        if worker is None:
            known = ", ".join(self.workers) or "none"
            raise UnknownCameraError(f"there is no camera {camera!r}; there are: {known}")
        return worker

    def connect(self, file: SiteFile, plan: Plan) -> None:
        """Connect real cameras, which take their time; a clip is opened when it is followed.

        Raises:
            ConfigError: A watch list cannot be read.
        """
        for name, camera in plan.cameras.items():
            source = local_source(file, camera.config.detect_source or camera.config.source)
            if parse_address(source).kind not in {"video", "pictures"}:
                self.workers[name] = self._connect(file, name, camera)

    def follow(self, file: SiteFile, plan: Plan) -> None:
        """Look at the pictures of every camera whose worker has not begun; the models are open.

        Raises:
            ConfigError: A watch list cannot be read.
        """
        for name, camera in plan.cameras.items():
            self._start(file, name, camera)

    def change(
        self, before: SiteFile, file: SiteFile, old: Plan, plan: Plan, rules: Sequence[Rule]
    ) -> None:
        """Serve another site: cameras that are the same in it go on untouched.

        Args:
            before: The site as it was.
            file: The site from now on.
            old: The plan of ``before``.
            plan: That of ``file``; its models are open.
            rules: Those of ``file``.
        """
        for name in [name for name in self.workers if not _goes_on(name, old, plan)]:
            self._end(name)
        for name, camera in plan.cameras.items():
            if name not in self.workers:
                self._start(file, name, camera)
                continue
            self._masks[name].areas = camera.config.mask
            if before.site != file.site:
                makers = [partial(self._make, file, name, each, rules) for each in camera.pipelines]
                self.workers[name].renew(makers)
            if old.cameras[name].config.paused != camera.config.paused:
                self.workers[name].pause(camera.config.paused)

    def close(self, meanwhile: Callable[[], None]) -> None:
        """End all cameras, side by side with something else that has to end."""
        other = threading.Thread(target=meanwhile, name="stop web", daemon=True)
        other.start()
        end = time.monotonic() + STOP_SECONDS
        for worker in self.workers.values():
            worker.stop()
        for worker in self.workers.values():
            worker.join(end)
        other.join()

    def rules(self, file: SiteFile) -> Sequence[Rule]:
        """The rules of a site, privacy last.

        Raises:
            ConfigError: A watch list cannot be read.
        """
        site = file.site
        images = site.privacy.images if _stores_pictures(file) else "none"
        privacy = Privacy(replace(site.privacy, images=images), self._privacy_key)
        return (Rules(site.rules, file.path.parent, timezone=site.timezone), privacy)

    def _start(self, file: SiteFile, name: str, plan: CameraPlan) -> None:
        """Look at the pictures of a camera, which is connected now unless it was before."""
        worker = self.workers.get(name) or self._connect(file, name, plan)
        worker.start([self._pool.detectors[each.detector] for each in plan.pipelines])
        self.workers[name] = worker

    def _connect(self, file: SiteFile, name: str, plan: CameraPlan) -> CameraWorker:
        config, rules = plan.config, self.rules(file)
        mask = self._masks[name] = Mask(config.mask)
        jobs = [
            PipelineJob(each.name, partial(self._make, file, name, each, rules))
            for each in plan.pipelines
        ]
        limits = Limits(
            open_timeout=config.open_timeout,
            read_timeout=config.read_timeout,
            frozen=config.frozen,
        )
        view: dict[str, Any] = {
            "rotate": config.rotate, "flip": config.flip, "transport": config.transport,
            "mask": mask, "limits": limits,
        }  # fmt: skip
        main = None
        if config.detect_source and any(each.reader for each in plan.pipelines):
            report = partial(report_change, self._store, name, stream="main")
            main = MainStream(
                config.address(config.source), paused=config.paused, on_change=report, **view
            )
        source = config.address(local_source(file, config.detect_source or config.source))
        self._mains[name] = main
        opener = partial(open_camera, source, realtime=True, loop=config.loop, **view)
        return CameraWorker(
            name,
            jobs,
            opener,
            store=self._store,
            show=self._views.put,
            watch=self._watch,
            max_age=config.max_age,
            rate=config.rate,
            idle_rate=config.idle_rate,
            paused=config.paused,
            main=main,
        )

    def _make(
        self,
        file: SiteFile,
        name: str,
        plan: PipelinePlan,
        rules: Sequence[Rule],
        neighbors: Neighbors,
    ) -> Parts:
        """What follows the detector of a camera's pipeline."""
        config, privacy = file.site.cameras[name], file.site.privacy
        hide: Callable[[str], str] = str
        if privacy.text == "hash":  # frames show what is hashed
            privacy, hide = replace(privacy, blur="all"), partial(hash_text, key=self._privacy_key)
        frame_privacy = FramePrivacy(privacy)
        watch: Callable[[Frame, Sequence[Track]], None] = _watch_nothing
        if frame_privacy.blurs and len(config.pipelines) > 1:
            if _stores_pictures(file):  # otherwise there is nothing to wait for
                rules = [*rules[:-1], neighbors.complete, rules[-1]]
            watch = partial(neighbors.tell, frame_privacy.hidden)
        main = self._mains.get(name)
        second = None if plan.reader is None else self._pool.readers[plan.reader]
        pipeline = make_pipeline(
            plan.recipe,
            self._pool.detectors[plan.detector],
            second,
            None if second is None else second.read,
            camera=name,
            zones=config.zones or None,
            lines=config.lines or None,
            rules=rules,
            enlarge=None if main is None else main.enlarge,
            watch=watch,
        )
        return Parts(pipeline, frame_privacy, hide)

    def _end(self, name: str) -> None:
        worker = self.workers.pop(name)
        worker.stop()
        worker.join(time.monotonic() + STOP_SECONDS)
        self._views.forget(name)
        self._masks.pop(name)
        self._mains.pop(name)


def _goes_on(name: str, old: Plan, new: Plan) -> bool:
    """Whether a camera is served as before, but for what can be changed while it runs."""
    if name not in new.cameras or name not in old.cameras:
        return False
    before, after = old.cameras[name], new.cameras[name]
    same = {field: getattr(before.config, field) for field in (*AREAS, "paused")}
    return before.pipelines == after.pipelines and before.config == replace(after.config, **same)


def _stores_pictures(file: SiteFile) -> bool:
    """Whether any event has pictures once the rules of privacy were applied."""
    keep, privacy = file.site.keep, file.site.privacy
    return keep.evidence_days != 0 and privacy.images == "all" and privacy.text == "plain"


def _watch_nothing(_frame: Frame, _tracks: Sequence[Track]) -> None:
    """Of a pipeline that no other one has to know of."""
