"""A site under faults: start it on clips, let things go wrong, and see that it comes back.

report = soak(Path("site.yaml"), SoakConfig(minutes=30))
"""

import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np

from edgecnn_bench.soak.cameras import ClipCameras, require_rtsp_server
from edgecnn_bench.soak.clips import write_clip
from edgecnn_bench.soak.daemon_process import DaemonProcess, find_mount, free_port
from edgecnn_bench.soak.faults import KINDS, OF_CAMERAS, SILENT, Fault, FaultKind, plan
from edgecnn_bench.soak.process import ProcessSample, sample_process
from edgecnn_bench.soak.proxy import FaultyLink, LinkGroup
from edgecnn_bench.soak.receiver import WebhookReceiver
from edgecnn_bench.soak.report import Check, FaultSummary, SoakReport
from edgecnn_bench.soak.site import clip_of, largest, read_cameras, soak_site
from edgecnn_bench.soak.viewer import SendTimes, Viewer
from edgecnn_runtime.config import read_text
from edgecnn_runtime.errors import EdgecnnError, UsageError
from edgecnn_runtime.scheduler import MAX_AGE

RECOVERY_LIMIT = 5.0
"""Seconds after a fault in which every camera must be live again."""
TIMEOUT = 10.0
"""Of cameras, where site.yaml names none."""
GIVE_UP = 60.0
"""Seconds after which a camera that does not come back is no longer waited for."""
STOP_LIMIT = 3.0
MEMORY_LIMIT = 2.0
"""Megabytes that resident memory may grow from the middle to the end of a soak."""
LONG_ENOUGH = 20.0
"""Minutes from which on the growth of memory is judged: before, caches still fill."""
ON_THE_WAY = 0.5
"""Seconds that inference, encoding and HTTP may add to ``max_age``."""
WATCHED = 4
"""Cameras on the live page: its pictures are not free for the daemon that is measured."""
POOLS = 4
"""Threads and files that may be added in a shorter soak, in which pools of threads still fill."""
PAUSE = 1.0
"""Seconds in which all is well again between two faults."""
CLOCK_JUMP = 3600
DELIVERY_SECONDS = 60.0
"""In which the sink must have been told of everything, once all is well."""


class SoakConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a soak goes.

    Attributes:
        minutes: How long faults are made.
        kinds: Which.
        seed: Of the plan: the same one gives the same faults.
        clip: The video of cameras that are no files in site.yaml.
        fps: Pictures per second of every camera.
        log: Where the daemon's own output is written; None throws it away.
    """

    minutes: float = 30.0
    kinds: tuple[FaultKind, ...] = KINDS
    seed: int = 1
    clip: Path | None = None
    fps: float = 25.0
    log: Path | None = None


def soak(
    site: Path, config: SoakConfig, progress: Callable[[str], None] = lambda _message: None
) -> SoakReport:
    """Let a site run on clips while things go wrong.

    Args:
        site: A site.yaml; another one is written beside it for as long as this takes.
        config: How it goes.
        progress: Called with what goes wrong now.

    Returns:
        What was found.

    Raises:
        UsageError: A camera is no video file, and no clip is named.
        BackendMissingError: There is no RTSP server here.
        EdgecnnError: The daemon does not start, or does not outlive a fault.
    """
    require_rtsp_server()
    text = read_text(site)
    with tempfile.TemporaryDirectory(prefix="edgecnn-soak-") as folder, ExitStack() as stack:
        work, port, send_times = Path(folder), free_port(), SendTimes()
        clips = _write_clips(site, text, config, work)
        cameras = stack.enter_context(ClipCameras(clips, fps=config.fps, announce=send_times))
        group = stack.enter_context(LinkGroup())
        links = {
            name: FaultyLink(group, cameras.port, config.seed + number)
            for number, name in enumerate(clips)
        }
        receiver = stack.enter_context(WebhookReceiver())
        (work / "state").mkdir(mode=0o700)
        addresses = {name: cameras.url(name, link.port) for name, link in links.items()}
        own = site.with_name(f".{site.stem}.soak-{secrets.token_hex(4)}.yaml")
        stack.callback(own.unlink, missing_ok=True)
        own.write_text(
            soak_site(text, addresses, state=work / "state", port=port, webhook=receiver.url)
        )
        mount = find_mount()
        daemon = stack.enter_context(
            DaemonProcess(
                own,
                work / "state",
                port,
                log=config.log or work / "log",
                mount=mount,
                clock=work / "clock",
            )
        )
        viewer = stack.enter_context(
            Viewer(daemon.address, daemon.token, list(clips)[:WATCHED], send_times)
        )
        max_age = largest(text, "max_age", MAX_AGE)
        patience = max(largest(text, f"{what}_timeout", TIMEOUT) for what in ("open", "read"))
        world = _World(
            cameras, links, receiver, daemon, viewer, max_age, patience, small_disk=bool(mount)
        )
        return _Soak(config, world, progress).run()


def _write_clips(site: Path, text: str, config: SoakConfig, folder: Path) -> dict[str, Path]:
    """The clip of each camera; of each video one, however many cameras show it."""
    clip_files: dict[Path, Path] = {}
    clips = {}
    for name, camera in read_cameras(text).items():
        video = clip_of(camera, site.parent) or config.clip
        if video is None:
            raise UsageError(
                f"{site}: the camera {name} is no video file: name one with --clip, to be shown "
                "in the place of every real camera"
            )
        if video not in clip_files:
            clip_files[video] = folder / f"{len(clip_files)}.mp4"
            write_clip(video, clip_files[video], fps=config.fps)
        clips[name] = clip_files[video]
    return clips


@dataclass(frozen=True)
class _World:
    """All that takes part."""

    cameras: ClipCameras
    links: Mapping[str, FaultyLink]
    receiver: WebhookReceiver
    daemon: DaemonProcess
    viewer: Viewer
    max_age: float
    patience: float
    small_disk: bool


class _Soak:
    """One soak, as it goes."""

    def __init__(self, config: SoakConfig, world: _World, progress: Callable[[str], None]) -> None:
        self._config, self._world, self._progress = config, world, progress
        self._why_not: dict[FaultKind, str] = {}
        if not world.small_disk:
            self._why_not["full disk"] = "needs root, or namespaces for everybody"
        self._recoveries: dict[FaultKind, list[float]] = {}
        self._samples: list[ProcessSample] = []
        self._quiet: list[ProcessSample] = []
        """Between two faults, with every camera live."""
        self._offset = 0

    def run(self) -> SoakReport:
        """Make faults until the time is over, then see what is left of them."""
        self._wait_until_live(self._frames(), GIVE_UP)
        over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(over,), daemon=True)
        watcher.start()
        kinds = [kind for kind in self._config.kinds if kind not in self._why_not]
        end = time.monotonic() + 60 * self._config.minutes
        for fault in plan(list(self._world.links), kinds, self._config.seed):
            if time.monotonic() + fault.seconds > end:
                break
            self._progress(f"{fault.kind} {', '.join(fault.cameras)}")
            self._make(fault)
            self._quiet.append(sample_process(self._world.daemon.pid))
        over.set()
        watcher.join()
        self._progress("all is well: waiting until everything is told")
        return self._report()

    def _make(self, fault: Fault) -> None:
        """A fault, its end, and how long it takes until all is well."""
        self._begin(fault)
        time.sleep(fault.seconds)
        before = self._frames()
        lifted = time.monotonic()
        self._end(fault)
        limit = GIVE_UP if fault.kind in OF_CAMERAS else RECOVERY_LIMIT
        self._wait_until_live(before, limit)
        self._recoveries.setdefault(fault.kind, []).append(time.monotonic() - lifted)
        time.sleep(PAUSE)

    def _begin(self, fault: Fault) -> None:
        for name in fault.cameras:
            if fault.kind == "hang-up":
                self._world.links[name].hang_up()
            elif fault.kind in {"stall", "offline", "garbage"}:
                self._world.links[name].set_fault(fault.kind)
        if fault.kind == "server":
            self._world.cameras.kill()
        elif fault.kind == "slow sink":
            self._world.receiver.mood = "slow"
        elif fault.kind == "sink down":
            self._world.receiver.mood = "refuses"
        elif fault.kind == "clock":
            self._offset = CLOCK_JUMP - self._offset
            self._world.daemon.set_clock(self._offset)
        elif fault.kind == "full disk":
            _fill(self._world.daemon.state / "ballast")

    def _end(self, fault: Fault) -> None:
        for name in fault.cameras:
            self._world.links[name].set_fault(None)
        if fault.kind == "server":
            self._world.cameras.start()
        elif fault.kind == "full disk":
            (self._world.daemon.state / "ballast").unlink()
        self._world.receiver.mood = "takes"

    def _frames(self) -> dict[str, int]:
        """How many results each camera has had; none of those that do not answer."""
        with suppress(EdgecnnError):
            return {each["name"]: each["stats"]["frames"] for each in self._world.daemon.cameras()}
        return {}

    def _wait_until_live(self, before: Mapping[str, int], seconds: float) -> None:
        """Until every camera is live and has had a result since ``before``."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._world.daemon.check()
            with suppress(EdgecnnError):
                cameras = self._world.daemon.cameras()
                if all(
                    each["state"] == "live"
                    and each["stats"]["frames"] > before.get(each["name"], 0)
                    for each in cameras
                ):
                    return
            time.sleep(0.05)

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(1.0):
            with suppress(ProcessLookupError):
                self._samples.append(sample_process(self._world.daemon.pid))

    def _report(self) -> SoakReport:
        cameras = self._world.daemon.cameras()
        checks = [
            *self._recovery_checks(),
            *self._age_checks(),
            *self._process_checks(),
            *self._delivery_checks(),
        ]
        stopped = self._world.daemon.stop()
        checks.append(Check(what="graceful stop", value=stopped, limit=STOP_LIMIT, unit="s"))
        faults = [
            FaultSummary(
                kind=kind,
                count=len(self._recoveries.get(kind, [])),
                recovery=max(self._recoveries.get(kind, [0.0])),
                why_not=self._why_not.get(kind, ""),
            )
            for kind in self._config.kinds
        ]
        return SoakReport(
            minutes=self._config.minutes,
            seed=self._config.seed,
            cameras=len(cameras),
            events=len(set(self._world.receiver.ids)),
            reconnects=sum(each["reconnects"] for each in cameras),
            faults=faults,
            checks=checks,
        )

    def _age_checks(self) -> Sequence[Check]:
        """How old what a browser shows is, by the counter in the picture."""
        ages = self._world.viewer.ages
        return [
            Check(
                what="a picture on the live page, the oldest", value=max(ages, default=np.inf),
                limit=self._world.max_age + ON_THE_WAY, unit="s",
            ),
            Check(
                what="a picture on the live page, p99",
                value=float(np.percentile(ages, 99)) if ages else np.inf, limit=None, unit="s",
            ),
        ]  # fmt: skip

    def _recovery_checks(self) -> Sequence[Check]:
        worst = {kind: max(seconds) for kind, seconds in self._recoveries.items()}
        return [
            Check(
                what=f"until every camera is live again after {what}", unit="s",
                value=max((worst[kind] for kind in kinds if kind in worst), default=0.0),
                limit=RECOVERY_LIMIT + patience,
            )
            for what, kinds, patience in (
                ("a lost connection", OF_CAMERAS - SILENT, 0.0),
                ("stalls and garbage", SILENT, self._world.patience),
            )
        ]  # fmt: skip

    def _process_checks(self) -> Sequence[Check]:
        """Growth from the middle (a third to a half) to the end (the last sixth) of the soak."""
        count = len(self._samples)
        middle, end = self._samples[count // 3 : count // 2], self._samples[5 * count // 6 :]
        growth = _median(end, "resident") - _median(middle, "resident")
        judged = self._config.minutes >= LONG_ENOUGH
        half = len(self._quiet) // 2
        first, last = self._quiet[: half or 1], self._quiet[half:]
        return [
            Check(
                what="growth of resident memory", value=growth / 1e6,
                limit=MEMORY_LIMIT if judged else None, unit="MB",
            ),
            *(
                Check(
                    what=f"growth of {what}", value=_median(last, field) - _median(first, field),
                    limit=0 if judged else POOLS, unit="",
                )
                for what, field in (("threads", "threads"), ("open files", "files"))
            ),
        ]  # fmt: skip

    def _delivery_checks(self) -> Sequence[Check]:
        """Whether the sink was told of all that is committed now, and in its order."""
        ids = self._world.daemon.event_ids()
        end = time.monotonic() + DELIVERY_SECONDS
        while set(ids) - set(self._world.receiver.ids) and time.monotonic() < end:
            time.sleep(0.2)
        places = {name: i for i, name in enumerate(dict.fromkeys(self._world.receiver.ids))}
        order = [places[name] for name in ids if name in places]
        turns = sum(later < earlier for earlier, later in pairwise(order))
        missing = len(ids) - len(order)
        return [
            Check(what="events that the sink was not told of", value=missing, limit=0, unit=""),
            Check(what="events told in another order", value=turns, limit=0, unit=""),
        ]


def _median(samples: Sequence[ProcessSample], field: str) -> float:
    return float(np.median([getattr(each, field) for each in samples])) if samples else 0.0


def _fill(file: Path) -> None:
    """Write until there is no room."""
    with suppress(OSError), file.open("wb") as ballast:
        while True:
            ballast.write(bytes(1 << 20))
            ballast.flush()
            os.fsync(ballast.fileno())
