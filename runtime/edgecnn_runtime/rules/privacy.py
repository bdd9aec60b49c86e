"""What nobody may see: areas that are blacked out, people who are blurred, texts that are hashed.

Masks are applied by the source, before anything looks at a frame, stores or shows it. Blurring is
for what leaves the box or is stored: models need to see the object. It is applied to events as the
last of all rules, and to frames before they are shown.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Literal

import cv2
import msgspec
import numpy as np
from msgspec.structs import replace

from edgecnn_runtime.geometry import iou
from edgecnn_runtime.model import EVIDENCE_MARGIN, crop_region
from edgecnn_runtime.rules.watchlist import normalize
from edgecnn_runtime.types import Box, Event, Frame, Pixels, Point, Track

BLOCKS = 6
"""A blurred object has so many gray values in each direction: too few to recognize anybody by."""
MARGIN = 0.15
"""What is blurred around a box, as a fraction of its size: detectors cut foreheads off."""
SAME = 0.3
"""Overlap (IoU) of an event's box with that of its own track at least."""
HASH_DIGITS = 16
"""Hexadecimal digits of a hash: 64 bits, so that two texts of one site never share one."""


class Mask:
    """Blacks out areas of a camera's pictures; give it to ``open_source(…, mask=mask)``.

    Attributes:
        areas: Polygons, as fractions of the picture's width and height. They may be replaced at
            any time, from any thread: the next picture is masked with the new ones.
    """

    def __init__(self, areas: Sequence[Sequence[Point]] = ()) -> None:
        self.areas = areas

    def __call__(self, pixels: Pixels) -> Pixels:
        """Black out every area.

        Args:
            pixels: uint8[H,W,3] BGR; written to, where it may be.

        Returns:
            ``pixels``, or a masked copy where they are read-only.
        """
        areas = self.areas
        if not areas:
            return pixels
        if not pixels.flags.writeable:
            pixels = pixels.copy()
        height, width = pixels.shape[:2]
        for area in areas:
            corners = np.floor(np.array(area, np.float64) * (width, height))
            # in whole pixels, whose edge is filled, too: rather a pixel too many than one too few
            corners = np.minimum(corners, (width - 1, height - 1)).astype(np.int32)
            cv2.fillPoly(pixels, [corners], (0, 0, 0))
        return pixels


class PrivacyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of an event may be stored and shown.

    Attributes:
        blur: "unknown" blurs everyone without a name from a gallery or watch list, "all" everyone,
            "none" nobody.
        text: "hash" replaces texts by a keyed hash, by which the same text is found again, but not
            read; images are dropped, because they show it.
        images: "none" stores no picture of any event.
    """

    blur: Literal["none", "unknown", "all"] = "none"
    text: Literal["plain", "hash"] = "plain"
    images: Literal["all", "none"] = "all"


class Privacy:
    """Takes out of events what may not be stored; the last rule of all."""

    def __init__(self, config: PrivacyConfig, key: bytes = b"") -> None:
        """Prepare.

        Args:
            config: What is wanted.
            key: The site's secret, 16 bytes or more where texts are hashed: without it, all plates
                that exist could be hashed to find the one.

        Raises:
            ValueError: Texts are hashed, and the key is shorter.
        """
        if config.text == "hash" and len(key) < 16:
            raise ValueError("a key of 16 bytes or more is needed to hash texts")
        self._config, self._key = config, key

    def __call__(self, event: Event, /) -> Event:
        """The event without what may not be stored."""
        config = self._config
        if event.text and config.text == "hash":
            texts = {"listed", "raw"}
            details = {key: value for key, value in event.details.items() if key not in texts}
            event = replace(
                event, text=hash_text(event.text, self._key), part_scores=(), details=details
            )
        if not event.images:
            return event
        if config.images == "none" or config.text == "hash":
            return replace(event, images={}, boxes=())
        if config.blur == "none":
            return event
        known = bool(event.name) and config.blur == "unknown"
        boxes = [*event.boxes]
        if event.box is not None:
            boxes = [box for box in boxes if box is not _nearest(boxes, event.box)]
            boxes += [] if known else [event.box]
        images = dict(event.images)
        if "frame" in images:
            images["frame"] = blurred(images["frame"], boxes)
        if "crop" in images:
            images["crop"] = self._crop(event, images, known)
        return replace(event, images=images)

    def _crop(self, event: Event, images: Mapping[str, Pixels], known: bool) -> Pixels:
        """Of somebody known, what the blurred frame shows, where others may be beside them."""
        crop = images["crop"]
        if known and event.box is not None and "frame" in images:
            height, width = images["frame"].shape[:2]
            x, y, w, h = crop_region(event.box, width, height, EVIDENCE_MARGIN)
            return images["frame"][y : y + h, x : x + w].copy()
        return blurred(crop, [Box(0, 0, crop.shape[1], crop.shape[0])])


def _nearest(boxes: Sequence[Box], own: Box) -> Box | None:
    """The box of a track among those of all: it is not the very same, if it is cut."""
    nearest = max(boxes, key=lambda box: iou(box, own), default=None)
    return nearest if nearest is not None and iou(nearest, own) >= SAME else None


class FramePrivacy:
    """Says who has to be blurred in the frames of a pipeline that are shown, or stored in clips.

    Used by one thread at a time; events are noted before the frame that they happened in is asked
    for.
    """

    def __init__(self, config: PrivacyConfig) -> None:
        """Nobody is known yet."""
        self._blur = config.blur
        self._known: set[int] = set()

    def note(self, event: Event) -> None:
        """Take notice of an event, as the rules left it: its track may have a name now."""
        if event.name and event.track is not None:
            self._known.add(event.track)

    @property
    def blurs(self) -> bool:
        """Whether it blurs anybody at all."""
        return self._blur != "none"

    def __call__(self, frame: Frame, tracks: Sequence[Track]) -> Frame:
        """A frame as it may be shown: see ``blurred_frame``."""
        return blurred_frame(frame, [*self.hidden(tracks).values()])

    def hidden(self, tracks: Sequence[Track]) -> dict[int, Box]:
        """Whoever has to be blurred, by track.

        Args:
            tracks: As the tracker left them after a frame.
        """
        alive = {track.id: track.box for track in tracks if track.state != "ended"}
        self._known &= alive.keys()
        return {
            number: box
            for number, box in alive.items()
            if self._blur == "all" or (self._blur == "unknown" and number not in self._known)
        }


def blurred_frame(frame: Frame, boxes: Sequence[Box]) -> Frame:
    """A frame as it may be shown.

    Args:
        frame: As it was captured, masked already.
        boxes: Whoever has to be blurred, in its pixels.

    Returns:
        ``frame`` where nobody has to be; otherwise one with pixels of its own.
    """
    if not boxes:
        return frame
    pixels = blurred(frame.pixels, boxes)
    pixels.setflags(write=False)
    return replace(frame, pixels=pixels)


def hash_text(text: str, key: bytes) -> str:
    """A keyed hash of a text, HMAC-SHA256: the same for every spelling that lists take as equal."""
    digest = hmac.new(key, normalize(text).encode(), hashlib.sha256).hexdigest()
    return f"#{digest[:HASH_DIGITS]}"


def blurred(pixels: Pixels, boxes: Sequence[Box], out: Pixels | None = None) -> Pixels:
    """A picture in which nobody in the boxes can be recognized.

    Each box is reduced to BLOCKS × BLOCKS averages, from which nothing finer can be restored, and
    enlarged again.

    Args:
        pixels: uint8[H,W,3] BGR; it stays as it is.
        boxes: In its pixels; what is outside of it is left out.
        out: uint8[H,W,3] to write to; None for a new array.

    Returns:
        ``out``, owned by the caller.
    """
    if out is None:
        out = pixels.copy()
    else:
        np.copyto(out, pixels)
    height, width = out.shape[:2]
    for box in boxes:
        dx, dy = MARGIN * (box.x2 - box.x1), MARGIN * (box.y2 - box.y1)
        x1, y1 = max(0, int(box.x1 - dx)), max(0, int(box.y1 - dy))
        x2, y2 = min(width, int(np.ceil(box.x2 + dx))), min(height, int(np.ceil(box.y2 + dy)))
        if x1 < x2 and y1 < y2:
            area = out[y1:y2, x1:x2]
            blocks = cv2.resize(area, (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA)
            cv2.resize(blocks, (x2 - x1, y2 - y1), dst=area, interpolation=cv2.INTER_LINEAR)
    return out
