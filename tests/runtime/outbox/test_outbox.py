"""The outbox: what was acknowledged is there, whatever happens to the process or its disk."""

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgecnn_runtime.errors import OutboxError
from edgecnn_runtime.outbox import EventFilter, FrameLimits, Outbox, OutboxReader, Retention
from edgecnn_runtime.outbox import retention as retention_module
from edgecnn_runtime.outbox import writer as writer_module
from edgecnn_runtime.outbox.database import NAME, STEPS, VERSION
from edgecnn_runtime.outbox.evidence import BURST, RESERVED, FrameBudget
from edgecnn_runtime.outbox.retention import CLOCK_STEP, SteadyClock
from edgecnn_runtime.types import Box, Event

MakeEvent = Callable[..., Event]
CROP = np.full((24, 94, 3), 200, np.uint8)
FRAME = np.full((240, 320, 3), 90, np.uint8)
DAY = 86400.0


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "state", spacing=0.0) as box:
        yield box


def sequences(outbox: Outbox) -> list[int]:
    return [sequence for sequence, _ in outbox.events.replay(limit=10_000)]


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """For what another thread does; the limit only means "not hung"."""
    tick = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        tick.wait(0.02)
    raise AssertionError("it did not happen")


def test_an_event_comes_back_as_it_was(outbox: Outbox, make_event: MakeEvent) -> None:
    event = make_event(
        1, age=0.125, track=7, label="plate", text='苏A·1 "x"\x00', name="Åsa", score=0.1 + 0.2,
        part_scores=(0.5, 1.0), box=Box(1.5, 2.0, 30.25, 40.0),
        relative_box=Box(0.1, 0.2, 0.3, 0.4), zone="lane", line="gate", direction="in",
        seconds=2.5, model="ab" * 32, choice="int8-cpu", details={"a": [1, None, {"b": True}]},
    )  # fmt: skip
    outbox.append([event])
    assert outbox.events.read()[0].event == event
    assert outbox.events.get(event.id) == outbox.events.read()[0]
    assert outbox.events.get("absent") is None


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@given(
    events=st.lists(
        st.builds(
            dict, camera=TEXT, text=TEXT, name=TEXT, zone=TEXT, details=st.dictionaries(TEXT, JSON),
            score=st.floats(0, 1), track=st.none() | st.integers(0, 2**40),
            box=st.none() | st.builds(Box, *[st.floats(-1e4, 1e4)] * 4),
            part_scores=st.lists(st.floats(0, 1), max_size=4).map(tuple),
        ),
        min_size=1, max_size=3,
    )
)  # fmt: skip
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_an_event_says_comes_back(
    outbox: Outbox, make_event: MakeEvent, events: list[dict[str, Any]]
) -> None:
    after = outbox.events.count()
    originals = [make_event(after + n, **fields) for n, fields in enumerate(events)]
    outbox.append(originals)
    newest = [event for _, event in outbox.events.read(limit=len(originals))]
    assert newest[::-1] == originals
    for event in originals:
        for text in filter(None, (event.text, event.name)):
            assert event in [e for _, e in outbox.events.read(EventFilter(text=text), limit=3)]


def test_numbers_of_numpy_are_numbers(outbox: Outbox, make_event: MakeEvent) -> None:
    details = {"value": np.float32(0.5), "list": np.arange(2)}
    outbox.append([make_event(1, score=np.float32(0.5), details=details)])
    event = outbox.events.read()[0].event
    assert (event.score, event.details) == (0.5, {"value": 0.5, "list": [0, 1]})


def test_pictures_become_files(outbox: Outbox, make_event: MakeEvent) -> None:
    outbox.append([make_event(1, images={"crop": CROP, "frame": FRAME})])
    event = outbox.events.read()[0].event
    assert event.images == {}
    assert event.evidence["crop"] == f"evidence/2096/10/02/{event.id}-crop.jpg"
    for name, pixels in (("crop", CROP), ("frame", FRAME)):
        path = outbox.events.picture(event, name)
        assert path is not None
        picture = cv2.imread(str(path))
        assert picture is not None
        assert picture.shape == pixels.shape
        assert np.abs(picture.astype(int) - pixels).max() < 4
    assert outbox.events.picture(event, "other") is None
    assert outbox.figures().evidence_bytes == sum(
        path.stat().st_size for path in outbox.folder.rglob("*.jpg")
    )


