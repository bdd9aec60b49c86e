"""``edgecnn events`` as it is typed."""

import csv
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgecnn.cli import main
from edgecnn_runtime.outbox import Outbox
from edgecnn_runtime.types import Event

Captured = pytest.CaptureFixture[str]
CROP = np.full((24, 94, 3), 200, np.uint8)


@pytest.fixture
def state(tmp_path: Path, make_event: Callable[..., Event]) -> Path:
    """Six events of the last hours, by two cameras; the odd ones have a crop."""
    folder = tmp_path / "events"
    now = time.time()
    with Outbox(folder) as outbox:
        for number in range(6):
            event = make_event(
                number, time=now - 3600 * (5.5 - number), camera="yard" if number % 2 else "gate",
                type="left" if number > 3 else "recognized", text=f"AB {number}", score=0.93,
                images={"crop": CROP} if number % 2 else {},
            )  # fmt: skip
            outbox.append([event])
    return folder


def numbers(text: str) -> list[int]:
    """Of the events of JSON lines."""
    return [int(json.loads(line)["id"], 16) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["list", "--json"], [5, 4, 3, 2, 1, 0]),
        (["list", "--json", "--limit", "2"], [5, 4]),
        (["export"], [0, 1, 2, 3, 4, 5]),
        (["export", "--limit", "2"], [0, 1]),
        (["export", "--camera", "yard"], [1, 3, 5]),
        (["export", "--type", "left"], [4, 5]),
        (["export", "--text", "b 3"], [3]),
        (["export", "--since", "3h"], [3, 4, 5]),
        (["export", "--until", "180m", "--camera", "gate"], [0, 2]),
        (["export", "--since", "2020-01-01", "--until", "2020-01-02T08:30"], []),
        (["export", "--until", "2020-01-02T08:30:00Z"], []),
    ],
)
def test_it_prints_what_is_asked_for(
    state: Path, capsys: Captured, words: list[str], expected: list[int]
) -> None:
    assert main(["events", *words, "--state", str(state)]) == 0
    assert numbers(capsys.readouterr().out) == expected


def test_a_person_gets_a_table(state: Path, capsys: Captured) -> None:
    assert main(["events", "list", "--state", str(state), "--camera", "yard"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if "yard" in line]
    assert [("AB" in row, "93 %" in row) for row in rows] == [(True, True)] * 3
    assert "AB 5" in rows[0]
    assert main(["events", "list", "--state", str(state), "--camera", "roof"]) == 0
    assert capsys.readouterr().out == "no events\n"


def test_a_table_for_programs(state: Path, capsys: Captured) -> None:
    assert main(["events", "export", "--csv", "--state", str(state)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["text"] for row in rows] == [f"AB {number}" for number in range(6)]


def test_crops_are_copied(state: Path, tmp_path: Path, capsys: Captured) -> None:
    folder = tmp_path / "crops"
    assert main(["events", "export", "--state", str(state), "--crops", str(folder)]) == 0
    captured = capsys.readouterr()
    assert len(numbers(captured.out)) == 6
    assert captured.err == f"3 crops are in {folder}\n"
    files = list(folder.rglob("*.jpg"))
    assert len(files) == 3
    assert all(file.parts[-3] == "yard" and "AB_" in file.name for file in files)


def test_more_than_a_page_is_exported(
    tmp_path: Path, make_event: Callable[..., Event], capsys: Captured
) -> None:
    with Outbox(tmp_path / "many") as outbox:
        outbox.append([make_event(number) for number in range(1203)])
    assert main(["events", "export", "--state", str(tmp_path / "many")]) == 0
    assert numbers(capsys.readouterr().out) == list(range(1203))
    assert main(["events", "list", "--json", "--state", str(tmp_path / "many")]) == 0
    assert numbers(capsys.readouterr().out) == list(range(1153, 1203))[::-1]


def test_it_reads_beside_the_daemon(
    tmp_path: Path, make_event: Callable[..., Event], capsys: Captured
) -> None:
    with Outbox(tmp_path / "open") as outbox:
        outbox.append([make_event(1)])
        assert main(["events", "export", "--state", str(tmp_path / "open")]) == 0
        assert numbers(capsys.readouterr().out) == [1]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["list", "--type", "lef"], 2, "did you mean left"),
        (["list", "--since", "yesterday"], 2, "--since yesterday: type 2026"),
        (["list", "--since", "9" * 40], 2, "--since"),
        (["list", "--limit", "0"], 2, "1 or more"),
        (["export", "--limit", "9" * 30], 2, "1 or more"),
        (["list", "--json", "--csv"], 2, "one of them"),
        (["list", "--state", "absent"], 1, "absent: there are no events"),
    ],
)
def test_what_cannot_be_is_said(
    state: Path, capsys: Captured, words: list[str], code: int, message: str
) -> None:
    words = ["--state", str(state), *words] if "--state" not in words else words
    assert main(["events", *words]) == code
    captured = capsys.readouterr()
    assert message in captured.err + captured.out
