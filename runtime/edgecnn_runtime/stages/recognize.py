"""The second model on crops of tracks: few of them, and the best ones."""

import math
import threading
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from edgecnn_runtime.model import EVIDENCE_MARGIN, Model, crop_region
from edgecnn_runtime.preprocess import Region
from edgecnn_runtime.stages.crop import CROPS, CropKind
from edgecnn_runtime.stages.quality import QualityMeter
from edgecnn_runtime.types import Frame, Observation, Result, Track

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


class ModelReader:
    """Reads crops on a model, in the caller's thread; several callers wait for each other.

    Attributes:
        size: Width and height of the model's input, in pixels.
    """

    def __init__(self, model: Model) -> None:
        """Use a model, which stays the caller's."""
        self.size = model.spec.input.width, model.spec.input.height
        self._model = model
        self._lock = threading.Lock()

    def __call__(self, frame: Frame, regions: Sequence[Region], /) -> list[Result]:
        """One result per region, ``model.batch_size`` of them per inference."""
        with self._lock:
            return self._model.regions(frame, regions)


class _Candidate(NamedTuple):
    """A crop that is worth reading.

    Attributes:
        gain: Its quality over the best one that was read of its track; infinite for the first.
    """

    gain: float
    quality: float
    track: Track
    region: Region


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
        """
        self._read = read
        self._cut = CROPS[crop].cut
        self._margin = margin
        self._per_track, self._per_frame = per_track, per_frame
        self._min_quality = min_quality
        self._measure = QualityMeter(*read.size)
        self._readings: dict[int, list[float]] = {}
        """The quality of each reading, by track."""

    def __call__(self, frame: Frame, tracks: Sequence[Track], /) -> list[Observation]:
        """Read the tracks that are worth it in this frame.

        Args:
            frame: The full frame.
            tracks: As the tracker left them after this frame.

        Returns:
            One observation per reading.
        """
        for track in tracks:
            if track.state == "ended":
                self._readings.pop(track.id, None)
        candidates = [each for track in tracks if (each := self._candidate(frame, track))]
        candidates.sort(key=lambda candidate: (-candidate.gain, -candidate.quality))
        chosen = candidates[: self._per_frame]
        if not chosen:
            return []
        results = self._read(frame, [candidate.region for candidate in chosen])
        boxes = tuple(track.box for track in tracks if track.state != "ended")
        observations = []
        for (_, quality, track, _), result in zip(chosen, results, strict=True):
            self._readings.setdefault(track.id, []).append(quality)
            x, y, w, h = self._surroundings(frame, track, EVIDENCE_MARGIN)
            crop = frame.pixels[y : y + h, x : x + w].copy()
            observations.append(
                Observation(
                    track.id,
                    result,
                    quality,
                    frame.captured,
                    crop,
                    frame,
                    track.detection.box,
                    boxes,
                )
            )
        return observations

    def reset(self) -> None:
        """Forget every track."""
        self._readings.clear()

    def _candidate(self, frame: Frame, track: Track) -> _Candidate | None:
        readings = self._readings.get(track.id, ())
        if track.state != "confirmed" or len(readings) >= self._per_track:
            return None
        height, width = frame.pixels.shape[:2]
        region = self._cut(track.detection, width, height, self._margin)
        if region is None:
            return None
        roi = self._surroundings(frame, track)
        quality = self._measure(frame.pixels, roi, track.detection.points).score
        if quality < self._min_quality:
            return None
        best = max(readings, default=0.0)
        if quality < best * (COMPARABLE if 2 * len(readings) < self._per_track else IMPROVEMENT):
            return None
        return _Candidate(quality / best if best else math.inf, quality, track, region)

    def _surroundings(
        self, frame: Frame, track: Track, margin: float = 0.0
    ) -> tuple[int, int, int, int]:
        height, width = frame.pixels.shape[:2]
        return crop_region(track.detection.box, width, height, margin)
