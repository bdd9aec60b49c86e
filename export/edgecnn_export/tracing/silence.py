"""Keep the output of noisy libraries off the terminal."""

import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

NOISY_LOGGERS = ("torch", "onnxscript", "onnx_ir")


@contextmanager
def silence() -> Iterator[None]:
    """Drop what this thread prints, and the libraries' warnings and log lines.

    Exceptions pass, and so does the output of other threads: a progress display goes on.
    """
    loggers = [logging.getLogger(name) for name in NOISY_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            redirect_stdout(_Others(sys.stdout)),
            redirect_stderr(_Others(sys.stderr)),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _Others:
    """A stream that drops what the thread that created it writes."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._muted = threading.get_ident()

    def write(self, text: str) -> int:
        """Pass the text on, unless the muted thread wrote it."""
        if threading.get_ident() == self._muted:
            return len(text)
        return int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
