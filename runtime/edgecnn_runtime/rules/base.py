"""The seam of rules: which events pass, and what is added to them."""

from typing import Protocol

from edgecnn_runtime.types import Event


class Rule(Protocol):
    """Lets an event pass, completes it, or drops it."""

    def __call__(self, event: Event, /) -> Event | None:
        """The event, perhaps with more in it (``msgspec.structs.replace``), or None to drop it."""
