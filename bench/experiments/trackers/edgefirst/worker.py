"""edgefirst-tracker's ByteTrack, which forgets by time and moves by frames."""

import time

import numpy as np
from edgefirst.tracker import ByteTrack

WIDTH, HEIGHT = 1280, 720


def track(tracker, frames, times, fps, gap, **settings):
    follower = ByteTrack(lifespan_ns=round(gap * 1e9), **settings)
    numbers = {}
    outputs, milliseconds = [], []
    for boxes, at in zip(frames, times, strict=True):
        start = time.perf_counter()
        rows = np.array(boxes, np.float32).reshape(-1, 5)
        places = rows[:, :4] / np.array([WIDTH, HEIGHT] * 2, np.float32)  # it wants fractions
        labels = np.zeros(len(rows), np.uintp)
        tracks = follower.update(places, rows[:, 4], labels, round(at * 1e9))
        milliseconds.append(1000 * (time.perf_counter() - start))
        outputs.append(
            [
                [*box[:4], numbers.setdefault(each.uuid, len(numbers))]
                for box, each in zip(boxes, tracks, strict=True)
                if each is not None
            ]
        )
    return {"outputs": outputs, "milliseconds": milliseconds}
