"""Modules of the user's own, named on the command line as ``package.module:name``."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def current_folder() -> Iterator[None]:
    """Let imports find the user's own modules, behind everything that is installed."""
    folder = str(Path.cwd())
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
