"""Does the daemon's memory grow, with at least 200 reconnects and 20,000 events?

Half an hour of faults. Sixteen cameras read digits off rendered belts, two a second each, while
cameras stall, hang up, go offline and send garbage, the server is killed, the sink is slow or
down, the disk is full, and the clock jumps. The figure is the median of the last sixth of the
time (minutes 25 to 30) over that of the middle (10 to 15).
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml
from lib.experiment import Experiment, Options, Row, main

from edgecnn.demo.__main__ import CHECKPOINT
from edgecnn.demo.clip import write_clip
from edgecnn.demo.scene import Scene
from edgecnn_bench.soak.report import SoakReport
from edgecnn_bench.soak.soak import SoakConfig, soak

MINUTES, QUICK = 30.0, 1.0
CAMERAS, FPS, DIGITS = 16, 20.0, 20
EVERY = 3
"""Of the belt's pictures, so that it runs three times as fast."""
PIPELINE = {"recognize": {"model": "digits.edge"}, "track": {"settle": 0.1}}
"""A digit is in the window for a third of a second."""
RECONNECTS, EVENTS = 200, 20_000


def measure(options: Options) -> Iterator[Row]:
    """Every figure of the soak's report, and that enough has happened."""
    with tempfile.TemporaryDirectory() as name:
        site = write_site(Path(name))
        minutes = QUICK if options.quick else MINUTES
        report = soak(
            site, SoakConfig(minutes=minutes, fps=FPS), lambda words: print(words, file=sys.stderr)
        )
    for check in report.checks:
        yield {
            "what": check.what, "value": check.value, "unit": check.unit, "goal": check.limit,
            "at_least": False,
        }  # fmt: skip
    yield from enough(report)


def write_site(folder: Path) -> Path:
    """Belts with digits, and the model that reads them."""
    bundle = folder / "digits.edge"
    words = ["export", str(CHECKPOINT), "--out", str(bundle)]
    subprocess.run([sys.executable, "-m", "edgecnn", *words], check=True, stdout=2)
    for number in range(2):
        scene = Scene(100 + number, DIGITS)
        pictures = range(0, scene.length, EVERY)
        write_clip(scene, folder / f"belt-{number}.mp4", pictures, near=True)
    (folder / "digits.yaml").write_text(yaml.safe_dump(PIPELINE))
    cameras = {
        f"belt-{number}": {
            "source": f"belt-{number % 2}.mp4",
            "pipeline": "digits.yaml",
            "loop": True,
        }
        for number in range(CAMERAS)
    }
    site = folder / "site.yaml"
    site.write_text(yaml.safe_dump({"cameras": cameras}, sort_keys=False))
    return site


def enough(report: SoakReport) -> Iterator[Row]:
    """What makes the figure mean something: half of all happens between the two medians."""
    for what, value, goal in (
        ("reconnects between", report.reconnects / 2, RECONNECTS),
        ("events between", report.events / 2, EVENTS),
    ):
        yield {"what": what, "value": value, "unit": "", "goal": goal, "at_least": True}


def reached(row: Row) -> bool:
    """Whether the goal holds; a figure without one always does."""
    if row["goal"] is None:
        return True
    return bool(row["value"] >= row["goal"] if row["at_least"] else row["value"] <= row["goal"])


def goal(row: Row) -> str:
    """The goal, in words."""
    if row["goal"] is None:
        return ""
    return f"{'≥' if row['at_least'] else '≤'} {row['goal']:g} {row['unit']}"


if __name__ == "__main__":
    experiment = Experiment(
        name="memory_slope",
        title="the daemon under faults",
        measure=measure,
        reached=reached,
        columns={"": "{what}", "measured": "{value:.4g} {unit}", "goal": goal},
        facts={"minutes": MINUTES, "cameras": CAMERAS},
        needs_assets=False,
    )
    sys.exit(main(__doc__, experiment))
