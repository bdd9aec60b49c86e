"""Hostile labels and texts reach neither a terminal nor a spreadsheet's formulas."""

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.sinks import SINKS, StreamInfo
from edgecnn_runtime.sinks.escaping import FORMULAS, escape_json, table_cell
from edgecnn_runtime.sinks.events.csv import event_row
from edgecnn_runtime.sinks.events.jsonl import json_line
from edgecnn_runtime.sinks.serialize import event_record
from edgecnn_runtime.types import Box, Detection, Event, FrameResult, Reading

MakeEvent = Callable[..., Event]
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
HOSTILE = ["\x1b[31m", "\x9b31m", "\x1b]0;title\x07", "a\x7f", "\u202eevil", "\r=1+1", "\t=1"]
texts = st.text() | st.text("=+-@'\u202e\x1b\x9b\n\t,\"a", max_size=8) | st.sampled_from(HOSTILE)


@given(texts)
def test_json_means_the_same(text: str) -> None:
    line = escape_json(json.dumps({"a": text}, ensure_ascii=False))
    assert json.loads(line) == {"a": text}
    assert not OBEYED.search(line)


@given(texts)
def test_a_cell_is_no_formula_and_can_be_read_back(text: str) -> None:
    cell = table_cell(text)
    assert isinstance(cell, str)
    assert not OBEYED.search(cell)
    assert not cell.startswith(("=", "+", "-", "@"))
    if text.isprintable():
        assert cell.removeprefix("'") == text
        assert (cell != text) == text.startswith(FORMULAS)


@given(st.integers() | st.floats() | st.none() | st.booleans())
def test_a_number_stays_one(value: object) -> None:
    assert table_cell(value) is value


@pytest.mark.parametrize("text", [*HOSTILE, "=HYPERLINK(1)", "+1", "-1", "@a", "'a", "plain"])
def test_every_line_of_an_event(make_event: MakeEvent, text: str) -> None:
    event = make_event(1, text=text, label=text, name=text, zone=text, details={"listed": text})
    row, line = event_row(event), json_line(event)
    assert not OBEYED.search(row + line)
    assert json.loads(line) == event_record(event)
    cells = next(csv.reader(io.StringIO(row)))
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
    assert json.loads(cells[-1]) == {"listed": text}
    if text.isprintable():
        assert cells[6].removeprefix("'") == text


@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_results_of_run(
    tmp_path: Path, frame_result: Callable[..., FrameResult], name: str
) -> None:
    path = tmp_path / "out"
    sink = SINKS[name].open(path, StreamInfo())
    for text in (*HOSTILE, "=1+1"):
        sink.write(frame_result(Reading(text, 0.5)))
        sink.write(frame_result([Detection(Box(-5.0, 1.0, 2.0, 3.0), 0.5, text, 0)]))
    sink.close()
    content = path.read_text(encoding="utf-8")
    assert not OBEYED.search(content)
    if name == "csv":
        rows = list(csv.DictReader(io.StringIO(content)))
        assert rows[-2]["text"] == rows[-1]["label"] == "'=1+1"
        assert rows[-1]["x1"] == "-5.0", "a number is one"
