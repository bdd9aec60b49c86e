"""JSON lines and tables: what a program that reads them may rely on."""

import csv
import json
import os
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn_runtime.errors import EdgecnnError, UsageError
from edgecnn_runtime.sinks import SINKS, SinkKind, StreamInfo, sink_for
from edgecnn_runtime.sinks.csv import open_table, table_columns
from edgecnn_runtime.sinks.existing import Existing
from edgecnn_runtime.sinks.jsonl import json_line
from edgecnn_runtime.sinks.serialize import frame_record, result_records
from edgecnn_runtime.sinks.text_file import TextFile
from edgecnn_runtime.types import Box, Classification, Detection, Embedding, FrameResult, Reading

TEXTS = ["jsonl", "csv"]
SCORES = np.array([0.1, 0.9], np.float32)
FACE = Detection(Box(10.0, 20.0, 110.25, 140.0), 0.93123, "face", 0, ((30.0, 40.5),))
MakeResult = Callable[..., FrameResult]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (
            [FACE],
            [{"label": "face", "index": 0, "score": 0.9312, "box": [10.0, 20.0, 110.2, 140.0],
              "points": [[30.0, 40.5]]}],
        ),
        (Classification("on", 1, 0.9, SCORES), [{"label": "on", "index": 1, "score": 0.9}]),
        (
            Reading("苏A1", 0.5, (0.9, 0.5, 0.8)),
            [{"text": "苏A1", "score": 0.5, "char_scores": [0.9, 0.5, 0.8]}],
        ),
        (Embedding(np.array([0.5, -0.25], np.float32)), [{"vector": [0.5, -0.25]}]),
    ],
    ids=["detect", "classify", "ocr", "embed"],
)  # fmt: skip
def test_a_json_line(tmp_path: Path, result: Any, expected: Any, frame_result: MakeResult) -> None:
    path = tmp_path / "events.jsonl"
    events = TextFile(path, json_line)
    captured = time.monotonic() - 0.063
    events.write(frame_result(result, index=7, pts=0.28, age=0.0631, at=captured))
    line = json.loads(path.read_text())  # it is there before the file is closed
    events.close()
    assert line.pop("results") == expected
    stamp = datetime.fromisoformat(line.pop("captured").replace("Z", "+00:00"))
    assert abs((datetime.now(timezone.utc) - stamp).total_seconds()) < 60
    assert line == {
        "source": "rtsp://u:***@cam/1", "file": None, "index": 7, "time": 0.28, "age_ms": 63.1,
    }  # fmt: skip


def test_frames_of_a_file_have_no_age(tmp_path: Path, frame_result: MakeResult) -> None:
    events = TextFile(tmp_path / "events.jsonl", json_line)
    events.write(frame_result([FACE], pts=1.0))
    line = json.loads((tmp_path / "events.jsonl").read_text())
    assert (line["captured"], line["age_ms"], line["time"]) == (None, None, 1.0)


@pytest.mark.parametrize("result", [[], Reading("", 1.0)], ids=["no box", "no text"])
def test_where_nothing_was_found_nothing_is_written(
    tmp_path: Path, result: Any, frame_result: MakeResult
) -> None:
    for sink in (TextFile(tmp_path / "a", json_line), open_table(tmp_path / "b")):
        sink.write(frame_result(result))
        sink.close()
    assert (tmp_path / "a").read_text() == ""
    assert len((tmp_path / "b").read_text().splitlines()) == 1


def test_table_rows(tmp_path: Path, frame_result: MakeResult) -> None:
    table = open_table(tmp_path / "out.csv")
    table.write(frame_result([FACE, FACE], index=3, pts=0.12))
    table.write(frame_result(Reading('a "b", c', 0.5)))
    table.write(frame_result(Embedding(np.array([0.5, -0.25], np.float32))))
    table.close()
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert rows[0] == rows[1]
    assert (rows[0]["label"], rows[0]["class"], rows[0]["x2"]) == ("face", "0", "110.2")
    assert (rows[0]["index"], rows[0]["points"]) == ("3", "30.0 40.5")
    assert rows[2]["text"] == 'a "b", c'
    assert rows[3]["vector"] == "0.5 -0.25"


def test_a_picture_is_named_whatever_its_bytes(tmp_path: Path, frame_result: MakeResult) -> None:
    names = ["photos/a.jpg", os.fsdecode(b"photos/\xff.jpg")]
    sinks = (TextFile(tmp_path / "a.jsonl", json_line), open_table(tmp_path / "a.csv"))
    for sink in sinks:
        for name in names:
            sink.write(frame_result([FACE], file=name))
        sink.close()
    lines = (tmp_path / "a.jsonl").read_text("utf-8").splitlines()
    expected = ["photos/a.jpg", "photos/\\udcff.jpg"]
    assert [json.loads(line)["file"] for line in lines] == expected
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        assert [row["file"] for row in csv.DictReader(file)] == expected


