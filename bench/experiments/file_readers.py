"""What should read video files: OpenCV's FFmpeg or PyAV? docs/decisions.md rests on this.

A 1080p H.264 clip is decoded and brought to BGR, by the readers that the runtime has for files and
by OpenCV as its users call it. Every reader runs in a process of its own, in alternating rounds.
Measured: processor time and time per frame.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import cv2
from lib.experiment import Experiment, Options, Row, main
from lib.fresh_process import in_fresh_process
from lib.material import ASSETS

from edgecnn_runtime.source.opencv import OpenCvVideo
from edgecnn_runtime.source.video_file import VideoFile

VIDEO = ASSETS / "faces" / "video.mp4"
ROUNDS, REPETITIONS = 7, 1


def opencv_alone(path: Path) -> Callable[[], Any]:
    """OpenCV, without what the runtime adds."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    return lambda: capture.read()[1]


READERS: dict[str, Callable[[Path], Callable[[], Any]]] = {
    "cv2.VideoCapture": opencv_alone,
    "OpenCvVideo": lambda path: OpenCvVideo(path).read,
    "VideoFile (PyAV)": lambda path: VideoFile(av, path).read,
}


def measure(options: Options) -> Iterator[Row]:
    """Every reader in every round; ratios are those of a round."""
    times: dict[str, list[list[float]]] = {reader: [] for reader in options.names}
    for _ in range(2 if options.quick else ROUNDS):
        for reader, rounds in times.items():
            rounds.append(in_fresh_process(measure_reader, reader, str(VIDEO)))
    first = times[options.names[0]]
    for reader, rounds in times.items():
        ratios = [own[0] / base[0] for own, base in zip(rounds, first, strict=True)]
        cpu, wall = (statistics.median(column) for column in zip(*rounds, strict=True))
        yield {
            "name": reader, "cpu_ms": cpu, "wall_ms": wall, "cpu_ratio": statistics.median(ratios),
            "rounds": rounds,
        }  # fmt: skip


def measure_reader(reader: str, path: str) -> tuple[float, float]:
    """Milliseconds of processor time, and of time, per frame."""
    frames = 0
    cpu, wall = time.process_time(), time.monotonic()
    for _ in range(REPETITIONS):
        read = READERS[reader](Path(path))
        while read() is not None:
            frames += 1
    return (
        1e3 * (time.process_time() - cpu) / frames,
        1e3 * (time.monotonic() - wall) / frames,
    )


if __name__ == "__main__":
    experiment = Experiment(
        name="file_readers",
        title="reading a 1080p H.264 file to BGR, medians",
        measure=measure,
        reached=lambda row: row["cpu_ratio"] <= 1.1,
        names=tuple(READERS),
        columns={
            "": "{name}",
            "CPU per frame": "{cpu_ms:.1f} ms",
            "over cv2.VideoCapture": "{cpu_ratio:.2f}",
            "time per frame": "{wall_ms:.1f} ms",
        },
        facts={"rounds": ROUNDS, "limit": 1.1},
        needs_assets=True,
    )
    sys.exit(main(__doc__, experiment))
