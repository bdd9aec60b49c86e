"""Which events pass: by place, time, list and size."""

import contextlib
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.config import from_plain
from edgecnn_runtime.errors import ConfigError
from edgecnn_runtime.rules import RULES, RuleConfig, Rules
from edgecnn_runtime.rules.schedule import Clock, Schedule
from edgecnn_runtime.rules.watchlist import Watchlist
from edgecnn_runtime.types import Box, Event

BERLIN = "Europe/Berlin"


def event(**fields: Any) -> Event:
    values: dict[str, Any] = {
        "id": "0" * 32, "type": "recognized", "camera": "gate", "time": 1_790_000_000.0,
        "label": "car", "text": "KA·1234", "score": 0.9, "zone": "lane", "seconds": 2.0,
        "relative_box": Box(0.1, 0.1, 0.3, 0.2),
    }  # fmt: skip
    return Event(**{**values, **fields})


@pytest.fixture
def rules(tmp_path: Path) -> Callable[..., Rules]:
    """The rules of entries as they stand in site.yaml."""

    def make(*entries: dict[str, Any]) -> Rules:
        return Rules(from_plain(list(entries), list[RuleConfig], "site.yaml"), tmp_path)

    return make


def test_every_condition_is_a_key_and_the_other_way_round() -> None:
    keys = {field.encode_name for field in msgspec.structs.fields(RuleConfig)}
    assert keys == {"when", "camera", *RULES}


@pytest.mark.parametrize(("entry", "passing", "dropped"), [
    ({"zone": "lane"}, {}, {"zone": "yard"}),
    ({"zone": ["lane", "yard"]}, {"zone": "yard"}, {"zone": ""}),
    ({"line": "gate", "direction": "in"}, {"line": "gate", "direction": "in"},
     {"line": "gate", "direction": "out"}),
    ({"label": ["car", "bus"]}, {"label": "bus"}, {"label": "person"}),
    ({"min_score": 0.8}, {"score": 0.8}, {"score": 0.79}),
    ({"min_score": {"car": 0.8}}, {"label": "bus", "score": 0.1}, {"score": 0.7}),
    ({"min_size": 0.1}, {}, {"relative_box": Box(0.1, 0.1, 0.9, 0.19)}),
    ({"min_seconds": 2}, {}, {"seconds": 1.9}),
])  # fmt: skip
def test_a_condition_drops_what_does_not_meet_it(
    rules: Callable[..., Rules], entry: dict[str, Any], passing: dict[str, Any],
    dropped: dict[str, Any],
) -> None:  # fmt: skip
    rule = rules(entry)
    assert rule(event(**passing)) == event(**passing)
    assert rule(event(**dropped)) is None


def test_events_of_which_no_rule_speaks_pass(rules: Callable[..., Rules]) -> None:
    rule = rules({"when": "recognized", "camera": "gate", "zone": "yard"})
    assert rule(event()) is None
    for other in (event(camera="door"), event(type="left"), event(type="camera")):
        assert rule(other) is other


def test_one_rule_that_lets_it_pass_is_enough(rules: Callable[..., Rules]) -> None:
    rule = rules({"zone": "yard"}, {"when": ["recognized", "left"], "zone": "lane"})
    assert rule(event()) == event()
    assert rule(event(zone="roof")) is None


def test_changes_of_a_camera_are_dropped_only_by_name(rules: Callable[..., Rules]) -> None:
    change = event(type="camera", zone="")
    assert rules({"zone": "yard"})(change) is change
    assert rules({"when": "camera", "zone": "yard"})(change) is None


def test_without_rules_everything_passes(rules: Callable[..., Rules]) -> None:
    assert rules()(event()) == event()


