"""Many cameras on one engine: how old is a frame when its inference begins, and who is served?

Eight fake cameras at 25 fps, each with true capture times and a phase of its own, and an engine
that sleeps for 40 ms: it is asked for eight times what it can do. "Frame first" is what the runtime
did before: a thread per camera takes the newest frame and then waits for the lock of the engine.
"Engine first" is the runtime's scheduler: the engine is free, then the newest frame of the
least-served camera is taken. A frame is stale if a newer one of its camera lies ready when its
inference begins. A single camera and a file show what the way through the scheduler costs where
nobody competes.
"""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np
from lib.experiment import Experiment, Options, Row, main

from edgecnn_runtime.camera import CameraGroup, CameraJob
from edgecnn_runtime.scheduler import Scheduler
from edgecnn_runtime.source import Source
from edgecnn_runtime.source.fake import FakeReader
from edgecnn_runtime.types import Embedding, Frame, FrameResult, Timings

SECONDS, QUICK = 30.0, 3.0
FPS = 25.0
AGE_GOAL_MS, SPREAD_GOAL = 60.0, 0.10
NOTHING = Embedding(np.zeros(1, np.float32))


class SleepingEngine:
    """An inference that sleeps, and records how old each frame was when it began."""

    batch_size = 1

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.sources: dict[str, Source] = {}
        self.ages: list[float] = []
        self.stale: list[bool] = []
        self.served: Counter[str] = Counter()

    def measure(self) -> float:
        """What it sleeps for."""
        return self.seconds

    def __call__(self, frames: Sequence[Frame], /) -> list[FrameResult]:
        """Sleep once for all frames."""
        start = time.monotonic()
        for frame in frames:
            self.ages.append(start - frame.captured)
            self.stale.append(len(self.sources[frame.source].frames) > 0)
            self.served[frame.source] += 1
        time.sleep(self.seconds)
        age = time.monotonic() - frames[0].captured
        return [FrameResult(frame, "embed", NOTHING, age, Timings(0, 0, 0, 0)) for frame in frames]


Way = Callable[[SleepingEngine, float, bool], None]


def frame_first(engine: SleepingEngine, seconds: float, live: bool) -> None:
    """A thread per camera: take the newest frame, then wait for the engine."""
    lock = threading.Lock()

    def work(source: Source) -> None:
        for frame in source:
            with lock:
                engine([frame])

    threads = [threading.Thread(target=work, args=(each,)) for each in engine.sources.values()]
    for thread in threads:
        thread.start()
    finish(engine, seconds, live)
    for thread in threads:
        thread.join()


def engine_first(engine: SleepingEngine, seconds: float, live: bool) -> None:
    """The runtime's scheduler."""
    jobs = [
        CameraJob(name, partial(lambda source: source, source), lambda _: [])
        for name, source in engine.sources.items()
    ]
    with CameraGroup(Scheduler(engine), jobs) as group:
        finish(engine, seconds, live)
        while not group.wait(1.0):
            pass


def finish(engine: SleepingEngine, seconds: float, live: bool) -> None:
    """Close live sources after so long; a file ends by itself."""
    if live:
        time.sleep(seconds)
        for source in engine.sources.values():
            source.close(wait=0.0)


@dataclass(frozen=True)
class Setting:
    """What competes for the engine: so many cameras, or one file."""

    cameras: int
    engine_ms: float
    live: bool = True


SETTINGS = {
    "8 cameras": Setting(8, 40.0),
    "1 camera": Setting(1, 10.0),
    "1 file": Setting(1, 2.0, live=False),
}
WAYS: dict[str, Way] = {"frame first": frame_first, "engine first": engine_first}
NAMES = [f"{setting}, {way}" for setting in SETTINGS for way in WAYS]


def measure(options: Options) -> Iterator[Row]:
    """Each setting both ways."""
    seconds = QUICK if options.quick else SECONDS
    for name in options.names:
        setting, way = name.split(", ")
        yield {"what": name, **one_run(SETTINGS[setting], WAYS[way], seconds)}


def one_run(setting: Setting, way: Way, seconds: float) -> Row:
    """Let everything run for a while, and count."""
    engine = SleepingEngine(setting.engine_ms / 1000)
    count = None if setting.live else int(1000 * seconds / setting.engine_ms)
    with ExitStack() as stack:
        for number in range(setting.cameras):
            time.sleep(1 / FPS / setting.cameras)
            open_reader = partial(FakeReader, FPS, count=count, live=setting.live)
            source = Source(f"camera {number}", open_reader)
            engine.sources[source.name] = stack.enter_context(source)
        start = time.monotonic()
        way(engine, seconds, setting.live)
        elapsed = time.monotonic() - start
    served = [engine.served[name] for name in engine.sources]
    ages = 1000 * np.array(engine.ages)
    percentiles = {f"p{q}": float(np.percentile(ages, q)) for q in (50, 95, 99)}
    return {
        "results_per_second": sum(served) / elapsed,
        "beside_engine_ms": 1000 * elapsed / sum(served) - setting.engine_ms,
        "age_ms": percentiles if setting.live else None,
        "stale": float(np.mean(engine.stale)) if setting.live else None,
        "served": served,
        "spread": max(served) / min(served) - 1,
    }


def if_live(row: Row, cell: str) -> str:
    """A cell; empty for a file, whose frames have no age."""
    return "" if row["age_ms"] is None else cell.format_map(row)


def reached(row: Row) -> bool:
    """The goal is the scheduler's, and it is about many cameras."""
    if row["what"] != "8 cameras, engine first":
        return True
    fresh = row["age_ms"]["p95"] <= AGE_GOAL_MS and row["stale"] == 0.0
    return bool(fresh and row["spread"] <= SPREAD_GOAL)


if __name__ == "__main__":
    sys.exit(
        main(
            __doc__,
            Experiment(
                name="many_cameras",
                title="who is served, and how fresh, when frames compete for one engine",
                measure=measure,
                reached=reached,
                columns={
                    "": "{what}",
                    "age at the start, p50": lambda row: if_live(row, "{age_ms[p50]:.0f} ms"),
                    "p95": lambda row: if_live(row, "{age_ms[p95]:.0f} ms"),
                    "stale": lambda row: if_live(row, "{stale:.1%}"),
                    "most to least served": "{spread:+.0%}",
                    "results per second": "{results_per_second:.1f}",
                },
                names=NAMES,
                facts={"goal_p95_ms": AGE_GOAL_MS, "goal_stale": 0.0, "goal_spread": SPREAD_GOAL},
                needs_assets=False,
            ),
        )
    )
