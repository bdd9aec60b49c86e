"""Events as JSON: the same from every sink, and back again."""

import json
import re
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.errors import ConfigError
from edgecnn_runtime.sinks.serialize import EventRecord, event_record, event_text, read_event
from edgecnn_runtime.types import Box, Event

PLATE = Event(
    id="019325c4f5a97000800000000000abcd",
    type="recognized",
    camera="gate",
    time=1795766045.1234,
    age=0.06312,
    track=7,
    label="plate",
    text="KA·1234",
    score=0.931234,
    part_scores=(0.99, 0.93123),
    box=Box(10.0, 20.0, 110.25, 40.12345),
    relative_box=Box(0.1, 0.2, 0.3, 1 / 3),
    zone="lane",
    seconds=1.25,
    model="0" * 64,
    choice="fp32 on onnxruntime",
    evidence={"crop": "2026/11/27/a.jpg"},
    images={"crop": np.zeros((4, 4, 3), np.uint8)},
    details={"votes": 4},
)


def test_a_record_has_every_field_but_the_pixels() -> None:
    record = event_record(PLATE)
    pixels = {"images", "boxes"}
    assert list(record) == [name for name in Event.__struct_fields__ if name not in pixels]
    assert record["time"] == "2026-11-27T07:54:05.123Z"
    assert (record["age"], record["score"], record["part_scores"]) == (
        0.063,
        0.9312,
        [0.99, 0.9312],
    )
    assert record["box"] == [10.0, 20.0, 110.25, 40.123]
    assert record["relative_box"] == [0.1, 0.2, 0.3, 0.333333]
    assert list(EventRecord.__struct_fields__) == list(record)


def test_empty_fields_are_there_too() -> None:
    record = event_record(Event(id="0" * 32, type="camera", camera="gate", time=0.0))
    assert set(record) == set(event_record(PLATE))
    assert (record["age"], record["track"], record["box"], record["text"]) == (None, None, None, "")
    assert record["time"] == "1970-01-01T00:00:00.000Z"


moments = st.floats(0, 4e9, allow_nan=False)
shares = st.floats(0, 1)


@given(
    st.text(), moments, st.none() | shares, st.lists(shares),
    st.none() | st.builds(Box, *[st.floats(-1e4, 1e4)] * 4),
    st.dictionaries(st.text(), st.integers(-1000, 1000) | st.text()),
)  # fmt: skip
def test_what_was_written_is_read_again(text, time, age, scores, box, details) -> None:  # type: ignore[no-untyped-def] # given by hypothesis
    event = Event(
        id="0" * 32, type="left", camera=text, time=time, age=age, text=text,
        part_scores=tuple(scores), box=box, details=details,
    )  # fmt: skip
    record = event_record(event)
    assert event_record(read_event(msgspec.json.encode(record))) == record
    assert read_event(json.dumps(record)).text == text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "recognized KA·1234, 93 %, 4 votes, in lane"),
        ({"zone": "", "details": {"votes": 1}}, "recognized KA·1234, 93 %, 1 vote"),
        ({"text": "", "zone": ""}, "recognized plate #7, 93 %, 4 votes"),
        ({"name": "Rosa"}, "recognized Rosa, 93 %, 4 votes, in lane"),
        ({"type": "entered", "text": ""}, "entered plate #7, 93 %, in lane"),
        (
            {"type": "crossed", "line": "stop", "direction": "in"},
            "crossed stop in, KA·1234 #7, in lane",
        ),
        ({"type": "present", "zone": ""}, "present KA·1234 #7, 1.2 s"),
        ({"type": "left", "zone": "", "text": ""}, "left plate #7, 1.2 s"),
        ({"type": "camera", "track": None, "text": "", "label": "", "zone": ""}, "camera"),
    ],
)
def test_an_event_in_words(fields: dict[str, Any], text: str) -> None:
    assert event_text(msgspec.structs.replace(PLATE, **fields)) == text


@pytest.mark.parametrize(
    "line", ["", "{}", "[]", "null", '{"id": 1}', '{"type": "exploded"}', "[" * 100_000, "\x00"]
)
def test_anything_else_is_refused(line: str) -> None:
    with pytest.raises(ConfigError, match="not an event"):
        read_event(line)


def test_no_field_can_be_of_another_type() -> None:
    good = event_record(PLATE)
    for name, value in good.items():
        for wrong in ({"a": [1]}, [[[]]], True):
            if isinstance(value, dict) and isinstance(wrong, dict) and name == "details":
                continue
            with pytest.raises(ConfigError, match=re.escape("not an event")):
                read_event(json.dumps({**good, name: wrong}))