@pytest.mark.parametrize("name", TEXTS)
def test_lines_of_an_earlier_run_are_kept_under_another_name(
    tmp_path: Path, frame_result: MakeResult, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "out.txt"
    for index in range(3):
        write_once(name, path, frame_result([FACE], index=index))
    assert f"{path} existed, and is kept as out.1.txt" in caplog.text
    for file, index in (("out.1.txt", 0), ("out.2.txt", 1), ("out.txt", 2)):
        assert indices(name, tmp_path / file) == [index]


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_without_results_is_used_again(
    tmp_path: Path, frame_result: MakeResult, name: str
) -> None:
    """A service that finds no camera, and is started again and again, leaves no trail of files."""
    for _ in range(3):
        write_once(name, tmp_path / "out.txt")
    write_once(name, tmp_path / "out.txt", frame_result([FACE]))
    assert indices(name, tmp_path / "out.txt") == [0]
    assert list(tmp_path.iterdir()) == [tmp_path / "out.txt"]


@pytest.mark.parametrize("torn", [False, True])
@pytest.mark.parametrize("name", TEXTS)
def test_lines_may_be_continued(
    tmp_path: Path, frame_result: MakeResult, name: str, torn: bool
) -> None:
    """Even behind a line that a power cut has torn."""
    path = tmp_path / "out.txt"
    write_once(name, path, frame_result([FACE], index=0))
    if torn:
        with path.open("a") as file:
            file.write('{"source": "rts')
    write_once(name, path, frame_result([FACE], index=1), existing="append")
    lines = path.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line != '{"source": "rts\n']
    assert len(lines) - len(whole) == torn
    path.write_text("".join(whole))
    assert indices(name, path) == [0, 1]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("existing", ["keep", "append"])
@pytest.mark.parametrize("name", TEXTS)
def test_two_processes_at_one_file_lose_no_line(
    tmp_path: Path, frame_result: MakeResult, name: str, existing: Existing
) -> None:
    """A service is started while its predecessor still completes its files."""
    path = tmp_path / "out.txt"
    sinks = [SINKS[name].open(path, StreamInfo(existing=existing)) for _ in range(2)]
    for index in range(6):
        sinks[index % 2].write(frame_result([FACE], index=index))
    for sink in sinks:
        sink.close()
    assert indices(name, path) == list(range(6))


def test_a_table_of_other_columns_is_not_continued(
    tmp_path: Path, frame_result: MakeResult
) -> None:
    path = tmp_path / "out.csv"
    path.write_text("source,index\ncamera,1\n")
    write_once("csv", path, frame_result([FACE]), existing="append")
    assert indices("csv", path) == [0]
    assert (tmp_path / "out.1.csv").read_text() == "source,index\ncamera,1\n"


@pytest.mark.parametrize("name", TEXTS)
def test_an_earlier_run_is_replaced_where_that_is_asked_for(
    tmp_path: Path, frame_result: MakeResult, name: str
) -> None:
    for index in range(2):
        result = frame_result([FACE], index=index)
        write_once(name, tmp_path / "out.txt", result, existing="overwrite")
    assert indices(name, tmp_path / "out.txt") == [1]
    assert list(tmp_path.iterdir()) == [tmp_path / "out.txt"]


def write_once(name: str, path: Path, *results: FrameResult, existing: Existing = "keep") -> None:
    sink = SINKS[name].open(path, StreamInfo(existing=existing))
    for result in results:
        sink.write(result)
    sink.close()


def indices(name: str, path: Path) -> list[int]:
    """The numbers of the frames in a file."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file) if name == "csv" else map(json.loads, file)
        return [int(row["index"]) for row in rows]


@pytest.mark.parametrize("sink", [SINKS["jsonl"], SINKS["csv"]])
def test_a_full_disk_is_reported(sink: SinkKind, frame_result: MakeResult) -> None:
    with pytest.raises(EdgecnnError, match="cannot write /dev/full: No space left on device"):
        sink.open(Path("/dev/full"), StreamInfo()).write(frame_result([FACE]))


def test_what_surely_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    assert sink_for("events", str(tmp_path / "any.name")) is SINKS["jsonl"]
    with pytest.raises(UsageError, match="make it first"):
        sink_for("events", str(tmp_path / "no" / "out.jsonl"))
    with pytest.raises(UsageError, match="is a folder"):
        sink_for("csv", str(tmp_path))
    with pytest.raises(UsageError, match=r"must end in \.mp4.*\.png"):
        sink_for("save", str(tmp_path / "out.gif"))


@pytest.mark.parametrize(
    ("name", "kind"), [("out.MP4", "video"), ("out.avi", "video"), ("out.jpeg", "snapshot")]
)
def test_the_ending_of_a_file_decides_what_is_saved(tmp_path: Path, name: str, kind: str) -> None:
    assert sink_for("save", str(tmp_path / name)) is SINKS[kind]


def test_every_key_of_an_event_is_documented(root: Path, frame_result: MakeResult) -> None:
    text = (root / "docs" / "streams.md").read_text()
    keys = {*table_columns(), "results", *frame_record(frame_result([FACE]))}
    for result in ([FACE], Reading("A", 0.5, (0.5,)), Embedding(SCORES)):
        keys |= {key for record in result_records(frame_result(result)) for key in record}
    assert {"char_scores", "vector", "age_ms"} <= keys
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []
