"""Contact sheets of the faces that are followed through a street scene, to count switches by eye.

YuNet at 640x352 on faces/video.mp4, at 25 and at 5 results a second. A row is a track, a column a
moment; a red frame marks a face under 48 pixels. Left of the row: the id, how often it was seen,
and how high its largest box is. A switch is where a row goes on with somebody else, or where
somebody goes on in another row. The sheets are written to docs/images, scaled down.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from lib.experiment import Experiment, Options, Row, main
from lib.material import SCORE, export_yunet, video_frames

from edgecnn_runtime import load
from edgecnn_runtime.track import TwoPass, TwoPassTracker
from edgecnn_runtime.types import Detection, Pixels

IMAGES = Path(__file__).parents[2] / "docs" / "images"
FPS, DOUBTFUL = 25, 0.3
CELL, LABEL, COLUMNS, LARGE = 44, 70, 21, 48
CREDIT = "faces/video.mp4: MIT License, Copyright (c) 2019 Timothy Esler; scaled down"
RATES = (25, 5)

Seen: TypeAlias = dict[int, Detection]
"""The detections of a track by the number of the frame."""


def measure(options: Options) -> Iterator[Row]:
    """One sheet per rate."""
    frames = video_frames()
    with tempfile.TemporaryDirectory() as folder:
        bundle = export_yunet(Path(folder), frames, f"--score {DOUBTFUL}")
        with load(bundle) as model:
            detections = [model(frame) for frame in frames]
    for rate in RATES:
        tracks = follow(detections, FPS // rate)
        file = IMAGES / f"face-tracks-{rate}.jpg"
        if not options.quick:
            picture = sheet(frames, tracks, FPS // rate)
            cv2.imwrite(str(file), picture, [cv2.IMWRITE_JPEG_QUALITY, 82])
        yield {"what": f"{rate} results a second", "tracks": len(tracks), "sheet": file.name}


def follow(detections: Sequence[list[Detection]], step: int) -> dict[int, Seen]:
    """Every track that was confirmed, by its id."""
    tracker, tracks = TwoPassTracker(TwoPass(confident=SCORE, doubtful=DOUBTFUL)), {}
    for index in range(0, len(detections), step):
        at = index / FPS
        for track in tracker.update(detections[index], at, (1920, 1080)):
            if track.last == at:
                tracks.setdefault(track.id, {})[index] = track.detection
    return {number: seen for number, seen in tracks.items() if len(seen) > 1}


def sheet(frames: Sequence[Pixels], tracks: Mapping[int, Seen], step: int) -> Pixels:
    """uint8[H,W,3] BGR."""
    moments = np.linspace(0, len(frames) - 1, COLUMNS).round().astype(int) // step * step
    shape = (len(tracks) * (CELL + 2) + 20, LABEL + COLUMNS * (CELL + 2), 3)
    picture = np.full(shape, 40, np.uint8)
    for row, (number, seen) in enumerate(tracks.items()):
        top = row * (CELL + 2)
        largest = max(height(each) for each in seen.values())
        for line, text in enumerate((f"{number}: {len(seen)}x", f"{largest:.0f} px")):
            write(picture, text, (3, top + 17 + 16 * line))
        for column, moment in enumerate(moments.tolist()):
            if moment in seen:
                left = LABEL + column * (CELL + 2)
                picture[top : top + CELL, left : left + CELL] = crop(frames[moment], seen[moment])
    write(picture, CREDIT, (3, shape[0] - 6))
    return picture


def crop(frame: Pixels, face: Detection) -> Pixels:
    """uint8[CELL,CELL,3] BGR around a face."""
    box = face.box
    x, y = (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
    half = 0.75 * max(box.x2 - box.x1, height(face))
    left, top = max(round(x - half), 0), max(round(y - half), 0)
    part = frame[top : round(y + half), left : round(x + half)]
    cell = np.asarray(cv2.resize(part, (CELL, CELL), interpolation=cv2.INTER_AREA), np.uint8)
    if height(face) < LARGE:
        cv2.rectangle(cell, (0, 0), (CELL - 1, CELL - 1), (0, 0, 200), 1)
    return cell


def height(face: Detection) -> float:
    """Of its box in pixels."""
    return face.box.y2 - face.box.y1


def write(picture: Pixels, text: str, place: tuple[int, int]) -> None:
    """A line of small white text."""
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.38, (255, 255, 255), 1)


if __name__ == "__main__":
    sys.exit(
        main(
            __doc__,
            Experiment(
                name="face_tracks",
                title="tracks of faces; count switches on the sheets",
                measure=measure,
                reached=lambda _row: True,
                columns={"": "{what}", "tracks": "{tracks}", "sheet": "{sheet}"},
            ),
        )
    )
