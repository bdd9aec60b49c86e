"""A file that stands where results are to be written: it is kept, never truncated in silence."""

import logging
from pathlib import Path
from typing import Literal, TypeAlias

from edgecnn_runtime.errors import EdgecnnError

Existing: TypeAlias = Literal["keep", "append", "overwrite"]
"""What becomes of a file from an earlier run: it is kept under another name; continued, where its
kind can be, else kept, too; or lost."""

log = logging.getLogger(__name__)


def set_aside(path: Path, *, empty: str = "") -> None:
    """Rename a file: ``out.csv`` becomes ``out.1.csv``, or the next number that is free.

    A file without results stays where it is, so that a service that is restarted again and again
    leaves no trail of them. So does whatever is not a regular file, such as a pipe.

    Args:
        path: The file, which need not exist.
        empty: What a file of this kind contains that has no results.

    Raises:
        EdgecnnError: It cannot be renamed.
    """
    try:
        if not path.is_file() or _holds_only(path, empty):
            return
        number = 1
        while (target := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
            number += 1
        path.rename(target)
    except OSError as error:
        raise EdgecnnError(f"cannot rename {path}, which exists: {error.strerror}") from None
    log.warning("%s existed, and is kept as %s", path, target.name)


def _holds_only(path: Path, empty: str) -> bool:
    content = empty.encode()
    return path.stat().st_size in {0, len(content)} and path.read_bytes() in {b"", content}
