"""Files of events: continued, set aside by day and size, never overwritten; and folders of them."""

import csv
import json
import os
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn_runtime.outbox import Outbox
from edgecnn_runtime.sinks.events import SinkConfig, SinkContext, open_event_sink
from edgecnn_runtime.sinks.events.base import size_in_bytes
from edgecnn_runtime.sinks.events.csv import COLUMNS
from edgecnn_runtime.sinks.events.folder_limits import FolderLimits
from edgecnn_runtime.sinks.events.rotating_file import RotatingFile
from edgecnn_runtime.types import Box, Event, Frame

MakeEvent = Callable[..., Event]
YESTERDAY = date.today() - timedelta(days=1)


def open_sink(tmp_path: Path, **settings: Any) -> Any:
    context = SinkContext("mine", tmp_path, tmp_path / "outbox", ["gate"])
    sink = open_event_sink(msgspec.convert(settings, SinkConfig), context)
    sink.start()
    return sink


def set_modified(path: Path, day: date) -> None:
    moment = time.mktime(day.timetuple()) + 43200
    os.utime(path, (moment, moment))


def test_yesterday_is_set_aside_whole(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    file = RotatingFile(path)
    file.append("one\n")
    set_modified(path, YESTERDAY)
    file.append("two\n")
    assert path.read_text() == "two\n"
    assert (tmp_path / f"events.{YESTERDAY}.jsonl").read_text() == "one\n"
    set_modified(path, YESTERDAY)
    RotatingFile(path).append("three\n")
    assert (tmp_path / f"events.{YESTERDAY}.1.jsonl").read_text() == "two\n"
    set_modified(path, YESTERDAY)
    RotatingFile(path, daily=False).append("four\n")
    assert path.read_text() == "three\nfour\n"


def test_a_file_grows_no_larger_and_the_oldest_go(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    file = RotatingFile(path, header="a,b\n", size=20, files=3)
    for number in range(100):
        file.append(f"{number},x\n")
    names = sorted(tmp_path.iterdir())
    assert len(names) == 4
    assert all(name.read_text().startswith("a,b\n") for name in names)
    assert all(name.stat().st_size <= 20 for name in names)
    lines = [line for name in names for line in name.read_text().splitlines() if line != "a,b"]
    assert sorted(int(line[:-2]) for line in lines) == list(range(100 - len(lines), 100))
    file.append("y" * 50 + "\n")  # a batch is never split
    assert path.read_text() == "a,b\n" + "y" * 50 + "\n"


@given(
    batches=st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=3), max_size=20),
    size=st.integers(10, 80),
    reopened=st.sets(st.integers(0, 20)),
    aged=st.sets(st.integers(0, 20)),
)
@settings(max_examples=50)
def test_no_line_is_lost_or_split(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[list[int]],
    size: int,
    reopened: set[int],
    aged: set[int],
) -> None:
    """However it is set aside, opened again, and torn by nobody."""
    folder = tmp_path_factory.mktemp("files")
    path, number, lines = folder / "e.jsonl", 0, []
    file = RotatingFile(path, size=size)
    for turn, lengths in enumerate(batches):
        batch = []
        for length in lengths:
            batch.append(f"{number:04} {'x' * length}\n")
            number += 1
        if turn in aged and path.exists():
            set_modified(path, YESTERDAY)
        if turn in reopened:
            file = RotatingFile(path, size=size)
        file.append("".join(batch))
        lines += batch
    written = [line for each in folder.iterdir() for line in each.read_text().splitlines(True)]
    assert sorted(written) == lines


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    others = ["events.jsonl.bak", "events.2026-01-01.jsonl.gz", "other.2026-01-01.jsonl"]
    for name in others:
        (tmp_path / name).write_text("theirs")
    file = RotatingFile(tmp_path / "events.jsonl", size=3, files=0)
    for _ in range(3):
        file.append("ab\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "events.jsonl"])


def test_a_torn_line_ends_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"id":"a"}\n{"id":')
    RotatingFile(path).append('{"id":"b"}\n')
    assert path.read_text() == '{"id":"a"}\n{"id":\n{"id":"b"}\n'


def test_a_file_that_was_moved_away_is_begun_again(tmp_path: Path) -> None:
    """As logrotate does it, without telling."""
    path = tmp_path / "events.jsonl"
    file = RotatingFile(path)
    file.append("one\n")
    path.rename(tmp_path / "away")
    file.append("two\n")
    assert path.read_text() == "two\n"


def test_what_was_written_before_the_process_died_is_not_written_again(
    tmp_path: Path, make_event: MakeEvent
) -> None:
    """The place of the sink may be older than what it has written."""
    events = [make_event(number) for number in range(300)]
    first = open_sink(tmp_path, kind="jsonl", file="events.jsonl")
    first.deliver(events[:150])
    second = open_sink(tmp_path, kind="jsonl", file="events.jsonl")
    for begin in range(50, 300, 50):
        second.deliver(events[begin : begin + 50])
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [event.id for event in events]


def test_a_table_has_a_row_per_event(tmp_path: Path, make_event: MakeEvent) -> None:
    event = make_event(
        1, text='A "1", B\nC', box=Box(1.0, 2.0, 3.5, 4.0), details={"state": "live"},
        evidence={"crop": "evidence/a.jpg"},
    )  # fmt: skip
    sink = open_sink(tmp_path, kind="csv", file="events.csv")
    sink.deliver([event])
    sink.deliver([make_event(2)])
    with (tmp_path / "events.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 2
    assert rows[0]["text"] == event.text
    assert [float(rows[0][name]) for name in ("x1", "y1", "x2", "y2")] == [1.0, 2.0, 3.5, 4.0]
    assert (rows[0]["crop"], rows[0]["details"]) == ("evidence/a.jpg", '{"state":"live"}')
    assert rows[1]["x1"] == ""


def test_snapshots_have_names_to_look_through(tmp_path: Path, make_event: MakeEvent) -> None:
    pixels = np.full((24, 94, 3), 200, np.uint8)
    with Outbox(tmp_path / "outbox") as outbox:
        images = {"crop": pixels, "frame": pixels}
        outbox.append([make_event(1, camera="../ga te", text="a/b", images=images)])
        events = [event for _, event in outbox.events.replay()]
    sink = open_sink(tmp_path, kind="snapshots", folder="out", pictures=["crop"])
    sink.deliver(events)
    (file,) = (path for path in (tmp_path / "out").rglob("*") if path.is_file())
    name = "ga_te/2096-10-02/07-06-41-recognized-a_b-000000000001-crop.jpg"
    assert file.relative_to(tmp_path / "out").as_posix() == name
    assert file.read_bytes() == (tmp_path / "outbox" / events[0].evidence["crop"]).read_bytes()


def test_a_folder_keeps_its_limits(tmp_path: Path) -> None:
    now = time.time()
    for age in range(10):
        (tmp_path / f"day{age}").mkdir()
        path = tmp_path / f"day{age}" / "a.jpg"
        path.write_bytes(b"x" * 100)
        os.utime(path, (now - 86400 * (age + 0.5),) * 2)
    (tmp_path / "day9" / "note.txt").write_text("x" * 1000)
    FolderLimits(tmp_path, days=7.0, size=10_000, suffix=".jpg").apply()
    assert sorted(path.parent.name for path in tmp_path.rglob("*.jpg")) == [
        f"day{age}" for age in range(7)
    ]
    FolderLimits(tmp_path, days=None, size=300, suffix=".jpg").apply()
    assert sorted(path.parent.name for path in tmp_path.rglob("*.jpg")) == ["day0", "day1", "day2"]
    assert (tmp_path / "day9" / "note.txt").exists()
    assert not (tmp_path / "day8").exists()


@pytest.mark.parametrize(
    ("text", "size"),
    [("0B", 0), ("1kB", 1000), ("1.5 MB", 1_500_000), ("2GiB", 2 << 30), ("1kiB", 1024)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert size_in_bytes(text) == size


# ---- clips


def clip_of(tmp_path: Path, make_event: MakeEvent, rate: float, **settings: Any) -> Path | None:
    """The clip of an event of now, by a camera whose frames grow brighter."""
    sink = open_sink(tmp_path, kind="clips", folder="clips", **settings)
    start = time.monotonic() - 4.0
    for index in range(int(4.2 * rate)):
        pixels = np.full((360, 1280, 3), 20 + int(200 * index / (4.2 * rate)), np.uint8)
        sink.watch("gate", Frame(pixels, index, start + index / rate, None, "camera", live=True))
    sink.deliver([make_event(1, time=time.time() - 1.0), make_event(2, time=time.time() - 0.9)])
    sink.close()
    files = list((tmp_path / "clips").rglob("*.mp4"))
    assert len(files) <= 1  # the second event lies within the clip of the first
    return files[0] if files else None


def test_a_clip_begins_before_its_event(tmp_path: Path, make_event: MakeEvent) -> None:
    import cv2

    path = clip_of(tmp_path, make_event, rate=25.0, before=2.0, after=0.5)
    assert path is not None
    video = cv2.VideoCapture(str(path))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1])
    assert 10 <= len(frames) <= 14  # 2.5 s, 5 a second
    assert frames[0].shape == (180, 640, 3)
    brightness = [float(frame.mean()) for frame in frames]
    assert brightness == sorted(brightness)
    assert 60 < brightness[0] < 110  # a second after the first frame
    assert 170 < brightness[-1] < 205


def test_frames_of_a_clip_take_no_more_memory_than_allowed(
    tmp_path: Path, make_event: MakeEvent
) -> None:
    sink = open_sink(tmp_path, kind="clips", folder="clips", memory="100kB")
    noise = np.random.default_rng(0)
    start = time.monotonic() - 10.0
    for index in range(40):
        pixels = noise.integers(0, 255, (90, 160, 3), np.uint8)
        sink.watch("gate", Frame(pixels, index, start + index / 5, None, "camera", live=True))
    assert sum(len(p.data) for p in sink._rings["gate"].between(0, 1e12)) <= 100_000
    sink.close()


def test_without_frames_there_is_no_clip(tmp_path: Path, make_event: MakeEvent) -> None:
    assert clip_of(tmp_path, make_event, rate=0.2, before=0.5, after=0.1) is None
