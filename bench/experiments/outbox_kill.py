"""Is an event that was acknowledged still there after kill -9?

A process appends events, every other one with a picture, and says after each that it was
acknowledged. It is killed at a random moment, again and again, and the next one goes on in the same
folder. In the end all acknowledged events have to be there, in order, with their pictures, and no
picture without an event.
"""

import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from lib.experiment import Experiment, Options, Row, main

from edgecnn_runtime.errors import OutboxError
from edgecnn_runtime.outbox import Outbox, Retention

KILLS, QUICK = 500, 12
LONGEST = 0.5
"""Seconds that a process may write before it is killed."""
PAGE = 10_000
WRITER = """
import sys
from pathlib import Path
import numpy as np
from edgecnn_runtime.outbox import Outbox, Retention
from edgecnn_runtime.types import Event

first, crop = int(sys.argv[2]), np.full((24, 94, 3), 200, np.uint8)
with Outbox(Path(sys.argv[1]), keep=Retention(days=None), spacing=0.001) as outbox:
    for number in range(first, first + 1_000_000):
        images = {"crop": crop} if number % 2 else {}
        outbox.append([Event(id=f"{number:032x}", type="entered", camera="gate",
                             time=4e9 + number, images=images)])
        print(number, flush=True)
"""


def measure(options: Options) -> Iterator[Row]:
    """Kill, and look."""
    kills = QUICK if options.quick else KILLS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        acknowledged = [number for turn in range(kills) for number in one_life(folder, turn)]
        try:
            result = look(folder, set(acknowledged))
        except OutboxError:
            result = {"did not open": 1}
        for what, value in result.items():
            row = {"what": what, "value": value, "goal": 0, "unit": ""}
            yield {**row, "kills": kills, "acknowledged": len(acknowledged)}


def one_life(folder: Path, turn: int) -> list[int]:
    """What one process has acknowledged before it was killed."""
    words = [sys.executable, "-c", WRITER, str(folder), str(turn * 1_000_000)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        first = int(writer.stdout.readline())
        threading.Timer(random.uniform(0.0, LONGEST), writer.kill).start()  # noqa: S311  (chance)
        return [first, *(int(line) for line in writer.stdout if line.endswith("\n"))]


def look(folder: Path, acknowledged: set[int]) -> dict[str, int]:
    """What is wrong with what the last process left."""
    with Outbox(folder, keep=Retention(days=None)) as outbox:
        stored, pictures, after = [], set(), 0
        while page := outbox.events.replay(after=after, limit=PAGE):
            after = page[-1].sequence
            for _, event in page:
                stored.append(int(event.id, 16))
                if picture := outbox.events.picture(event, "crop"):
                    pictures.add(picture.name)
    files = {path.name for path in folder.rglob("*.jpg")}
    return {
        "acknowledged and lost": len(acknowledged - set(stored)),
        "out of order": sum(a > b for a, b in pairwise(stored)),
        "pictures lost": sum(number % 2 for number in stored) - len(pictures),
        "pictures without an event": len(files - pictures),
    }


if __name__ == "__main__":
    sys.exit(
        main(
            __doc__,
            Experiment(
                name="outbox_kill",
                title="kill -9 while events are written",
                measure=measure,
                notes=lambda rows: [
                    f"{rows[0]['kills']} kills, {rows[0]['acknowledged']:,} acknowledged events"
                ],
                facts={"kills": KILLS},
                needs_assets=False,
            ),
        )
    )