@pytest.mark.parametrize(("entry", "says"), [
    ({"wen": "left"}, "did you mean when"),
    ({"when": "entred"}, "did you mean entered"),
    ({"schedule": {"from": "25:00"}}, "cannot be '25:00'"),
    ({"schedule": {"timezone": "Europe/Berlim"}}, "did you mean Europe/Berlin"),
    ({"schedule": {"timezone": "../../etc/passwd"}}, "timezone"),
    ({"watchlist": "missing.csv"}, "missing.csv: cannot be read: No such file"),
    ({"watchlist": {"file": "a", "distance": 9}}, "distance"),
    ({"min_score": 1.5}, "min_score"),
])  # fmt: skip
def test_what_cannot_be_right_is_refused(
    rules: Callable[..., Rules], entry: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        rules(entry)


def covers(schedule: dict[str, Any], *local: Any, zone: str = BERLIN, fold: int = 0) -> bool:
    moment = datetime(*local, tzinfo=ZoneInfo(zone), fold=fold).timestamp()
    config = from_plain({"timezone": zone, **schedule}, Schedule, "site.yaml")
    return Clock(config).covers(moment)


def test_a_schedule_has_days_and_times() -> None:
    office = {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "8:00", "to": "17:30"}
    assert covers(office, 2026, 11, 27, 8, 0)
    assert covers(office, 2026, 11, 27, 17, 29, 59)
    assert not covers(office, 2026, 11, 27, 17, 30)
    assert not covers(office, 2026, 11, 27, 7, 59)
    assert not covers(office, 2026, 11, 28, 12, 0)


def test_a_site_has_a_time_zone_of_its_own(tmp_path: Path) -> None:
    """It is 12:00 in Berlin and 20:00 in Tokyo."""
    at_noon = datetime(2026, 11, 27, 12, 30, tzinfo=ZoneInfo(BERLIN)).timestamp()
    noon = RuleConfig(schedule=Schedule(start="12:00", end="13:00"))
    assert Rules([noon], tmp_path, timezone=BERLIN)(event(time=at_noon))
    assert Rules([noon], tmp_path, timezone="Asia/Tokyo")(event(time=at_noon)) is None


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    friday = {"days": ["fri"], "from": "22:00", "to": "06:00"}
    assert covers(friday, 2026, 11, 27, 22, 0)
    assert covers(friday, 2026, 11, 28, 5, 59)
    assert not covers(friday, 2026, 11, 28, 6, 0)
    assert not covers(friday, 2026, 11, 27, 5, 0), "that is Thursday's night"
    assert not covers(friday, 2026, 11, 28, 23, 0)


def test_the_same_start_and_end_are_24_hours() -> None:
    friday = {"days": ["fri"], "from": "06:00", "to": "06:00"}
    assert covers(friday, 2026, 11, 27, 6, 0)
    assert covers(friday, 2026, 11, 28, 5, 59)
    assert not covers(friday, 2026, 11, 27, 5, 59)


def test_summer_time_is_the_clock_on_the_wall() -> None:
    """Clocks go from 2:00 to 3:00 on 2026-03-29 and from 3:00 to 2:00 on 2026-10-25."""
    early = {"from": "02:00", "to": "03:00"}
    hours = [datetime(2026, 3, 29, hour, 30, tzinfo=timezone.utc).timestamp() for hour in range(4)]
    clock = Clock(Schedule(start="02:00", end="03:00", zone=BERLIN))
    assert not any(clock.covers(moment) for moment in hours), "the hour was skipped"
    assert covers(early, 2026, 10, 25, 2, 30, fold=0)
    assert covers(early, 2026, 10, 25, 2, 30, fold=1), "and here it came twice"
    assert covers({"from": "06:00", "to": "07:00"}, 2026, 7, 1, 6, 30)
    assert covers({"from": "06:00", "to": "07:00"}, 2026, 1, 1, 6, 30)


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 2_000_000_000))
def test_a_span_and_the_rest_of_the_day_are_the_whole_day(start: int, end: int, at: int) -> None:
    one, other = (f"{minute // 60:02}:{minute % 60:02}" for minute in (start, end))
    if one == other:
        return
    spans = (Clock(Schedule(start=a, end=b, zone=BERLIN)) for a, b in ((one, other), (other, one)))
    assert sum(clock.covers(float(at)) for clock in spans) == 1


@pytest.fixture
def watchlist(tmp_path: Path) -> Callable[[str], Watchlist]:
    def write(text: str) -> Watchlist:
        (tmp_path / "list.csv").write_text(text, encoding="utf-8")
        return Watchlist(tmp_path / "list.csv")

    return write


def test_a_list_is_one_text_per_line(watchlist: Callable[[str], Watchlist]) -> None:
    known = watchlist("# the yard\nKA 1234\n\n苏A·12345\n")
    assert known.find("ka·1234")
    assert known.find("苏A12345")
    assert known.find("KA 1235") is None
    assert known.find("") is None
    assert known.find("·-") is None


