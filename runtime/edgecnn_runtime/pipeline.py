"""Frame → detect → track → recognize → vote → rules → events.

    with load_pipeline("plates.yaml") as pipeline:
        for frame in source:
            for event in pipeline(frame):
                print(event.type, event.text)

Here are no threads, files or sockets. ``assembly`` makes pipelines by recipes. A daemon runs the
first model itself, for many cameras at once, and gives its results to ``follow`` of each camera's
own pipeline.
"""

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from msgspec.structs import replace

from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.event_maker import EventMaker, without_pixels
from edgecnn_runtime.preprocess import check_frame
from edgecnn_runtime.rules.base import Rule
from edgecnn_runtime.rules.happenings import Happening, Happenings
from edgecnn_runtime.stages.base import Stage
from edgecnn_runtime.stages.recognize import scale_boxes
from edgecnn_runtime.tasks import TASKS
from edgecnn_runtime.track.answer import answer_of
from edgecnn_runtime.track.tracker import Tracker
from edgecnn_runtime.types import (
    Decision,
    Detection,
    Event,
    EventType,
    Frame,
    FrameResult,
    Observation,
    Pixels,
    Track,
)
from edgecnn_runtime.vote.base import Voter

ORDER: tuple[EventType, ...] = ("entered", "recognized", "crossed", "present", "left", "camera")
"""Of the events of one frame."""


