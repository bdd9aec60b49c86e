import json
from pathlib import Path

from edgecnn.demo.scene import Tile
from edgecnn.demo.score import DigitReading, Look, compare, read_events, vote


def looks(text: str, start: int = 0) -> list[Look]:
    """One character a frame: a digit, or . for none."""
    labels = ["none" if character == "." else character for character in text]
    return [Look(start + at, label, 0.9) for at, label in enumerate(labels)]


def test_the_frames_of_a_passing_vote() -> None:
    assert [(r.label, r.first, r.last) for r in vote(looks("...7717...44444.."))] == [
        ("7", 3, 6),
        ("4", 10, 14),
    ]


def test_surer_frames_count_more() -> None:
    ballot = [Look(0, "1", 0.3), Look(1, "1", 0.3), Look(2, "7", 0.99)]
    assert [reading.label for reading in vote(ballot)] == ["7"]


def test_a_short_gap_does_not_end_a_reading_and_a_longer_one_does() -> None:
    assert len(vote(looks("333..333"))) == 1
    assert len(vote(looks("333...333"))) == 2


def test_a_glimpse_is_no_reading() -> None:
    assert vote(looks("...8....99..")) == []
    assert vote([]) == []


def test_frames_that_were_dropped_do_not_join_two_readings() -> None:
    assert len(vote([*looks("555"), *looks("555", start=40)])) == 2


def test_a_reading_belongs_to_the_tile_that_was_there() -> None:
    tiles = [Tile(7, 0, 5), Tile(4, 0, 30), Tile(1, 0, 50), Tile(2, 0, 70)]
    readings = [
        DigitReading("7", 3, 8, 1.0),
        DigitReading("9", 28, 33, 0.6),
        DigitReading("3", 60, 63, 1.0),
        DigitReading("2", 68, 72, 1.0),
    ]
    score = compare(readings, tiles)
    assert [reading and reading.label for _, reading in score.pairs] == ["7", "9", None, "2"]
    assert score.right == 2
    assert [reading.label for reading in score.invented] == ["3"]


def test_reading_one_tile_twice_is_counted() -> None:
    score = compare([DigitReading("5", 0, 9, 1.0), DigitReading("5", 4, 12, 1.0)], [Tile(5, 0, 6)])
    assert score.right == 1
    assert len(score.invented) == 1


def test_events_are_read_as_run_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    line = {"index": 12, "time": 0.48, "results": [{"label": "8", "index": 8, "score": 0.75}]}
    path.write_text(json.dumps(line) + "\n")
    assert read_events(path) == [Look(12, "8", 0.75)]
