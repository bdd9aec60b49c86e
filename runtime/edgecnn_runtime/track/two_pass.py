"""The tracker that is used unless another one is named: confident boxes, then doubtful ones.

That doubtful boxes continue tracks and begin none is ByteTrack's idea (Zhang et al., 2022,
arXiv:2110.06864). Its overlaps between boxes are replaced by the likelihoods of a Kalman filter in
seconds: when frames are dropped, the boxes of an object no longer overlap, and a limit that counts
frames means something else.
"""

import logging
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.geometry import is_box
from edgecnn_runtime.track.kalman import BOX_NOISE, BoxFilter, Doubles
from edgecnn_runtime.track.tracker import Size, TrackerKind
from edgecnn_runtime.types import Box, Detection, Track, TrackState

log = logging.getLogger(__name__)

GATE = 25.0
"""Cost up to which a confident box may belong to a track. Where an object was seen a moment ago its
doubt is about 3, and 1 in 5,000 of its boxes lies farther away."""
MOST_DOUBT = 18.0
"""However long an object was not seen, a box where it is expected may be it: at one frame a second
no more is known of it."""
DOUBTFUL_GATE = 15.0
"""GATE of doubtful boxes."""
DOUBTFUL_NOISE = 1.5
"""A doubtful box is that many times as inaccurate as a confident one: it is often half hidden."""
DOUBTFUL_HANDICAP = 3.0
"""By how much a doubtful box must cost less than a confident one to be preferred to it. In two
passes that are strictly apart, the confident box of a neighbor takes the track of whoever is half
hidden: a fifth more identity switches in the crowds of bench/experiments/tracking.py."""
LOST_HANDICAP = 2.0
"""By how much a lost track must cost less than one that was seen in the last frame to be preferred
to it: who is hidden stays hidden for a while, and who was seen is rarely missed."""

MARGIN = 0.1
"""A track has left where its center is expected outside of the picture by so much of its size."""

