"""Log lines: readable, one each, and without secrets."""

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Literal

import pytest

from edgecnn_runtime.daemon.logs import start_logging
from edgecnn_runtime.daemon.site import LoggingConfig


@pytest.fixture(autouse=True)
def root_logger(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    yield
    root.handlers[:], root.level = handlers, level


def test_a_json_line_has_its_fields() -> None:
    out = io.StringIO()
    start_logging(LoggingConfig(format="json"), out)
    logging.getLogger("edgecnn_runtime.x").warning("gate: %s", "lost", extra={"camera": "gate"})
    line = json.loads(out.getvalue())
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning",
        "logger": "edgecnn_runtime.x",
        "message": "gate: lost",
        "camera": "gate",
    }


@pytest.mark.parametrize("format_", ["text", "json"])
def test_no_line_shows_a_password(format_: Literal["text", "json"]) -> None:
    out = io.StringIO()
    redactor = start_logging(LoggingConfig(format=format_), out)
    redactor.learn(["geheim77", "abc"])
    log = logging.getLogger("x")
    log.error("cannot open rtsp://admin:hunter2@cam/1: %s", "token=hunter2")
    log.error("the word %s alone", "geheim77")
    log.info("abc stays: too short to be replaced")
    try:
        raise ValueError("geheim77 in rtsp://a:hunter2@b/")
    except ValueError:
        log.exception("a defect")
    text = out.getvalue()
    assert "hunter2" not in text
    assert "geheim77" not in text
    assert text.count("***") == 5
    assert "abc stays" in text
    assert "ValueError" in text, "the traceback of a defect is logged"


def test_a_message_is_one_line() -> None:
    out = io.StringIO()
    start_logging(LoggingConfig(), out)
    logging.getLogger("x").info("a\nERROR forged\r\nb")
    assert len(out.getvalue().splitlines()) == 1


def test_no_message_has_a_word_for_the_terminal() -> None:
    out = io.StringIO()
    start_logging(LoggingConfig(), out)
    logging.getLogger("x").info("camera \x1b]0;title\x07 \x9b2J Köln 東京")
    assert "Köln 東京" in out.getvalue()
    assert out.getvalue().removesuffix("\n").isprintable()


def test_the_journal_gets_the_level_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1234")
    out = io.StringIO()
    start_logging(LoggingConfig(level="warning"), out)
    logging.getLogger("x").info("not shown")
    logging.getLogger("x").warning("careful")
    assert out.getvalue() == "<4>careful\n"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_in_a_thread_is_logged_without_secrets() -> None:
    out = io.StringIO()
    start_logging(LoggingConfig(format="json"), out).learn(["geheim77"])

    def fail() -> None:
        raise ValueError("geheim77")

    thread = threading.Thread(target=fail, name="worker")
    thread.start()
    thread.join()
    line = json.loads(out.getvalue())
    assert line["message"] == "a defect in the thread worker"
    assert "ValueError: ***" in line["traceback"]


@pytest.mark.parametrize(("level", "warns"), [("", False), ("2", False), ("rtspsrc:5", True)])
def test_whoever_lets_gstreamer_write_passwords_is_warned(
    monkeypatch: pytest.MonkeyPatch, level: str, warns: bool
) -> None:
    """Its debug output goes to standard error past every filter of ours."""
    monkeypatch.setenv("GST_DEBUG", level)
    if not level:
        monkeypatch.delenv("GST_DEBUG")
    out = io.StringIO()
    start_logging(LoggingConfig(), out)
    assert ("GST_DEBUG is set" in out.getvalue()) == warns
