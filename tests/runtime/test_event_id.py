"""Identifiers of events sort in the order in which they were made."""

import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.event_id import event_id


def test_it_is_a_uuid_of_version_7_that_names_its_millisecond() -> None:
    before = time.time_ns() // 1_000_000
    identifier = uuid.UUID(event_id())
    after = time.time_ns() // 1_000_000
    assert identifier.version == 7
    assert identifier.variant == uuid.RFC_4122
    assert before <= identifier.int >> 80 <= after


def test_ids_of_one_moment_ascend_and_differ() -> None:
    ids = [event_id()]
    for _ in range(5000):
        ids.append(event_id(after=ids[-1]))
    assert ids == sorted(set(ids))


def test_a_clock_that_is_set_back_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    last = event_id()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)
    assert event_id(after=last) > last
    assert uuid.UUID(event_id(after=last)).version == 7


@given(st.integers(0, (1 << 48) - 2), st.integers(0, (1 << 12) - 1), st.integers(0, (1 << 62) - 1))
def test_the_next_one_is_greater_and_valid(stamp: int, high: int, low: int) -> None:
    last = f"{stamp << 80 | 7 << 76 | high << 64 | 2 << 62 | low:032x}"
    following = event_id(after=last)
    assert following > last
    assert uuid.UUID(following).version == 7
    assert uuid.UUID(following).variant == uuid.RFC_4122