def test_a_list_has_names_and_several_lists(rules: Callable[..., Rules], tmp_path: Path) -> None:
    text = 'text,name,list\nKA1234,"Post, yellow",allowed\nXY99,,denied\n'
    (tmp_path / "known.csv").write_text(text)
    passed = rules({"watchlist": "known.csv"})(event())
    assert passed is not None
    assert passed.name == "Post, yellow"
    assert passed.details == {"listed": "KA1234", "list": "allowed"}
    assert rules({"watchlist": "known.csv"})(event(text="NOBODY")) is None
    unlisted = rules({"watchlist": {"file": "known.csv", "pass": "unlisted"}})
    assert unlisted(event()) is None
    assert unlisted(event(text="NOBODY")) == event(text="NOBODY")
    every = rules({"watchlist": {"file": "known.csv", "pass": "all"}})
    assert every(event(text="NOBODY")) == event(text="NOBODY")
    assert every(event(text="xy-99")).details["list"] == "denied"


def test_a_list_tolerates_errors_but_does_not_guess(watchlist: Callable[[str], Watchlist]) -> None:
    known = watchlist("text,name\nKA1234,post\nKA1284,bakery\nXY99,fire\n")
    assert known.find("XY98") is None
    assert known.find("XY98", 1).name == "fire"
    assert known.find("Y99", 1).name == "fire"
    assert known.find("XY8", 1) is None
    assert known.find("KA1234", 1).name == "post", "it is spelled so"
    assert known.find("KA1294", 1).name == "bakery" if known.find("KA1294", 1) else True
    assert known.find("KA12E4", 1) is None, "two entries are as near"


def test_a_list_is_read_again_when_it_changes(
    watchlist: Callable[[str], Watchlist], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known, path = watchlist("KA1234\n"), tmp_path / "list.csv"

    def replace(raw: bytes) -> None:
        (tmp_path / "new").write_bytes(raw)
        (tmp_path / "new").replace(path)

    replace(b"XY99\n")
    assert known.find("XY99")
    assert known.find("KA1234") is None
    replace(b"\xff\xfe\n")
    assert known.find("XY99"), "what cannot be read changes nothing"
    assert "list.csv:1: not UTF-8 text; what was read before stays in use" in caplog.text
    path.unlink()
    assert known.find("XY99")
    replace(b"AB1\n")
    assert known.find("AB1")


@pytest.mark.parametrize(("text", "says"), [
    ("KA1234,post\n", "list.csv:1: a list with commas begins with"),
    ("text,nam\nKA,x\n", "list.csv:1: nam: .*did you mean name"),
    ("text,name\nA1,x,y\n", "list.csv:2: more cells"),
    ("text,name\nA1,x\nA-1,y\n", "list.csv:3: A-1 is on the list twice"),
    ("...\n", "list.csv:1: a text has a letter or digit"),
    ("A\x1b[31m\n", "list.csv:1: .*cannot be printed"),
    ("A" * 200, "128 characters"),
    ("text\n" + "\n".join(f"A{i}" for i in range(20_001)), "20000 at most"),
])  # fmt: skip
def test_what_is_no_list_is_refused(
    watchlist: Callable[[str], Watchlist], text: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        watchlist(text)


@given(st.binary(max_size=200))
def test_any_file_is_a_list_or_refused(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(raw)
    with contextlib.suppress(ConfigError):
        Watchlist(path).find("KA1234", 1)


def test_look_alikes_count_as_the_same_where_they_may(
    watchlist: Callable[[str], Watchlist],
) -> None:
    known = watchlist("text,name\nKA0185,post\nHHO1,mill\nHH01,yard\n")
    assert known.find("KAOIBS") is None
    entry = known.find("KAOIBS", look_alikes=True)
    assert entry is not None
    assert entry.name == "post"
    assert known.find("HH01", look_alikes=True) == ("HH01", "yard", "")
    assert known.find("HHOI", look_alikes=True) is None, "two entries look like it"
    assert known.find("KAOIB", 1, look_alikes=True) == entry, "and one edit away"
    assert known.find("KAOI", 1, look_alikes=True) is None