def test_a_frame_of_several_events_is_encoded_once(
    outbox: Outbox, make_event: MakeEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    encode = cv2.imencode
    monkeypatch.setattr(cv2, "imencode", lambda *words: encoded.append(1) or encode(*words))
    events = [make_event(i, images={"frame": FRAME, "crop": FRAME[: 8 + i]}) for i in range(3)]
    outbox.append(events)
    assert len(encoded) == 4
    stored = outbox.events.read()
    frames = [(outbox.folder / each.event.evidence["frame"]).read_bytes() for each in stored]
    crops = {(outbox.folder / each.event.evidence["crop"]).read_bytes() for each in stored}
    assert len(frames) == len(crops) == 3
    assert len({*frames}) == 1


@pytest.mark.parametrize(
    ("size", "limit", "stored"),
    [
        ((1080, 1920), 1280, (540, 960)),
        ((2160, 3840), 1280, (720, 1280)),
        ((1921, 1083), 1280, (960, 541)),
        ((720, 1280), 1280, (720, 1280)),
        ((1080, 1920), None, (1080, 1920)),
        ((1, 4000), 1280, (1, 4000)),
    ],
)
def test_large_frames_are_shrunk_and_crops_are_not(
    tmp_path: Path, make_event: MakeEvent, size: Any, limit: int | None, stored: Any
) -> None:
    frame = np.full((*size, 3), 90, np.uint8)
    frame[:, : size[1] // 2] = 200
    images = {"crop": frame, "frame": frame}
    with Outbox(tmp_path, frames=FrameLimits(size=limit)) as outbox:
        outbox.append([make_event(1, images=images)])
        event = outbox.events.read()[0].event
        shapes = {kind: cv2.imread(str(tmp_path / name)) for kind, name in event.evidence.items()}
    assert shapes["crop"] is not None
    assert shapes["frame"] is not None
    assert shapes["crop"].shape == (*size, 3)
    assert shapes["frame"].shape == (*stored, 3)
    if size[0] > 1:  # the same in the same place
        left, right = shapes["frame"][:, : stored[1] // 2 - 8], shapes["frame"][:, -8:]
        assert (round(left.mean(), -1), round(right.mean(), -1)) == (200, 90)


def test_a_busy_camera_stores_some_of_its_frames_and_all_of_its_crops(
    tmp_path: Path, make_event: MakeEvent
) -> None:
    events = [
        make_event(i, camera="gate", type="entered", images={"crop": CROP, "frame": FRAME})
        for i in range(30)
    ]
    events += [
        make_event(i, camera="gate", type="recognized", images={"crop": CROP, "frame": FRAME})
        for i in range(30, 50)
    ]
    other = make_event(50, camera="yard", type="entered", images={"crop": CROP, "frame": FRAME})
    with Outbox(tmp_path, frames=FrameLimits(per_minute=0.001)) as outbox:
        outbox.append([*events, other])
        stored = [each.event for each in reversed(outbox.events.read())]
    assert all("crop" in event.evidence for event in stored)
    with_frame = [number for number, event in enumerate(stored) if "frame" in event.evidence]
    assert with_frame == [*range(int(BURST - RESERVED)), *range(30, 51)]


@given(
    times=st.lists(st.floats(0, 600), min_size=1, max_size=200).map(sorted),
    per_minute=st.floats(0.1, 600),
)
def test_no_camera_stores_more_frames_than_its_share(
    times: list[float], per_minute: float, make_event: MakeEvent
) -> None:
    budget, event = FrameBudget(per_minute), make_event(1, type="crossed")
    allowed = [at for at in times if budget.allows(event, at)]
    assert len(allowed) <= BURST + (times[-1] - times[0]) * per_minute / 60 + 1e-6
    assert len(allowed) >= min(len(times), BURST)


def test_a_picture_that_is_empty_or_elsewhere_is_none(
    outbox: Outbox, make_event: MakeEvent, tmp_path: Path
) -> None:
    """A power cut may leave an empty file; a name that leads out of the folder is not followed."""
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    nothing = np.zeros((0, 4, 3), np.uint8)
    outbox.append([make_event(1, images={"crop": CROP, "frame": nothing})])
    event = outbox.events.read()[0].event
    assert list(event.evidence) == ["crop"]
    path = outbox.events.picture(event, "crop")
    assert path is not None
    path.write_bytes(b"")
    assert outbox.events.picture(event, "crop") is None
    for name in ("../secret.jpg", str(tmp_path / "secret.jpg"), "evidence/../../secret.jpg", NAME):
        outside = make_event(2, evidence={"crop": name})
        assert outbox.events.picture(outside, "crop") is None


def test_nobody_else_reads_events(tmp_path: Path, make_event: MakeEvent) -> None:
    """Whatever the mode of the folder, which may have been there before."""
    tmp_path.chmod(0o755)
    (tmp_path / NAME).touch(0o644)
    with Outbox(tmp_path, spacing=0.0) as outbox:
        outbox.append([make_event(1, images={"crop": CROP})])
        for path in tmp_path.iterdir():
            assert path.stat().st_mode & 0o077 == 0, path.name


def test_an_event_that_is_stored_is_not_stored_again(outbox: Outbox, make_event: MakeEvent) -> None:
    outbox.append([make_event(1), make_event(2), make_event(1, text="other")])
    outbox.append([make_event(2)])
    assert [event.id for _, event in outbox.events.replay()] == [
        make_event(1).id, make_event(2).id
    ]  # fmt: skip
    assert outbox.figures().events == 2


@pytest.mark.parametrize(
    ("events", "numbers"),
    [
        (EventFilter(), [0, 1, 2, 3, 4, 5]),
        (EventFilter(camera="gate"), [0, 2, 4]),
        (EventFilter(type="left"), [3, 4, 5]),
        (EventFilter(camera="yard", type="left"), [3, 5]),
        (EventFilter(since=4_000_000_002.0, until=4_000_000_004.0), [2, 3]),
        (EventFilter(text="100%_"), [5]),
        (EventFilter(text="b-1"), [1]),
        (EventFilter(text="Ann"), [4]),
        (EventFilter(text="\0C"), [4]),
        (EventFilter(text="' OR 1 --"), []),
    ],
)
def test_it_is_read_by_filters(
    outbox: Outbox, make_event: MakeEvent, events: EventFilter, numbers: list[int]
) -> None:
    texts = ["A-1", "B-1", "", "", "\0C", "100%_x"]
    for number, text in enumerate(texts):
        camera, kind = ("yard" if number % 2 else "gate"), ("left" if number > 2 else "entered")
        name = "Ann" if number == 4 else ""
        outbox.append([make_event(number, text=text, name=name, camera=camera, type=kind)])
    forward = [int(event.id, 16) for _, event in outbox.events.replay(events)]
    backward = [int(event.id, 16) for _, event in outbox.events.read(events)]
    assert forward == backward[::-1] == numbers


def test_pages_have_every_event_once(outbox: Outbox, make_event: MakeEvent) -> None:
    """Also those pages that are read while events come."""
    outbox.append([make_event(number) for number in range(10)])
    before, ids = None, []
    while page := outbox.events.read(before=before, limit=3):
        ids += [int(event.id, 16) for _, event in page]
        before = page[-1].sequence
        outbox.append([make_event(100 + len(ids))])
    assert ids == list(range(10))[::-1]
    stored = outbox.events.get(make_event(9).id)
    assert stored is not None
    newer = [int(event.id, 16) for _, event in outbox.events.read(after=stored.sequence, limit=2)]
    assert newer == [110, 109]


def test_many_threads_append_and_each_keeps_its_order(
    outbox: Outbox, make_event: MakeEvent
) -> None:
    def work(camera: int) -> None:
        for number in range(25):
            outbox.append([make_event(1000 * camera + number, camera=str(camera))])

    threads = [threading.Thread(target=work, args=(camera,)) for camera in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for camera in range(4):
        events = outbox.events.replay(EventFilter(camera=str(camera)))
        assert [int(event.id, 16) % 1000 for _, event in events] == list(range(25))


def test_a_listener_hears_of_a_commit_that_can_be_read(
    outbox: Outbox, make_event: MakeEvent
) -> None:
    counts: list[int] = []
    unsubscribe = outbox.subscribe(lambda: counts.append(outbox.events.count()))
    outbox.append([make_event(1)])
    wait_until(lambda: counts == [1])
    unsubscribe()
    outbox.append([make_event(2)])
    assert outbox.events.count() == 2
    assert counts == [1]


def test_no_listener_is_lost_while_others_come_and_go(
    outbox: Outbox, make_event: MakeEvent
) -> None:
    """Viewers leave and sinks begin in different threads."""
    woken: set[int] = set()
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            outbox.subscribe(lambda: None)()

    others = [threading.Thread(target=come_and_go) for _ in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for each in others:
            each.start()
        for number in range(400):
            outbox.subscribe(partial(woken.add, number))
    finally:
        stop.set()
        for each in others:
            each.join()
        sys.setswitchinterval(interval)
    outbox.append([make_event(1)])
    wait_until(lambda: len(woken) == 400)


def test_cursors_are_where_they_were(tmp_path: Path, make_event: MakeEvent) -> None:
    with Outbox(tmp_path) as outbox:
        outbox.append([make_event(1)])
        outbox.set_sinks(["a", "b"])
        outbox.append([make_event(2), make_event(3)])
        assert [outbox.pending(name) for name in "ab"] == [2, 2]
        outbox.advance("a", sequences(outbox)[1])
        assert [outbox.pending(name) for name in "ab"] == [1, 2]
        outbox.advance("a", sequences(outbox)[0])  # by a thread that was abandoned
        assert outbox.pending("a") == 1
    with Outbox(tmp_path) as outbox:
        outbox.set_sinks(["a", "c"])
        assert [outbox.pending(name) for name in "ac"] == [1, 0]
        outbox.advance("b", 1)  # it was taken away
    with Outbox(tmp_path) as outbox:
        outbox.set_sinks(["b"])
        assert outbox.pending("b") == 0


def test_a_cursor_is_on_the_disk_soon(
    outbox: Outbox, make_event: MakeEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no event comes that would take it along."""
    monkeypatch.setattr(writer_module, "CURSOR_SPACING", 0.1)

    def cursors() -> dict[str, int]:
        with closing(sqlite3.connect(outbox.folder / NAME)) as database:
            return dict(database.execute("SELECT sink, seq FROM cursors"))

    outbox.set_sinks(["a"])
    wait_until(lambda: cursors() == {"a": 0})
    outbox.append([make_event(1), make_event(2)])
    for place in sequences(outbox):
        outbox.advance("a", place)
        wait_until(partial(lambda place: cursors() == {"a": place}, place))


def test_a_place_is_never_used_twice(tmp_path: Path, make_event: MakeEvent) -> None:
    with Outbox(tmp_path) as outbox:
        outbox.append([make_event(1), make_event(2)])
        last = sequences(outbox)[-1]
    with closing(sqlite3.connect(tmp_path / NAME)) as database:
        database.execute("DELETE FROM events")
        database.commit()
    with Outbox(tmp_path) as outbox:
        outbox.append([make_event(3)])
        assert sequences(outbox) == [last + 1]


# ---- folders that cannot be used


def test_only_one_process_writes(outbox: Outbox, make_event: MakeEvent) -> None:
    code = "import sys; from pathlib import Path; from edgecnn_runtime.outbox import Outbox\n"
    code += "Outbox(Path(sys.argv[1]))"
    second = subprocess.run(
        [sys.executable, "-c", code, outbox.folder], capture_output=True, text=True
    )
    assert "OutboxError" in second.stderr
    assert "another process (pid " in second.stderr
    outbox.append([make_event(1)])
    assert len(OutboxReader(outbox.folder).read()) == 1


def test_a_folder_that_cannot_be_written_is_named(read_only: Path) -> None:
    with pytest.raises(OutboxError, match="--state") as caught:
        Outbox(read_only / "state")
    assert str(read_only) in str(caught.value)


def test_a_folder_without_events_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutboxError, match="there are no events"):
        OutboxReader(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("open_it", [Outbox, OutboxReader])
def test_a_newer_database_is_left_alone(
    tmp_path: Path, make_event: MakeEvent, open_it: Callable[[Path], object]
) -> None:
    Outbox(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / NAME)) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = (tmp_path / NAME).read_bytes()
    with pytest.raises(OutboxError, match=f"version {VERSION + 1}.*newer") as caught:
        open_it(tmp_path)
    assert str(tmp_path / NAME) in str(caught.value)
    assert (tmp_path / NAME).read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"not a database" * 999, b"SQLite format 3\x00garbage"])
def test_a_damaged_database_is_named_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    """An empty file is a new database."""
    (tmp_path / NAME).write_bytes(content)
    if not content:
        Outbox(tmp_path).close()
        return
    with pytest.raises(OutboxError, match="mv ") as caught:
        Outbox(tmp_path)
    words = str(caught.value).partition("(mv ")[2].partition(")")[0].split()
    shutil.move(*words)
    Outbox(tmp_path).close()


def older_database(folder: Path) -> None:
    """What version 1 wrote."""
    with closing(sqlite3.connect(folder / NAME)) as database:
        database.executescript(STEPS[0])
        database.execute("PRAGMA user_version = 1")
        body = '{"id":"a1","type":"entered","camera":"gate","time":5.0}'
        insert = "INSERT INTO events (id, time, camera, type, words, body) VALUES (?,?,?,?,?,?)"
        database.execute(insert, ("a1", 5.0, "gate", "entered", "", body))
        database.execute("INSERT INTO cursors VALUES ('log', 1)")
        database.commit()


def test_an_older_database_is_brought_up_to_date_beside_a_copy(
    tmp_path: Path, make_event: MakeEvent
) -> None:
    older_database(tmp_path)
    with pytest.raises(OutboxError, match="older version"):
        OutboxReader(tmp_path)
    keep = Retention(days=None)
    with Outbox(tmp_path, keep=keep) as outbox:
        stored = outbox.events.get("a1")
        assert stored is not None
        assert stored.event == make_event(0, id="a1", type="entered", time=5.0)
        assert outbox.cursor("log") == 1
        outbox.append([make_event(2, images={"crop": CROP})])
    backup = tmp_path / f"{NAME}.v1"
    with closing(sqlite3.connect(backup)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
        assert database.execute("SELECT id FROM events").fetchall() == [("a1",)]
    # the way back, as docs/events.md has it
    backup.replace(tmp_path / NAME)
    with Outbox(tmp_path, keep=keep) as outbox:
        assert [event.id for _, event in outbox.events.read()] == ["a1"]


# ---- a disk that fills up


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The kernel refuses to let a file grow beyond ``size`` bytes, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_from_the_start_is_named(tmp_path: Path) -> None:
    with largest_file(1000), pytest.raises(OutboxError, match="full") as caught:
        Outbox(tmp_path)
    assert str(tmp_path) in str(caught.value)
    Outbox(tmp_path).close()


def test_events_wait_for_a_full_disk_and_are_stored_in_order(
    outbox: Outbox, make_event: MakeEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_WAITING", 4)
    monkeypatch.setattr(writer_module, "RETRY", 0.05)
    outbox.append([make_event(0)])
    with largest_file(1000):
        for number in range(1, 8):
            outbox.append([make_event(number)])
        figures = outbox.figures()
        assert (figures.waiting, figures.lost) == (4, 3)
        assert NAME in figures.problem
        assert outbox.events.count() == 1
    wait_until(lambda: not outbox.figures().problem)
    assert [int(event.id, 16) for _, event in outbox.events.replay()] == [0, 1, 2, 3, 4]
    figures = outbox.figures()
    assert (figures.waiting, figures.lost, figures.events) == (0, 3, 5)
    outbox.append([make_event(9)])
    assert outbox.events.count() == 6


def test_what_waits_is_stored_when_the_outbox_is_closed(
    tmp_path: Path, make_event: MakeEvent
) -> None:
    outbox = Outbox(tmp_path, spacing=0.0)
    outbox.append([make_event(0)])
    with largest_file(1000):
        outbox.append([make_event(1)])
    outbox.close()
    outbox.close()
    assert len(OutboxReader(tmp_path).read()) == 2
    with pytest.raises(OutboxError, match="closed"):
        outbox.append([make_event(2)])


def test_on_a_nearly_full_disk_events_have_no_pictures(
    outbox: Outbox, make_event: MakeEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention_module, "RESERVE", 1 << 62)
    monkeypatch.setattr(retention_module, "SHARE", 2.0)
    outbox.append([make_event(1, images={"crop": CROP})])
    figures = outbox.figures()
    assert (figures.events, figures.pictures_lost, figures.lost) == (1, 1, 0)
    assert "nearly full" in figures.problem
    assert list(outbox.folder.rglob("*.jpg")) == []
    monkeypatch.undo()
    wait_until(lambda: outbox.figures().problem == "")
    outbox.append([make_event(2, images={"crop": CROP})])
    assert outbox.events.read()[0].event.evidence


def test_a_picture_that_does_not_fit_leaves_nothing(outbox: Outbox, make_event: MakeEvent) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    outbox.append([make_event(0)])
    with largest_file(100_000):
        outbox.append([make_event(1, images={"crop": CROP, "frame": noise})])
    assert outbox.figures().pictures_lost == 1
    assert outbox.events.read()[0].event.evidence == {}
    assert [path for path in outbox.folder.rglob("*") if path.suffix in {".jpg", ".part"}] == []


# ---- what is removed


def outbox_of(folder: Path, keep: Retention, events: list[Event], delivered: int) -> Outbox:
    """An outbox of events, of which a sink was told of the first ones, that cleans when opened."""
    with Outbox(folder, keep=Retention(days=None, disk=None), spacing=0.0) as outbox:
        outbox.set_sinks(["sink"])
        outbox.append(events)
        if delivered:
            outbox.advance("sink", sequences(outbox)[delivered - 1])
    return Outbox(folder, keep=keep, spacing=0.0)


def pictures(folder: Path) -> list[str]:
    """Names of all pictures, while folders among them may be removed."""
    return [name for _, _, files in os.walk(folder) for name in files if name.endswith(".jpg")]


def test_old_events_go_once_every_sink_was_told(tmp_path: Path, make_event: MakeEvent) -> None:
    import time

    now = time.time()
    ages = [40, 35, 33, 20, 1]
    events = [
        make_event(i, time=now - age * DAY, images={"crop": CROP}) for i, age in enumerate(ages)
    ]
    with outbox_of(tmp_path, Retention(days=30, evidence_days=10), events, 2) as outbox:
        wait_until(lambda: len(pictures(tmp_path)) == 1 and outbox.figures().events == 3)
        left = {int(event.id, 16): bool(event.evidence) for _, event in outbox.events.replay()}
        assert left == {2: False, 3: False, 4: True}  # the sink waits for the third
        assert outbox.figures().lost == 0
        assert outbox.figures().evidence_bytes == sum(
            path.stat().st_size for path in tmp_path.rglob("*.jpg")
        )
        assert len([path for path in tmp_path.glob("evidence/*/*/*") if path.is_dir()]) == 1


def test_over_the_quota_the_oldest_pictures_go_first(
    tmp_path: Path, make_event: MakeEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention_module, "CHUNK", 1)
    events = [make_event(i, images={"frame": FRAME}) for i in range(30)]
    with outbox_of(tmp_path, Retention(days=None, disk=None), events, 10) as outbox:
        database = outbox._cleaner.database_bytes()
        total = outbox.figures().evidence_bytes
    quota = database + total // 2
    with Outbox(tmp_path, keep=Retention(days=None, disk=quota)) as outbox:
        wait_until(lambda: outbox.figures().evidence_bytes <= total // 2)
        have = [bool(event.evidence) for _, event in outbox.events.replay()]
        assert len(have) == 30
        assert have == sorted(have)
        assert 0 < sum(have) <= 15


def test_over_the_quota_events_go_when_no_picture_is_left(
    tmp_path: Path, make_event: MakeEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What every sink was told of before what one waits for, which is counted as lost."""
    monkeypatch.setattr(retention_module, "CHUNK", 10)
    details = {"much": "x" * 2000}
    events = [make_event(i, images={"crop": CROP}, details=details) for i in range(100)]
    with outbox_of(tmp_path, Retention(days=None, disk=100_000), events, 20) as outbox:
        wait_until(lambda: 0 < outbox.figures().lost == 80 - outbox.events.count())
        numbers = [int(event.id, 16) for _, event in outbox.events.replay(limit=1000)]
        assert numbers == list(range(100 - len(numbers), 100))
        assert 0 < len(numbers) < 80
        assert list(tmp_path.rglob("*.jpg")) == []


def test_nothing_is_removed_by_age_after_the_clock_was_set() -> None:
    wall, monotonic = 4_000_000_000.0, 50.0
    clock = SteadyClock(wall - DAY, lambda: wall, lambda: monotonic)
    assert clock.now() == wall
    wall, monotonic = wall + 61, monotonic + 60
    assert clock.now() == wall
    wall += 400 * DAY  # it jumps into the future …
    assert clock.now() is None
    wall, monotonic = wall + CLOCK_STEP - 1, monotonic + CLOCK_STEP - 1
    assert clock.now() is None
    wall -= 400 * DAY  # … and back, as a time server has it
    assert clock.now() is None
    wall, monotonic = wall + CLOCK_STEP, monotonic + CLOCK_STEP
    assert clock.now() == wall


@pytest.mark.parametrize("newest", [None, 1_764_000_000.0 - 6 * DAY, 1_764_000_000.0 + DAY])
def test_a_clock_that_fits_the_newest_event_is_believed(newest: float | None) -> None:
    assert SteadyClock(newest, lambda: 1_764_000_000.0, lambda: 5.0).now() == 1_764_000_000.0


def test_a_box_that_wakes_up_years_ahead_removes_nothing_until_it_is_told_the_time() -> None:
    wall, monotonic = 1_764_000_000.0 + 9000 * DAY, 5.0
    clock = SteadyClock(1_764_000_000.0, lambda: wall, lambda: monotonic)
    assert clock.now() is None
    wall, monotonic = 1_764_000_000.0 + 600, 605.0
    assert clock.now() is None
    wall, monotonic = wall + CLOCK_STEP, monotonic + CLOCK_STEP
    assert clock.now() == wall


def test_pictures_without_an_event_are_removed(tmp_path: Path, make_event: MakeEvent) -> None:
    """The process was killed between the picture and the commit."""
    with Outbox(tmp_path) as outbox:
        outbox.append([make_event(1, id="a-b", images={"crop": CROP})])
    folder = next(tmp_path.rglob("*.jpg")).parent
    (folder / f"{2:032x}-crop.jpg").write_bytes(b"orphan")
    (folder / f".{3:032x}-crop.jpg.part").write_bytes(b"torn")
    with Outbox(tmp_path) as outbox:
        event = outbox.events.read()[0].event
        assert outbox.events.picture(event, "crop") is not None
    assert [path.name for path in folder.iterdir()] == ["a-b-crop.jpg"]
