"""Who keeps identities: our tracker, and what could be installed instead of it.

Rendered worlds of 12 and of 40 objects that cross and hide each other (lib/moving_world.py), all
frames at 25 fps, and with half of them dropped at random, as a busy box does. Every tracker gets
the same boxes, may wait 1.5 seconds for an object that is hidden, and is set for its frame rate.
Each package runs as it comes and with limits as loose as serve it best, found by trying on other
worlds, in an environment of its own (trackers/NAME: pinned versions, and how it is called).

A switch: a detection has another identity than its object had before, or one that another object
had before. Reached: fewer switches than each of them; with half of the frames dropped, an eighth of
the best of theirs; half a millisecond per frame with 12 objects.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXPERIMENTS = Path(__file__).parent
sys.path.append(str(EXPERIMENTS.parent / "baselines"))  # environments, and processes in them

from lib.experiment import Experiment, Options, Row, main  # noqa: E402
from lib.identities import Output, count  # noqa: E402
from lib.moving_world import FPS, HEIGHT, WIDTH, Sight, drop, render  # noqa: E402
from runner.environments import ensure, requirements  # noqa: E402
from runner.process import Worker  # noqa: E402

from edgecnn_runtime.track import TwoPass, TwoPassTracker  # noqa: E402

FOLDERS = EXPERIMENTS / "trackers"
GAP = 1.5
SEEDS, SECONDS = 4, 40.0
QUICK_SEEDS, QUICK_SECONDS = 1, 10.0
DROPPED = 0.5
GOAL_MS, GOAL_SHARE = 0.5, 1 / 8
OURS = "edgecnn two-pass"


@dataclass(frozen=True)
class Package:
    """A tracker of a package, and one way to set it."""

    folder: str
    tracker: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        way = ", loose" if self.settings else ""
        return f"{self.folder} {self.tracker}{way}"


THEIRS = (
    Package("pyxtrackers", "ByteTrack"),
    Package("pyxtrackers", "ByteTrack", {"match_thresh": 0.99}),
    Package("pyxtrackers", "OC-SORT"),
    Package(
        "pyxtrackers",
        "OC-SORT",
        {"min_hits": 1, "iou_threshold": 0.05, "use_byte": True},
    ),
    Package("visiontrack", "bytetrack"),
    Package(
        "visiontrack",
        "bytetrack",
        {"n_init": 2, "match_iou_thresh": 0.01, "use_mahalanobis_gating": False},
    ),
    Package("edgefirst", "ByteTrack"),
    Package("edgefirst", "ByteTrack", {"high_conf": 0.5, "iou": 0.1, "update": 0.9}),
)
WORLDS = {
    f"{objects} objects, {what}": (objects, share)
    for objects in (12, 40)
    for what, share in (("25 fps", 0.0), ("half dropped", DROPPED))
}
Track = Callable[[Sequence[Sight], float], tuple[list[Output], list[float]]]
"""A world and its frame rate → what is believed in each frame, and the milliseconds it took."""


def measure(options: Options) -> Iterator[Row]:
    """Every tracker on each world, ours last."""
    seeds, seconds = (QUICK_SEEDS, QUICK_SECONDS) if options.quick else (SEEDS, SECONDS)
    for name in options.names:
        objects, share = WORLDS[name]
        rate = FPS * (1 - share)
        worlds = [list(drop(render(objects, seconds, i), share, i)) for i in range(seeds)]
        rows = []
        for package in THEIRS:
            file = FOLDERS / package.folder / "worker.py"
            with Worker(file, ensure(package.folder, FOLDERS)) as worker:
                rows.append(one_row(name, str(package), worlds, rate, by(worker, package)))
            yield rows[-1]
        best = min(row["switches"] for row in rows)
        goals = {"best_of_theirs": best, "share_of_best": GOAL_SHARE if share else 1.0}
        yield {**one_row(name, OURS, worlds, rate, ours), **goals}


def one_row(
    world: str, tracker: str, worlds: Sequence[Sequence[Sight]], rate: float, track: Track
) -> Row:
    """Count over all worlds."""
    counts, times = [], []
    for sights in worlds:
        outputs, milliseconds = track(sights, rate)
        counts.append(count(sights, outputs))
        times += milliseconds
    return {
        "what": world,
        "tracker": tracker,
        "switches": sum(each.switches for each in counts) / len(counts),
        "missing": sum(each.missing for each in counts) / sum(each.detections for each in counts),
        "milliseconds": statistics.median(times),
    }


def by(worker: Worker, package: Package) -> Track:
    """The tracker of a package."""

    def track(sights: Sequence[Sight], rate: float) -> tuple[list[Output], list[float]]:
        frames = [[[*each.box, each.score] for each in sight.detections] for sight in sights]
        answer = worker.call(
            "track",
            tracker=package.tracker,
            frames=frames,
            times=[sight.at for sight in sights],
            fps=rate,
            gap=GAP,
            **package.settings,
        )
        return answer["outputs"], answer["milliseconds"]

    return track


def ours(sights: Sequence[Sight], _rate: float) -> tuple[list[Output], list[float]]:
    """Ours, whose settings do not depend on the rate."""
    tracker = TwoPassTracker(TwoPass(max_gap=GAP))
    outputs: list[Output] = []
    milliseconds = []
    for sight in sights:
        start = time.perf_counter()
        tracks = tracker.update(sight.detections, sight.at, (WIDTH, HEIGHT))
        milliseconds.append(1000 * (time.perf_counter() - start))
        outputs.append(
            [[*t.detection.box, t.id] for t in tracks if t.state == "confirmed"],
        )
    return outputs, milliseconds


def reached(row: Row) -> bool:
    """The goals are ours."""
    if row["tracker"] != OURS:
        return True
    best, share = row["best_of_theirs"], row["share_of_best"]
    fewer = row["switches"] < best and row["switches"] <= share * best
    return bool(fewer and (row["milliseconds"] <= GOAL_MS or not row["what"].startswith("12 ")))


if __name__ == "__main__":
    versions = {}
    for folder in sorted({package.folder for package in THEIRS}):
        versions |= requirements(folder, FOLDERS)
    sys.exit(
        main(
            __doc__,
            Experiment(
                name="tracking",
                title=f"identity switches per world of {SECONDS:.0f} s",
                measure=measure,
                reached=reached,
                columns={
                    "world": "{what}",
                    "tracker": "{tracker}",
                    "switches": "{switches:.1f}",
                    "without identity": "{missing:.1%}",
                    "per frame": "{milliseconds:.2f} ms",
                },
                names=list(WORLDS),
                facts={"versions": versions, "max_gap": GAP, "worlds": SEEDS, "seconds": SECONDS},
                needs_assets=False,
            ),
        )
    )
