"""visiontrack's ByteTrack, which counts frames."""

import time

from visiontrack import ByteTracker, Detection, preset


def track(tracker, frames, times, fps, gap, **settings):
    follower = ByteTracker(preset(tracker, max_age=round(gap * fps), **settings))
    outputs, milliseconds = [], []
    for boxes in frames:
        start = time.perf_counter()
        tracks = follower.update([Detection(box[:4], box[4], 0) for box in boxes])
        milliseconds.append(1000 * (time.perf_counter() - start))
        outputs.append([[*map(float, each.xyxy), each.track_id] for each in tracks])
    return {"outputs": outputs, "milliseconds": milliseconds}
