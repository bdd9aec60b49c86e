"""A process that writes events is killed at any moment: nothing that it acknowledged is lost."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from edgecnn_runtime.outbox import Outbox, OutboxReader

WRITER = """
import sys
from pathlib import Path
import numpy as np
from edgecnn_runtime.outbox import Outbox
from edgecnn_runtime.types import Event

first, crop = int(sys.argv[2]), np.full((24, 94, 3), 200, np.uint8)
with Outbox(Path(sys.argv[1]), spacing=0.001) as outbox:
    for number in range(first, first + 100_000):
        images = {"crop": crop} if number % 2 else {}
        outbox.append([Event(id=f"{number:032x}", type="entered", camera="gate",
                             time=4_000_000_000.0 + number, images=images)])
        print(number, flush=True)
"""
KILLS = 24


@pytest.mark.slow
def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    chance = random.Random(7)
    acknowledged: set[int] = set()
    for number in range(KILLS):
        words = [sys.executable, "-c", WRITER, str(tmp_path), str(number * 1_000_000)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(chance.randrange(1, 40)):
                acknowledged.add(int(child.stdout.readline()))
            child.kill()
            acknowledged.update(int(line) for line in child.stdout if line.endswith("\n"))
    with Outbox(tmp_path) as outbox:
        events = [event for _, event in outbox.events.replay(limit=1_000_000)]
        stored = [int(event.id, 16) for event in events]
        assert acknowledged <= set(stored)
        assert len(stored) <= len(acknowledged) + KILLS  # at most one more was on its way each time
        assert stored == sorted(stored)
        pictures = [outbox.events.picture(event, "crop") for event in events]
        assert [picture is not None for picture in pictures] == [n % 2 == 1 for n in stored]
    files = {path.name for path in tmp_path.rglob("*.jpg")}
    assert files == {picture.name for picture in pictures if picture}
    assert len(OutboxReader(tmp_path).read(limit=1_000_000)) == len(stored)
