"""Pipelines that ship: a name instead of a file."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from edgecnn_runtime.errors import UsageError

SHIPPED: Mapping[str, Path] = {
    "plates": Path(__file__).parent / "plates" / "plates.yaml",
}
"""Name → pipeline; its bundles and other files lie beside it."""
PARTS = ("*.yaml", "*.edge")
"""What belongs to a pipeline, of all that lies in its folder."""


def find_shipped(name: str) -> Path | None:
    """The pipeline of a name; None for a name of none, or of a file that is there.

    Args:
        name: As it was typed.

    Raises:
        UsageError: Its bundles have not been made.
    """
    path = SHIPPED.get(name)
    if path is None or Path(name).exists():
        return None
    if not any(path.parent.glob("*.edge")):
        raise UsageError(
            f"{name}: its bundles are not here: in a checkout `python -m edgecnn.{name}` makes "
            "them from the checkpoints, which takes some minutes and the extras export and train; "
            "the wheel that `make dist` then writes has them"
        )
    return path


def copy_shipped(name: str, folder: Path) -> Path:
    """Copy a pipeline with everything that belongs to it.

    Args:
        name: Of the pipeline.
        folder: Where to; it is made, and there is nothing in it.

    Returns:
        The copy's YAML file.

    Raises:
        UsageError: There is no such pipeline, or the folder is not empty or cannot be written.
    """
    if (path := find_shipped(name)) is None:
        raise UsageError(f"there is no pipeline {name!r} that ships: {', '.join(SHIPPED)}")
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty: name another folder")
        folder.mkdir(parents=True, exist_ok=True)
        for part in sorted(file for pattern in PARTS for file in path.parent.glob(pattern)):
            if part.is_dir():
                shutil.copytree(part, folder / part.name)
            else:
                shutil.copy(part, folder)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror}") from None
    return folder / path.name