class Pipeline:
    """Turns the frames of one camera into events; used by one thread at a time.

    Attributes:
        tracks: Every track as it stands after the last frame.
        decisions: What was recognized of the tracks that are alive, by id; without pixels.
    """

    def __init__(
        self,
        tracker: Tracker,
        maker: EventMaker,
        *,
        types: Collection[EventType],
        stage: Stage | None = None,
        voter: Voter | None = None,
        happenings: Happenings | None = None,
        rules: Sequence[Rule] = (),
        stills: Tracker | None = None,
        labels: Collection[str] = (),
        confident: float = 0.0,
        watch: Callable[[Frame, Sequence[Track]], None] = lambda _frame, _tracks: None,
        infer: Callable[[Frame], FrameResult] | None = None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        """Compose the parts of one camera.

        Args:
            tracker: Follows what the first model finds.
            maker: Makes events of what happens.
            types: The events that are reported.
            stage: Looks closer at tracks; None where nothing does.
            voter: Makes one answer of what the stage sees, or of what the first model says of whole
                frames; None where nothing is recognized.
            happenings: Notices who enters, crosses a line, is still there, and leaves.
            rules: Applied to every event, in this order.
            stills: The tracker of pictures that have nothing to do with each other.
            labels: The classes that count; empty for all.
            confident: The score from which a detection counts that belongs to no track.
            watch: Told of each frame and the tracks after it, before anything is said of them.
            infer: Runs the first model on one frame; None where somebody else does.
            close: Called by ``close``.
        """
        self.tracks: Sequence[Track] = ()
        self.decisions: dict[int, Decision] = {}
        self._tracker, self._stills = tracker, stills or tracker
        self._maker, self._types = maker, frozenset(types)
        self._stage, self._voter = stage, voter
        self._happenings, self._rules = happenings or Happenings(), rules
        self._labels, self._confident = frozenset(labels), confident
        self._watch = watch
        self._infer, self._close = infer, close
        self._shown: Sequence[Track] = ()
        self._texts: dict[int, str] = {}
        self._frame: Frame | None = None
        self._count = 0

    def __call__(self, frame: Pixels | Frame, /) -> list[Event]:
        """What happened in a frame, and up to it.

        Args:
            frame: The camera's next one; uint8[H,W,3] BGR is copied, and counts as taken now.

        Raises:
            UsageError: It is any other array, or this pipeline has no model of its own.
        """
        if self._infer is None:
            raise UsageError("this pipeline has no model of its own: give results to follow()")
        return self.follow(self._infer(frame if isinstance(frame, Frame) else self._wrap(frame)))

    def follow(self, result: FrameResult, /) -> list[Event]:
        """What happened in a frame, and up to it, by the result of the first model.

        Args:
            result: Of the camera's next frame.
        """
        frame, before = result.frame, self._frame
        reconnected = before is not None and before.connection != frame.connection
        events = self.end() if reconnected else []
        self._frame = frame
        tracker = self._stills if frame.file else self._tracker
        height, width, _ = frame.pixels.shape
        self.tracks = tracker.update(self._find(result), frame.captured, (width, height))
        self._watch(frame, self.tracks)
        observations = self._look_closer(result)
        happenings = self._happen(frame)
        happenings += self._vote(observations, happenings)
        events += self._report(frame, happenings)
        return [*events, *self.end()] if frame.file else events

    def end(self) -> list[Event]:
        """The last events of all tracks, because the source has ended or was reconnected."""
        frame, self._frame = self._frame, None
        if frame is None:
            return []
        alive = [track for track in self.tracks if track.state != "ended"]
        self.tracks = [replace(track, state="ended") for track in alive]
        happenings = self._happen(frame)
        events = self._report(frame, [*happenings, *self._vote((), happenings)])
        self.tracks = ()
        for part in (self._tracker, self._stills, self._stage, self._voter, self._happenings):
            if part is not None:
                part.reset()
        return events

    def drawable(self, result: FrameResult, /) -> FrameResult:
        """A result with tracks in place of detections, for whatever draws it.

        Args:
            result: What ``follow`` was given last.
        """
        if not isinstance(result.result, list):
            return result
        return replace(result, result=[self._tag(track) for track in self._shown])

    def counted(self, result: FrameResult, /) -> FrameResult:
        """A result without what nobody may be told of: doubtful detections of no track.

        They are there for the tracker, which most of them give nothing.

        Args:
            result: What ``follow`` was given last.
        """
        if not isinstance(result.result, list):
            return result
        seen = [each.detection for each in self.tracks if each.last == result.frame.captured]
        tracked = {id(each if each.shape is None else each.shape) for each in seen}
        entries = [
            entry
            for entry in result.result
            if (entry.score >= self._confident or id(entry) in tracked)
            and (not self._labels or entry.label in self._labels)
        ]
        return replace(result, result=entries)

    def renew(self, other: "Pipeline") -> None:
        """Go on with another pipeline's zones, lines and rules; tracks and votes stay.

        Args:
            other: Made for the same camera; not used any more.
        """
        other._happenings.take_over(self._happenings)
        self._happenings, self._rules = other._happenings, other._rules
        self._watch = other._watch

    def close(self) -> None:
        """Release the models, if they are this pipeline's own. Idempotent."""
        self._close()

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *_problem: object) -> None:
        self.close()

    def _find(self, result: FrameResult) -> Sequence[Detection]:
        """What may become a track: detections of the classes that count, or one answer."""
        if not isinstance(result.result, list):
            return answer_of(result.frame, result.result)
        detections = TASKS[result.task].detections(result.result)
        if not self._labels:
            return detections
        return [found for found in detections if found.label in self._labels]

    def _look_closer(self, result: FrameResult) -> Sequence[Observation]:
        """Observations of tracks that are not recognized yet."""
        if self._voter is None:
            return ()
        frame, known = result.frame, self.decisions
        tracks = [track for track in self.tracks if track.id not in known or track.state == "ended"]
        if self._stage is not None:
            observations = self._stage(frame, tracks)
        else:  # the first model has looked at the whole frame
            observations = [_observe(result, track) for track in tracks if _is_seen(track)]
        boxes = [track.box for track in self.tracks if track.state != "ended"]
        return [replace(each, boxes=scale_boxes(boxes, frame, each.frame)) for each in observations]

    def _happen(self, frame: Frame) -> list[Happening]:
        """Who enters, crosses a line, is still there, and leaves."""
        height, width = frame.pixels.shape[:2]
        return self._happenings.update(self.tracks, frame.captured, width, height)

    def _vote(
        self, observations: Sequence[Observation], happenings: Sequence[Happening]
    ) -> list[Happening]:
        """Tracks whose observations agree, or that end; each is recognized once."""
        voter, recognized = self._voter, []
        if voter is None:
            return []
        for observation in observations:
            voter.add(observation)
        left = {each.track.id: each.zone for each in happenings if each.type == "left"}
        for track in self.tracks:
            if track.id in self.decisions:
                continue
            counts = track.id in left or self._happenings.counts(track.id)
            if track.state != "ended" and not (counts and voter.decide(track) is not None):
                continue
            decision = voter.close(track)
            if counts and decision is not None:
                self.decisions[track.id] = decision
                zone = self._happenings.zone(track.id) or left.get(track.id, "")
                recognized.append(Happening("recognized", track, zone))
        return recognized

    def _report(self, frame: Frame, happenings: Sequence[Happening]) -> list[Event]:
        """Events that are asked for and that pass the rules; what has ended is forgotten."""
        events = []
        types = self._types - {"left"} if frame.file else self._types  # who is in a picture, stays
        for happening in sorted(happenings, key=lambda happening: ORDER.index(happening.type)):
            if happening.type in types:
                decision = self.decisions.get(happening.track.id)
                event = self._judge(self._maker.make(frame, happening, decision, self.tracks))
                events += [] if event is None else [event]
        self._shown = [
            track
            for track in self.tracks
            if track.state != "tentative" and track.last == frame.captured
        ]
        self._texts = {track: decision.text for track, decision in self.decisions.items()}
        for track in self.tracks:
            if track.state == "ended":
                self.decisions.pop(track.id, None)
            elif (decision := self.decisions.get(track.id)) is not None:
                self.decisions[track.id] = without_pixels(decision)
        return events

    def _judge(self, event: Event | None) -> Event | None:
        for rule in self._rules:
            event = None if event is None else rule(event)
        return event

    def _tag(self, track: Track) -> Any:
        """A track as an entry of its model's result: its number, class and text, its own color."""
        found = track.detection
        words = (f"#{track.id}", found.label, self._texts.get(track.id, ""))
        label = " ".join(word for word in words if word)
        if found.shape is not None:
            return replace(found.shape, label=label, index=track.id)
        return replace(found, box=track.box, label=label, index=track.id)

    def _wrap(self, pixels: Pixels) -> Frame:
        """A copy of the pixels as a frame, which may be held."""
        check_frame(pixels)
        copy = pixels.copy()
        copy.setflags(write=False)
        self._count += 1
        return Frame(copy, self._count - 1, time.monotonic(), None, self._maker.camera)


def _is_seen(track: Track) -> bool:
    return track.state == "confirmed"


def _observe(result: FrameResult, track: Track) -> Observation:
    """What the first model says of a whole frame."""
    frame = result.frame
    return Observation(track.id, result.result, 1.0, frame.captured, frame.pixels, frame, track.box)
