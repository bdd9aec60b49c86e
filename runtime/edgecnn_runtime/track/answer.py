"""Answers about whole frames as tracks: one lasts while the answer stays the same."""

import math
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec.structs import replace

from edgecnn_runtime.track.tracker import Size, TrackerKind
from edgecnn_runtime.types import Box, Classification, Detection, Frame, Reading, Result, Track


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the tracker of answers.

    Attributes:
        settle: Seconds, and at least two frames, that a new answer must stand before it counts.
        max_gap: Seconds without any answer after which the last one has ended.
    """

    settle: Annotated[float, msgspec.Meta(ge=0.0, le=3600.0)] = 0.3
    max_gap: Annotated[float, msgspec.Meta(gt=0.0, le=3600.0)] = 1.5


class AnswerTracker:
    """Tracker of one answer at a time; what differs for a moment is a slip of the model."""

    def __init__(self, settings: Answer | None = None) -> None:
        """Settings default to ``Answer()``."""
        self._settings = settings or Answer()
        self._answer: Track | None = None
        self._candidate: Track | None = None
        self._next = 1
        self._at = -math.inf

    def update(
        self, detections: Sequence[Detection], at: float, _size: Size | None = None, /
    ) -> list[Track]:
        """The answer that stands, and the one that ended just now."""
        if not math.isfinite(at):
            raise ValueError(f"the time of a frame is a finite number of seconds, not {at}")
        tracks, answer, candidate = [], self._answer, None
        if at < self._at - self._settings.max_gap:  # the clock was set back
            tracks += [replace(answer, state="ended")] if answer else []
            answer = self._candidate = None
        elif at < self._at:
            return [answer] if answer else []
        self._at = at
        found = next(iter(detections), None)
        if answer and found and answer.detection.label == found.label:
            answer = replace(_seen(answer, found, at), state="confirmed")
        elif found:
            candidate = self._continue(found, at)
        settled = candidate and candidate.hits > 1 and at - candidate.first >= self._settings.settle
        if answer and (settled or at - answer.last > self._settings.max_gap):
            tracks.append(replace(answer, state="ended"))
            answer = None
        elif answer and answer.last < at:
            answer = replace(answer, state="lost")
        if candidate and settled:
            answer, candidate = replace(candidate, id=self._next, state="confirmed"), None
            self._next += 1
        self._answer, self._candidate = answer, candidate
        return [*tracks, answer] if answer else tracks

    def reset(self) -> None:
        """Forget the answer."""
        self._answer = self._candidate = None
        self._at = -math.inf

    def _continue(self, found: Detection, at: float) -> Track:
        """The answer that may come, after one more frame with it."""
        if self._candidate and self._candidate.detection.label == found.label:
            return _seen(self._candidate, found, at)
        return Track(0, "tentative", found, found.box, (0.0, 0.0), at, at, 1)


def answer_of(frame: Frame, result: Result) -> list[Detection]:
    """A classification or reading as one detection of the whole frame; none of an empty text."""
    height, width = frame.pixels.shape[:2]
    whole = Box(0.0, 0.0, float(width), float(height))
    if isinstance(result, Classification) and math.isfinite(result.score):
        return [Detection(whole, result.score, result.label, result.index)]
    if isinstance(result, Reading) and result.text:
        return [Detection(whole, result.score, result.text, 0)]
    return []


def _seen(track: Track, found: Detection, at: float) -> Track:
    return replace(track, detection=found, last=at, hits=track.hits + 1)


KIND = TrackerKind(Answer, AnswerTracker)