Score = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class TwoPass(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the two-pass tracker.

    Attributes:
        max_gap: Seconds that an object may be hidden and still be the same; a track that was not
            seen for longer has ended.
        confident: A detection of at least this score may begin a track.
        doubtful: One of at least this score continues a track that no confident one continues;
            what is below is ignored.
        confirm: How many detections a track needs until it is believed.
        by_class: Whether a track keeps its class; false where the detector wavers between classes.
    """

    max_gap: Annotated[float, msgspec.Meta(gt=0.0, le=3600.0)] = 1.5
    confident: Score = 0.5
    doubtful: Score = 0.1
    confirm: Annotated[int, msgspec.Meta(ge=1, le=100)] = 2
    by_class: bool = True


class _Entry(msgspec.Struct):
    """What is known of a track besides its motion."""

    id: int
    detection: Detection
    first: float
    last: float
    hits: int = 1
    outside: bool = False


class _Boxes:
    """The detections of one frame that can be used, as arrays."""

    def __init__(
        self, detections: Sequence[Detection], settings: TwoPass, size: Size | None
    ) -> None:
        least = settings.doubtful
        self.detections = [each for each in detections if each.score >= least and is_box(each.box)]
        rows = [(*each.box, each.score, each.index) for each in self.detections]
        values = np.array(rows, np.float64).reshape(-1, 6)
        self.sure = values[:, 4] >= settings.confident
        self.classes = values[:, 5]
        sides = values[:, 2:4] - values[:, :2]
        self.boxes = np.concatenate((values[:, :2] + sides / 2, sides), axis=1)
        self.outside = _outside(self.boxes, size)
        self.gates = np.where(self.sure, GATE, DOUBTFUL_GATE)
        self.handicaps = np.where(self.sure, 0.0, DOUBTFUL_HANDICAP)
        factors = np.where(self.sure, BOX_NOISE, BOX_NOISE * DOUBTFUL_NOISE)
        self.noise = (factors * np.sqrt(sides[:, 0] * sides[:, 1]))[:, None]


class TwoPassTracker:
    """Follows objects by where a Kalman filter expects them."""

    def __init__(self, settings: TwoPass | None = None) -> None:
        """Settings default to ``TwoPass()``."""
        self._settings = settings or TwoPass()
        self._filter = BoxFilter()
        self._entries: list[_Entry] = []
        self._last_id = 0
        self._before = self._at = -math.inf

    def update(
        self, detections: Sequence[Detection], at: float, size: Size | None = None, /
    ) -> Sequence[Track]:
        """Take the detections of one frame.

        Args:
            detections: Of every score that the detector reports, doubtful ones too. Boxes that are
                empty or not finite are ignored.
            at: When the frame was taken, in seconds. A frame that is older than the one before it
                is ignored, since it does not show how things stand now. If it is older by more
                than ``max_gap``, the clock was set back, and every track ends.
            size: Width and height of the frame in pixels. A track that is lost ends where its
                center is expected outside; without it, it waits for ``max_gap`` like any other,
                and may be taken for what comes in there.

        Returns:
            Every track that is alive, and those that ended just now, in the order of their ids.

        Raises:
            ValueError: ``at`` is not finite.
        """
        if not math.isfinite(at):
            raise ValueError(f"the time of a frame is a finite number of seconds, not {at}")
        if at < self._at - self._settings.max_gap:
            log.warning("the time of frames went back by %.1f s: every track ends", self._at - at)
            ended = self._tracks(lambda _: "ended")
            self.reset()
            return [*ended, *self.update(detections, at)]
        if at < self._at:
            log.debug("ignored a frame that is %.3f s older than the last one", self._at - at)
            return self._tracks(self._state)
        if self._entries:
            self._filter.predict(at - self._at)
        self._before, self._at = self._at, at
        self._mark_outside(size)
        found = _Boxes(detections, self._settings, size)
        pairs = self._match(found)
        self._continue(pairs, found)
        self._begin(pairs, found)
        tracks = self._tracks(self._state)
        alive = [row for row, track in enumerate(tracks) if track.state != "ended"]
        if len(alive) < len(tracks):
            self._filter.keep(alive)
            self._entries = [self._entries[row] for row in alive]
        return tracks

    def reset(self) -> None:
        """Forget everything: the camera was reconnected. Ids go on from where they were."""
        self._filter = BoxFilter()
        self._entries = []
        self._at = -math.inf

    def _mark_outside(self, size: Size | None) -> None:
        """Which tracks are expected clearly outside of the picture."""
        outside = _outside(self._filter.position, size, MARGIN)
        for entry, left in zip(self._entries, outside.tolist(), strict=True):
            entry.outside = left

    def _match(self, found: _Boxes) -> dict[int, int]:
        """Rows of tracks to columns of boxes, the likeliest pair first, each used once."""
        if not self._entries or not found.detections:
            return {}
        squared, doubt = self._filter.costs(found.boxes, found.noise)
        allowed = squared + np.minimum(doubt, MOST_DOUBT) < found.gates
        allowed &= found.outside | self._column(lambda entry: not entry.outside)
        allowed &= found.sure | self._column(lambda entry: entry.hits >= self._settings.confirm)
        if self._settings.by_class:
            allowed &= self._column(lambda entry: entry.detection.index) == found.classes
        lost = self._column(lambda entry: entry.last < self._before)
        costs = squared + doubt + found.handicaps + LOST_HANDICAP * lost
        rows, columns = allowed.nonzero()
        order = np.argsort(costs[rows, columns], kind="stable")
        pairs: dict[int, int] = {}
        taken: set[int] = set()
        for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
            if row not in pairs and column not in taken:
                pairs[row] = column
                taken.add(column)
        return pairs

    def _column(self, value: Callable[[_Entry], float]) -> NDArray[Any]:
        """Something of each track, [N,1]."""
        return np.array([[value(entry)] for entry in self._entries])

    def _continue(self, pairs: dict[int, int], found: _Boxes) -> None:
        if not pairs:
            return
        columns = list(pairs.values())
        self._filter.update(list(pairs), found.boxes[columns], found.noise[columns])
        for row, column in pairs.items():
            entry = self._entries[row]
            entry.detection = found.detections[column]
            entry.last = self._at
            entry.hits += 1

    def _begin(self, pairs: dict[int, int], found: _Boxes) -> None:
        taken = set(pairs.values())
        new = [column for column in found.sure.nonzero()[0].tolist() if column not in taken]
        if not new:
            return
        self._filter.add(found.boxes[new])
        for column in new:
            self._last_id += 1
            detection = found.detections[column]
            self._entries.append(_Entry(self._last_id, detection, self._at, self._at))

    def _state(self, entry: _Entry) -> TrackState:
        unseen = self._at - entry.last
        if entry.outside and unseen > 0:
            return "ended"
        if entry.hits < self._settings.confirm:
            return "ended" if unseen > self._settings.max_gap / 3 else "tentative"
        if unseen > self._settings.max_gap:
            return "ended"
        return "lost" if unseen > 0 else "confirmed"

    def _tracks(self, state: Callable[[_Entry], TrackState]) -> list[Track]:
        centers, sides = self._filter.position[:, :2], self._filter.position[:, 2:]
        corners = np.concatenate((centers - sides / 2, centers + sides / 2), axis=1).tolist()
        velocities = self._filter.velocity[:, :2].tolist()
        return [
            Track(
                entry.id,
                state(entry),
                entry.detection,
                # a smoothed box lags behind what turns: it would be drawn, and blurred, beside it
                entry.detection.box if entry.last == self._at else Box._make(box),
                (x, y),
                entry.first,
                entry.last,
                entry.hits,
            )
            for entry, box, (x, y) in zip(self._entries, corners, velocities, strict=True)
        ]


def _outside(boxes: Doubles, size: Size | None, margin: float = 0.0) -> NDArray[np.bool_]:
    """Whose centers, of float64[N,4] cx, cy, w, h, are outside of a picture: bool[N].

    By more than ``margin`` of their sides.
    """
    if size is None:
        return np.zeros(len(boxes), np.bool_)
    centers, room = boxes[:, :2], margin * boxes[:, 2:]
    outside: NDArray[np.bool_] = np.any((centers < -room) | (centers > size + room), axis=1)
    return outside


KIND = TrackerKind(TwoPass, TwoPassTracker)
