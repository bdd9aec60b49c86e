"""What happens to tracks → events, with the pictures that show it."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from msgspec.structs import replace

from edgecnn_runtime.event_id import event_id
from edgecnn_runtime.rules.happenings import Happening
from edgecnn_runtime.selection.candidates import Choice
from edgecnn_runtime.sinks.serialize import wall_time
from edgecnn_runtime.stages.crop import evidence
from edgecnn_runtime.types import Box, Decision, Event, Frame, Pixels, Track

NO_PIXELS: Pixels = np.empty((0, 0, 3), np.uint8)


class ModelIdentity(Protocol):
    """What an event says of a model."""

    @property
    def digest(self) -> str:
        """The sha256 of its bundle."""

    @property
    def choice(self) -> Choice:
        """What it runs on."""


class EventMaker:
    """Makes the events of one camera, in ascending order of their ids.

    Attributes:
        camera: Its name.
    """

    def __init__(
        self, camera: str, first: ModelIdentity, second: ModelIdentity | None = None
    ) -> None:
        """Make nothing yet.

        Args:
            camera: The camera's name.
            first: The model that looks at every frame.
            second: The model that looks at crops; None without one.
        """
        self.camera = camera
        self._first, self._second = first, second
        self._last_id = ""

    def make(
        self,
        frame: Frame,
        happening: Happening,
        decision: Decision | None,
        tracks: Sequence[Track],
    ) -> Event:
        """The event of a happening.

        Args:
            frame: The frame after which it was noticed.
            happening: What happened.
            decision: What the track was recognized as; None where it was not, or not yet.
            tracks: Every track as it stands after the frame.
        """
        track, view = happening.track, _view(frame, happening, decision, tracks)
        height, width = view.size
        box = _clip(view.box, width, height)
        of_whole_frame = decision is not None and self._second is None
        model = self._first if decision is None or self._second is None else self._second
        details: dict[str, Any] = {}
        if decision is not None:
            details = {"votes": decision.votes, **decision.details}
        if happening.travel:
            details["travel"] = happening.travel
        if frame.file:
            details["file"] = frame.file
        self._last_id = event_id(after=self._last_id)
        return Event(
            id=self._last_id,
            type=happening.type,
            camera=self.camera,
            time=round(wall_time(view.moment), 3),
            age=time.monotonic() - view.moment if frame.live else None,
            track=track.id,
            label="" if of_whole_frame else track.detection.label,
            text="" if decision is None else decision.text,
            score=track.detection.score if decision is None else decision.score,
            part_scores=() if decision is None else decision.part_scores,
            box=box,
            relative_box=Box(box.x1 / width, box.y1 / height, box.x2 / width, box.y2 / height),
            zone=happening.zone,
            line=happening.line,
            direction=happening.direction,
            seconds=track.last - track.first,
            model=model.digest,
            choice=str(model.choice.candidate),
            images=view.images,
            boxes=view.boxes,
            details=details,
        )


def without_pixels(decision: Decision) -> Decision:
    """A decision on a track that may stay for hours, without holding the frame that shows it."""
    best = decision.best
    if not best.crop.size:
        return decision
    frame = replace(best.frame, pixels=NO_PIXELS)
    return replace(decision, best=replace(best, crop=NO_PIXELS, frame=frame))


class _View(NamedTuple):
    """What shows that something happened: when, where, and pictures of it.

    Attributes:
        moment: When it was taken, on the monotonic clock.
        size: Height and width of the frame.
        box: In the frame.
        images: As in ``Event``.
        boxes: As in ``Event``.
    """

    moment: float
    size: tuple[int, ...]
    box: Box
    images: Mapping[str, Pixels]
    boxes: tuple[Box, ...]


def _view(
    frame: Frame, happening: Happening, decision: Decision | None, tracks: Sequence[Track]
) -> _View:
    track, size = happening.track, frame.pixels.shape[:2]
    if track.state == "ended" and happening.type == "left":  # it is not in this frame any more
        return _View(track.last, size, track.detection.box, {}, ())
    if happening.type == "recognized" and decision is not None:
        best = decision.best
        images = {"crop": best.crop, "frame": best.frame.pixels}
        return _View(best.captured, best.frame.pixels.shape[:2], best.box, images, best.boxes)
    corners = track.detection.corners if track.last == frame.captured else ()
    images = {"crop": evidence(frame.pixels, track.box, corners), "frame": frame.pixels}
    boxes = tuple(each.box for each in tracks if each.state != "ended")
    return _View(frame.captured, size, track.box, images, boxes)


def _clip(box: Box, width: int, height: int) -> Box:
    """The part of a box that is in the frame."""
    x1, x2 = (min(max(x, 0.0), float(width)) for x in (box.x1, box.x2))
    y1, y2 = (min(max(y, 0.0), float(height)) for y in (box.y1, box.y2))
    return Box(x1, y1, x2, y2)
