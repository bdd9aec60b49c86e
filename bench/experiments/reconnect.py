"""A camera's server is gone for a while: how soon is each camera back, and what is lost meanwhile?

The face clip, with a counter drawn into it, is played by a real RTSP server as six cameras of a
daemon that runs YuNet. The server is killed, as a power cut would, and started again after 5 or
60 seconds, 25 times each. A camera is back with its first result that a picture of the new server
led to. A result's age counts from when the server sent its picture until its inference begins. The
events that the daemon has stored are compared with those that its sink was told, by id, and with
the outages that there were: each camera is lost and live again once in each of them.
"""

import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from lib.daemon import serve_beside, write_site
from lib.experiment import Experiment, Options, Row, main
from lib.fresh_process import in_fresh_process
from lib.material import ASSETS, export_yunet, video_frames

from edgecnn_bench.soak.cameras import ClipCameras
from edgecnn_bench.soak.clips import read_counter, write_clip
from edgecnn_bench.soak.daemon_process import free_port
from edgecnn_runtime.inference import ModelInference
from edgecnn_runtime.outbox import OutboxReader
from edgecnn_runtime.scheduler import MAX_AGE
from edgecnn_runtime.types import FrameResult

CAMERAS, QUICK_CAMERAS, FPS, RATE = 6, 2, 10.0, 5.0
OUTAGES, QUICK = {5.0: 25, 60.0: 25}, {2.0: 2}
BACK, BETWEEN, PATIENCE = 5.0, 2.0, 120.0


@dataclass
class Watched:
    """What the server sent and the daemon made of it, on the monotonic clock.

    Attributes:
        sent: When each picture was sent, by camera and counter.
        ages: Of every result, when its inference began; by camera.
        latest: When the inference of the latest result began, by camera.
    """

    sent: dict[tuple[str, int], float] = field(default_factory=dict)
    ages: list[float] = field(default_factory=list)
    latest: dict[str, float] = field(default_factory=dict)

    def announce(self, camera: str, number: int, at: float) -> None:
        """The server has sent a picture."""
        self.sent[camera, number] = at

    def watch_inference(self) -> None:
        """Look at each frame that an inference begins with."""
        original = ModelInference.__call__

        def call(inference: ModelInference, frames: Any, /) -> list[FrameResult]:
            now = time.monotonic()
            for frame in frames:
                camera = frame.source.rpartition("/")[2]
                at = self.sent.get((camera, read_counter(frame.pixels)))
                if at is not None:
                    self.ages.append(now - at)
                self.latest[camera] = now
            return original(inference, frames)

        ModelInference.__call__ = call  # type: ignore[method-assign] # an experiment looks in


def measure(options: Options) -> Iterator[Row]:
    """All outages, with one daemon."""
    outages = QUICK if options.quick else OUTAGES
    count = QUICK_CAMERAS if options.quick else CAMERAS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = export_yunet(folder, video_frames(), more="")
        clip = folder / "clip.mp4"
        write_clip(ASSETS / "faces" / "video.mp4", clip, fps=FPS)
        run = in_fresh_process(
            serve_through_outages, name, str(bundle), str(clip), count, [*outages.items()]
        )
        states, stored = stored_events(folder / "state")
        # at midnight the file is set aside
        files = sorted(folder.glob("events*.jsonl"), key=lambda file: file.stat().st_mtime)
        lines = [line for file in files for line in file.read_text().splitlines()]
        told = [json.loads(line)["id"] for line in lines]
    for seconds, back in zip(outages, run["back"], strict=True):
        yield row(f"live again after {seconds:g} s", "s", max(back), BACK, all=sorted(back))
    ages = run["ages"]
    late = sum(age > MAX_AGE for age in ages)
    p50, p99 = (float(value) for value in np.percentile(ages, (50, 99)))
    yield row("results of frames older than max_age", "", late, 0, results=len(ages), p50=p50,
              p99=p99, oldest=max(ages))  # fmt: skip
    doubled = len(told) - len(set(told))
    # What was stored last is told at the next start.
    before = stored[: stored.index(told[-1])]
    yield row("events passed over", "", len(set(before) - set(told)), 0, stored=len(stored))
    yield row("events told twice", "", doubled, 0)
    times = sum(outages.values())
    missed = sum(
        abs(states[f"camera-{number}", state] - times - (state == "live"))
        for number in range(count)
        for state in ("backing-off", "live")
    )
    yield row("losses and returns not stored once", "", missed, 0)


def row(what: str, unit: str, value: float, goal: float, **more: Any) -> Row:
    """A figure and its goal."""
    return {"what": what, "unit": unit, "value": value, "goal": goal, **more}


def notes(rows: Sequence[Row]) -> Iterator[str]:
    """How old frames were when their inference began."""
    for each in rows:
        if "oldest" in each:
            p50, p99, oldest = (1000 * each[key] for key in ("p50", "p99", "oldest"))
            yield (
                f"{each['results']:,} results; true age of a frame when its inference began: "
                f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, at most {oldest:.0f} ms"
            )


def serve_through_outages(
    name: str, bundle: str, clip: str, number: int, outages: list[tuple[float, int]]
) -> dict[str, Any]:
    """Serve in this process; seconds until each camera was back, and the ages of all results."""
    folder, watched = Path(name), Watched()
    clips = {f"camera-{i}": Path(clip) for i in range(number)}
    answer: dict[str, Any] = {"back": [], "ages": watched.ages}
    watched.watch_inference()
    with ClipCameras(clips, fps=FPS, announce=watched.announce) as cameras:
        addresses = {name: cameras.url(name) for name in clips}
        port = free_port()
        site = write_site(folder, addresses, Path(bundle), rate=RATE, port=port)

        def cut_power() -> None:
            wait_for_all(watched, number, 0.0)
            for seconds, count in outages:
                answer["back"].append([])
                for _ in range(count):
                    time.sleep(BETWEEN)
                    cameras.kill()
                    time.sleep(seconds)
                    start = time.monotonic()
                    cameras.start()
                    answer["back"][-1] += wait_for_all(watched, number, start)
            time.sleep(BETWEEN)  # the last changes of state are stored

        serve_beside(site, cut_power)
    return answer


def wait_for_all(watched: Watched, cameras: int, start: float) -> list[float]:
    """Wait for a result of each camera after a moment; seconds until the first one of each."""
    back: dict[str, float] = {}
    end = time.monotonic() + PATIENCE
    changed = threading.Event()
    while len(back) < cameras:
        for camera, at in list(watched.latest.items()):
            if at > start:
                back.setdefault(camera, at - start)
        if time.monotonic() > end:
            raise RuntimeError(f"only {len(back)} of {cameras} cameras came back")
        changed.wait(0.02)
    return list(back.values())


def stored_events(state: Path) -> tuple[Counter[tuple[str, str]], list[str]]:
    """How often each camera was lost and came back, and the ids of all events."""
    states, ids = Counter[tuple[str, str]](), []
    for stored in OutboxReader(state).replay(limit=10**7):
        event = stored.event
        ids.append(event.id)
        before, state = (event.details.get(key) for key in ("before", "state"))
        if event.type == "camera" and before not in {state, "stalled" * (state == "live")}:
            states[event.camera, str(state)] += 1
    return states, ids


if __name__ == "__main__":
    experiment = Experiment(
        name="reconnect",
        title="six cameras whose server goes and comes",
        measure=measure,
        notes=notes,
        facts={"cameras": CAMERAS, "fps": FPS, "rate": RATE, "max_age": MAX_AGE},
    )
    sys.exit(main(__doc__, experiment))
