"""The second model on crops of tracks: few of them, and the best ones."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from edgecnn_runtime.model import crop_region
from edgecnn_runtime.preprocess import Region
from edgecnn_runtime.stages.crop import CROPS, CropKind, evidence
from edgecnn_runtime.stages.quality import QualityMeter
from edgecnn_runtime.types import Box, Detection, Frame, Observation, Result, Track

IMPROVEMENT = 1.15
"""A crop is an improvement where its quality is this many times the best one that was read."""
COMPARABLE = 0.7
"""A crop may vote beside better ones where its quality is this many times the best one."""


class CropReader(Protocol):
    """What reads the crops: a model, or whatever shares one among cameras."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the model's input, in pixels."""

    def __call__(self, frame: Frame, regions: Sequence[Region], /) -> Sequence[Result]:
        """One result per region, in their order.

        Args:
            frame: The full frame.
            regions: At least one part of it.

        Returns:
            The results; coordinates in them are pixels of the frame.
        """


class _Candidate(NamedTuple):
    """A crop that is worth reading.

    Attributes:
        gain: Its quality over the best one that was read of its track; infinite for the first.
        quality: In the frame that the track was seen in.
        track: Whose it is.
    """

    gain: float
    quality: float
    track: Track


class Recognizer:
    """Reads each track a few times, not each frame; a stage for one camera.

    A track is read when it is new and whenever its crop is clearly better than all before. Crops
    that are as good as those before are read too, to be voted on, but for at most half of the
    track's budget: the other half is kept for the better views to come.
    """

    def __init__(
        self,
        read: CropReader,
        *,
        crop: CropKind = "box",
        margin: float = 0.0,
        per_track: int = 8,
        per_frame: int = 4,
        min_quality: float = 0.02,
        enlarge: Callable[[Frame], Frame | None] | None = None,
    ) -> None:
        """Nothing is read yet.

        Args:
            read: The second model.
            crop: How objects are cut out of the frame.
            margin: What to add around them, as a fraction of their size.
            per_track: Readings of one track at most.
            per_frame: Readings in one frame at most: first those of new tracks, then those that
                improve most.
            min_quality: Crops below this quality are not worth a reading.
            enlarge: Gives the frame of the same moment in a larger stream of the camera, which
                shows the same view; crops are then cut from that. Asked only when a crop is worth
                reading, since it may have to be decoded first; where it gives None, nothing is
                read.
        """
        self._read = read
        self._cut = CROPS[crop].cut
        self._margin = margin
        self._per_track, self._per_frame = per_track, per_frame
        self._min_quality = min_quality
        self._enlarge = enlarge
        self._measure = QualityMeter(*read.size)
        self._readings: dict[int, list[float]] = {}
        """The quality of each reading, by track."""

    def __call__(self, frame: Frame, tracks: Sequence[Track], /) -> list[Observation]:
        """Read the tracks that are worth it in this frame.

        Args:
            frame: The frame that the tracks were seen in.
            tracks: As the tracker left them after this frame.

        Returns:
            One observation per reading; its boxes are in pixels of its own frame, which is the
            enlarged one where there is one.
        """
        for track in tracks:
            if track.state == "ended":
                self._readings.pop(track.id, None)
        candidates = [each for track in tracks if (each := self._candidate(frame, track))]
        candidates.sort(key=lambda candidate: (-candidate.gain, -candidate.quality))
        return self._observe(frame, candidates[: self._per_frame], tracks) if candidates else []

    def reset(self) -> None:
        """Forget every track."""
        self._readings.clear()

    def _candidate(self, frame: Frame, track: Track) -> _Candidate | None:
        readings = self._readings.get(track.id, ())
        if track.state != "confirmed" or len(readings) >= self._per_track:
            return None
        if self._region(frame, track.detection) is None:
            return None
        quality = self._quality(frame, track.detection)
        best = max(readings, default=0.0)
        enough = COMPARABLE if 2 * len(readings) < self._per_track else IMPROVEMENT
        if quality < max(self._min_quality, enough * best):
            return None
        return _Candidate(quality / best if best else math.inf, quality, track)

    def _observe(
        self, small: Frame, candidates: Sequence[_Candidate], tracks: Sequence[Track]
    ) -> list[Observation]:
        frame = small if self._enlarge is None else self._enlarge(small)
        if frame is None:
            return []
        detections = [_scaled(each.track.detection, small, frame) for each in candidates]
        cuts = [self._region(frame, detection) for detection in detections]
        regions = [region for region in cuts if region is not None]
        if len(regions) < len(candidates):  # one has no shape in this frame: it is tiny
            return []
        boxes = scale_boxes([track.box for track in tracks if track.state != "ended"], small, frame)
        observations = []
        for (_, quality, track), detection, result in zip(
            candidates, detections, self._read(frame, regions), strict=True
        ):
            self._readings.setdefault(track.id, []).append(quality)
            observations.append(
                Observation(
                    track=track.id,
                    result=result,
                    quality=quality if frame is small else self._quality(frame, detection),
                    captured=frame.captured,
                    crop=evidence(frame.pixels, detection.box, detection.corners).copy(),
                    frame=frame,
                    box=detection.box,
                    boxes=boxes,
                )
            )
        return observations

    def _region(self, frame: Frame, detection: Detection) -> Region | None:
        height, width = frame.pixels.shape[:2]
        return self._cut(detection, width, height, self._margin)

    def _quality(self, frame: Frame, detection: Detection) -> float:
        height, width = frame.pixels.shape[:2]
        roi = crop_region(detection.box, width, height)
        return self._measure(frame.pixels, roi, detection.points).score


def scale_boxes(boxes: Sequence[Box], frame: Frame, other: Frame) -> tuple[Box, ...]:
    """Boxes of one frame in the pixels of another one that shows the same view.

    Args:
        boxes: In pixels of ``frame``.
        frame: Where they are.
        other: Where they are wanted.
    """
    x, y = _factors(frame, other)
    return tuple(Box(box.x1 * x, box.y1 * y, box.x2 * x, box.y2 * y) for box in boxes)


def _scaled(detection: Detection, frame: Frame, other: Frame) -> Detection:
    """A detection in the pixels of another frame that shows the same view."""
    if other is frame:
        return detection
    x, y = _factors(frame, other)
    points, corners = (
        tuple((px * x, py * y) for px, py in places)
        for places in (detection.points, detection.corners)
    )
    box = scale_boxes([detection.box], frame, other)[0]
    return replace(detection, box=box, points=points, corners=corners)


def _factors(frame: Frame, other: Frame) -> tuple[float, float]:
    (height, width), (other_height, other_width) = frame.pixels.shape[:2], other.pixels.shape[:2]
    return other_width / width, other_height / height
