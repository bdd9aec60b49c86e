"""The crops of events in a folder, for a run that has no outbox."""

import os
from pathlib import Path

from msgspec.structs import replace

from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.sinks.snapshot import replace_picture
from edgecnn_runtime.types import Event


class CropFolder:
    """Writes ``ID-crop.jpg`` for each event that shows something; may be shared by threads.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        """Make the folder, where there is none.

        Raises:
            UsageError: It cannot be made or written.
        """
        self.path = path
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make the folder {path}: {error.strerror}") from None
        if not os.access(path, os.W_OK | os.X_OK):
            raise UsageError(f"{path}: this user (uid {os.getuid()}) may not write it")

    def store(self, event: Event) -> Event:
        """Write the crop of an event; an event without one stays as it is.

        Returns:
            The event, with the path of the file as its evidence.

        Raises:
            EdgecnnError: It cannot be written.
        """
        crop = event.images.get("crop")
        if crop is None or not crop.size:
            return event
        path = self.path / f"{event.id}-crop.jpg"
        replace_picture(path, crop)
        name = str(path).encode("utf-8", "backslashreplace").decode()  # as pictures are named
        return replace(event, evidence={**event.evidence, "crop": name})
