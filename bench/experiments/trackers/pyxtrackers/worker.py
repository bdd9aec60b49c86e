"""pyxtrackers' ByteTrack and OC-SORT, which count frames."""

import time

import numpy as np
from pyxtrackers import BYTETracker, OCSort


def track(tracker, frames, times, fps, gap, **settings):
    if tracker == "ByteTrack":  # its buffer is in frames at 30 fps
        follower = BYTETracker(frame_rate=fps, track_buffer=round(30 * gap), **settings)
    else:
        follower = OCSort(det_thresh=0.5, max_age=round(gap * fps), **settings)
    outputs, milliseconds = [], []
    for boxes in frames:
        start = time.perf_counter()
        tracks = follower.update(np.array(boxes, np.float64).reshape(-1, 5))
        milliseconds.append(1000 * (time.perf_counter() - start))
        outputs.append(np.asarray(tracks).reshape(-1, 5).tolist())
    return {"outputs": outputs, "milliseconds": milliseconds}
