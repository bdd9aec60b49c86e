"""The log: one line per message on standard error, for people or as JSON, without any password."""

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Collection
from datetime import datetime, timezone
from typing import TextIO

from edgecnn_runtime.daemon.site import LoggingConfig
from edgecnn_runtime.redaction import redact

log = logging.getLogger(__name__)

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; anything else was given as ``extra`` and is a field of the JSON line."""

SYSLOG = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
"""The levels' numbers, which systemd's journal reads from ``<N>``."""


class Redactor(logging.Filter):
    """Replaces passwords in messages: those of addresses by their form, others by their value."""

    def __init__(self) -> None:
        super().__init__()
        self._secrets: tuple[str, ...] = ()

    def learn(self, secrets: Collection[str]) -> None:
        """Replace these values, and those before, wherever they stand in a message.

        Args:
            secrets: Of at least four characters: shorter ones would replace parts of words.
        """
        known = {*self._secrets, *(secret for secret in secrets if len(secret) >= 4)}
        self._secrets = tuple(sorted(known, key=len, reverse=True))

    def filter(self, record: logging.LogRecord) -> bool:
        """Make the message final, without secrets; nothing is held back."""
        record.msg, record.args = self.clean(record.getMessage()), ()
        if record.exc_info:
            text = "".join(traceback.format_exception(*record.exc_info))
            record.exc_text, record.exc_info = self.clean(text), None
        return True

    def clean(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return redact(text) if "://" in text or "=" in text else text


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, and every ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        time = datetime.fromtimestamp(record.created, timezone.utc)
        line = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{key: value for key, value in vars(record).items() if key not in STANDARD},
        }
        if record.exc_text:
            line["traceback"] = record.exc_text
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """One line for people; systemd's journal has the time already and wants the level in front."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__("%(message)s" if journal else "%(asctime)s %(levelname)-7s %(message)s")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record; line breaks in a message do not make more of them.

        A terminal obeys control characters, which may come from outside: they are replaced.
        """
        line = super().format(record)
        text = line if record.exc_text else line.replace("\r", " ").replace("\n", " ")
        text = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)
        return f"<{SYSLOG.get(record.levelno, 3)}>{text}" if self._journal else text


def start_logging(config: LoggingConfig, stream: TextIO | None = None) -> Redactor:
    """Log as the site asks, in place of what was there before; uncaught errors, too.

    Args:
        config: Level and format.
        stream: Where to; standard error without it.

    Returns:
        The filter that every message passes; tell it the secrets.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    redactor = Redactor()
    handler.addFilter(redactor)
    set_logging(config, handler)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    if os.environ.get("GST_DEBUG", "0") not in {"0", "1", "2", "3"}:
        log.warning(
            "GST_DEBUG is set: GStreamer itself writes whole pipelines to standard error, with the "
            "passwords in them; unset it once you have seen what is wrong"
        )
    sys.excepthook = lambda *error: log.critical("a defect", exc_info=error)
    threading.excepthook = lambda args: log.critical(
        "a defect in the thread %s", args.thread and args.thread.name,
        exc_info=args.exc_value or args.exc_type(),
    )  # fmt: skip
    return redactor


def set_logging(config: LoggingConfig, handler: logging.Handler | None = None) -> None:
    """Change level and format of what ``start_logging`` began."""
    root = logging.getLogger()
    journal = "JOURNAL_STREAM" in os.environ
    formatter = JsonFormatter() if config.format == "json" else TextFormatter(journal=journal)
    for each in [handler] if handler else root.handlers:
        each.setFormatter(formatter)
    root.setLevel(config.level.upper())
