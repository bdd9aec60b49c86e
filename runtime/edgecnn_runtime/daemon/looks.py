"""What all pipelines of a camera saw at a moment, so that its pictures are blurred by all of them.

Two pipelines look at different frames. A picture that one of them shows or stores waits until each
other one has looked at it or at a later one; whoever was seen in between is hidden where it may
have been.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

from msgspec.structs import replace

from edgecnn_runtime.types import Box, Event, Frame, Track

SAME_MOMENT = 0.05
"""Seconds between two frames that show the same: a frame or two of most cameras."""
SPEED = 10.0
"""An object moves by at most so many times its own size in a second: a face, when somebody runs."""
MEMORY = 60.0
"""Seconds that are remembered: an event shows the best moment of a track, which may be past."""
ROUNDING = 0.001
"""Seconds by which two times of the same frame may differ: that of an event has three digits."""


class Look(NamedTuple):
    """What a pipeline saw in one frame.

    Attributes:
        captured: When the frame was taken, on the monotonic clock.
        boxes: Whoever is to be hidden, by track: as fractions of the frame's width and height.
    """

    captured: float
    boxes: Mapping[int, Box]


class CameraLooks:
    """The last looks of each pipeline of a camera; every method may be called from any thread."""

    def __init__(self, pipelines: int, patience: float = 1.0, *, gap: float = 1.0) -> None:
        """Nothing was seen yet.

        Args:
            pipelines: How many there are.
            patience: Seconds that one waits for the others at most.
            gap: Seconds between a moment and a pipeline's nearest look beyond which nobody knows
                what it would have seen.
        """
        self._patience, self._gap = patience, gap
        self._looks = [deque[Look]() for _ in range(pipelines)]
        self._absent: set[int] = set()
        """Those that were waited for in vain since their last look."""
        self._changed = threading.Condition()
        self._closed = False

    def add(self, pipeline: int, look: Look) -> None:
        """A pipeline has looked at a frame, newer than those before."""
        with self._changed:
            looks = self._looks[pipeline]
            looks.append(look)
            self._absent.discard(pipeline)
            while looks[0].captured < look.captured - MEMORY:
                looks.popleft()
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def others(self, pipeline: int, captured: float) -> list[Box] | None:
        """Where whoever the other pipelines saw was at a moment, perhaps; waits until they looked.

        Args:
            pipeline: The one that asks.
            captured: The moment, on the monotonic clock.

        Returns:
            Boxes as fractions of the frame; None where another pipeline has not looked in time, did
            not look around that moment, or what it saw is forgotten. A pipeline that was waited for
            in vain is not waited for again until it looks.
        """
        least = captured - SAME_MOMENT
        with self._changed:
            others = {n: looks for n, looks in enumerate(self._looks) if n != pipeline}

            def behind() -> set[int]:
                return {n for n, looks in others.items() if not looks or looks[-1].captured < least}

            def is_decided() -> bool:
                late = behind()
                return self._closed or not late or not late.isdisjoint(self._absent)

            if not self._changed.wait_for(is_decided, self._patience):
                self._absent |= behind()
            if self._closed or behind():
                return None
            if not all(self._knows(looks, captured) for looks in others.values()):
                return None
            return [box for looks in others.values() for box in _boxes_at(looks, captured)]

    def _knows(self, looks: deque[Look], captured: float) -> bool:
        """Whether a pipeline looked around a moment, and what it saw is remembered."""
        nearest = min(abs(look.captured - captured) for look in looks)
        return nearest <= self._gap and looks[-1].captured - MEMORY <= captured


@dataclass(frozen=True)
class Neighbors:
    """The other pipelines of a camera, as one of them sees them.

    Attributes:
        looks: Of the camera.
        pipeline: Which one this is.
    """

    looks: CameraLooks
    pipeline: int

    def tell(
        self,
        hidden: Callable[[Sequence[Track]], Mapping[int, Box]],
        frame: Frame,
        tracks: Sequence[Track],
    ) -> None:
        """This pipeline has looked at a frame.

        Args:
            hidden: Whoever of these tracks is to be hidden, in pixels of the frame.
            frame: The frame.
            tracks: Every track as it stands after the frame.
        """
        height, width = frame.pixels.shape[:2]
        boxes = {each: scaled(box, 1 / width, 1 / height) for each, box in hidden(tracks).items()}
        self.looks.add(self.pipeline, Look(frame.captured, boxes))

    def boxes(self, frame: Frame) -> list[Box] | None:
        """Whoever the others want hidden in a frame, in its pixels; see ``CameraLooks.others``."""
        others = self.looks.others(self.pipeline, frame.captured)
        height, width = frame.pixels.shape[:2]
        return None if others is None else [scaled(each, width, height) for each in others]

    def complete(self, event: Event, /) -> Event:
        """A rule before that of privacy: boxes of the others, too, are hidden in what is stored.

        Returns:
            The event with more boxes, or without a frame where nobody knows what that shows.
        """
        if "frame" not in event.images:
            return event
        captured = time.monotonic() - (time.time() - event.time)
        others = self.looks.others(self.pipeline, captured)
        if others is None:
            images = {name: each for name, each in event.images.items() if name != "frame"}
            return replace(event, images=images)
        height, width = event.images["frame"].shape[:2]
        boxes = [scaled(each, width, height) for each in others]
        return replace(event, boxes=(*event.boxes, *boxes))


def scaled(box: Box, width: float, height: float) -> Box:
    """A box as many times as wide and as high."""
    return Box(box.x1 * width, box.y1 * height, box.x2 * width, box.y2 * height)


def _boxes_at(looks: deque[Look], captured: float) -> Iterator[Box]:
    """Where a pipeline's objects may have been, by its looks before and after a moment."""
    later = list(takewhile(lambda look: look.captured > captured + ROUNDING, reversed(looks)))
    before = looks[-1 - len(later)] if len(later) < len(looks) else None
    if before is not None and before.captured >= captured - ROUNDING:
        yield from before.boxes.values()
        return
    after = later[-1] if later else None
    for look, other in ((before, after), (after, before)):
        if look is None:
            continue
        for track, box in look.boxes.items():
            if other is None or track not in other.boxes:
                yield _grown(box, SPEED * abs(captured - look.captured))
            elif look is before:
                yield _hull(box, other.boxes[track])


def _hull(one: Box, other: Box) -> Box:
    return Box(
        min(one.x1, other.x1), min(one.y1, other.y1), max(one.x2, other.x2), max(one.y2, other.y2)
    )


def _grown(box: Box, sizes: float) -> Box:
    """A box that has grown by so many times its size on every side."""
    dx, dy = sizes * (box.x2 - box.x1), sizes * (box.y2 - box.y1)
    return Box(box.x1 - dx, box.y1 - dy, box.x2 + dx, box.y2 + dy)
