"""A tracker without motion: a box continues the track of its class that it overlaps most.

It ships with the package so that what uses trackers can be tested with one more, and shows what a
motion model is good for.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import msgspec

from edgecnn_runtime.geometry import iou
from edgecnn_runtime.track.tracker import Size, TrackerKind
from edgecnn_runtime.types import Detection, Track, TrackState


class Overlap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the fake.

    Attributes:
        max_gap: Seconds after which a track that was not seen has ended.
        least: The intersection over union that two boxes of an object have at least.
    """

    max_gap: Annotated[float, msgspec.Meta(gt=0.0)] = 1.5
    least: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.3


class OverlapTracker:
    """Follows objects that overlap their last box; every detection is believed."""

    def __init__(self, settings: Overlap | None = None) -> None:
        """Settings default to ``Overlap()``."""
        self._settings = settings or Overlap()
        self._tracks: list[Track] = []
        self._last_id = 0
        self._at = -math.inf

    def update(
        self, detections: Sequence[Detection], at: float, _size: Size | None = None, /
    ) -> Sequence[Track]:
        """See ``Tracker``."""
        if not math.isfinite(at):
            raise ValueError(f"the time of a frame is a finite number of seconds, not {at}")
        if at < self._at - self._settings.max_gap:
            ended = [_with_state(track, "ended") for track in self._tracks]
            self.reset()
            return [*ended, *self.update(detections, at)]
        if at < self._at:
            return self._tracks
        self._at = at
        rest = {track.id: track for track in self._tracks}
        tracks = []
        for detection in sorted(detections, key=lambda each: -each.score):
            before = max(rest.values(), key=lambda track: self._fit(track, detection), default=None)
            if before is None or self._fit(before, detection) < self._settings.least:
                tracks.append(self._begin(detection))
            else:
                tracks.append(self._continue(rest.pop(before.id), detection))
        tracks += [_with_state(track, self._unseen(track)) for track in rest.values()]
        tracks.sort(key=lambda track: track.id)
        self._tracks = [track for track in tracks if track.state != "ended"]
        return tracks

    def reset(self) -> None:
        """See ``Tracker``."""
        self._tracks, self._at = [], -math.inf

    def _fit(self, track: Track, detection: Detection) -> float:
        same = track.detection.index == detection.index
        return iou(track.box, detection.box) if same else -1.0

    def _begin(self, detection: Detection) -> Track:
        self._last_id += 1
        box, at = detection.box, self._at
        return Track(self._last_id, "confirmed", detection, box, (0.0, 0.0), at, at, 1)

    def _continue(self, track: Track, detection: Detection) -> Track:
        return msgspec.structs.replace(
            track,
            state="confirmed",
            detection=detection,
            box=detection.box,
            last=self._at,
            hits=track.hits + 1,
        )

    def _unseen(self, track: Track) -> TrackState:
        return "ended" if self._at - track.last > self._settings.max_gap else "lost"


def _with_state(track: Track, state: TrackState) -> Track:
    return msgspec.structs.replace(track, state=state)


KIND = TrackerKind(Overlap, OverlapTracker)
