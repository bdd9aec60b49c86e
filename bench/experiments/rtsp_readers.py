"""Which library should read RTSP: OpenCV's FFmpeg or PyAV? docs/decisions.md rests on this.

A real RTSP server films a counter at 15 fps, and prints when it made each picture. Every reader
runs in a process of its own, in alternating rounds. Measured: the true age of a picture when the
reader returns it; CPU per frame of a 1080p H.264 stream, received, decoded and converted to BGR;
the time until four working cameras are open while a fifth one accepts the connection and stays
silent.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from lib.experiment import Experiment, Options, Row, main
from lib.fresh_process import in_fresh_process
from lib.material import ASSETS

from edgecnn_bench.soak.cameras import SERVER, SYSTEM_PYTHON
from edgecnn_runtime.source.address import parse_address
from edgecnn_runtime.source.network import NetworkStream

VIDEO = ASSETS / "faces" / "video.mp4"
READERS = ("OpenCV", "OpenCV, 1 thread", "PyAV")
ROUNDS, PICTURES, CAMERAS, PATIENCE = 3, 60, 4, 5
BITS = 16

Read = Callable[[], Any]


def measure(options: Options) -> Iterator[Row]:
    """Every reader in every round."""
    times: dict[int, float] = {}
    filming, url = serve(times)
    playing, clip = serve({}, "--file", str(VIDEO))
    if not url:
        raise SystemExit("needs Debian's gir1.2-gst-rtsp-server-1.0 and python3-gi")
    samples: dict[str, dict[str, list[float]]] = {
        reader: {"age_ms": [], "cpu_ms": [], "open_s": []} for reader in READERS
    }
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        dead = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/cam"
        for _ in range(1 if options.quick else ROUNDS):
            for reader, values in samples.items():
                pictures = in_fresh_process(measure_age, reader, url)
                ages = [1e3 * (now - times[counter]) for counter, now in pictures]
                values["age_ms"].append(float(np.median(ages[len(ages) // 2 :])))
                values["cpu_ms"].append(in_fresh_process(measure_cpu, reader, clip))
                values["open_s"].append(in_fresh_process(measure_open, reader, url, dead))
    filming.kill()
    playing.kill()
    for reader, values in samples.items():
        medians = {key: float(np.median(column)) for key, column in values.items()}
        yield {"reader": reader, "median": medians, **values}


def serve(times: dict[int, float], *options: str) -> tuple["subprocess.Popen[str]", str]:
    """A camera, and its address; "" where there is no RTSP server here.

    times: filled with when each picture was made, by its counter.
    """
    command = [SYSTEM_PYTHON, str(SERVER), *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    line = server.stdout.readline().split()
    threading.Thread(target=collect, args=(server.stdout, times), daemon=True).start()
    return server, f"rtsp://127.0.0.1:{line[1]}/cam" if line else ""


def collect(lines: Iterator[str], times: dict[int, float]) -> None:
    """Store when each picture was made."""
    for line in lines:
        counter, seconds = line.split()
        times[int(counter)] = float(seconds)


def open_reader(reader: str, url: str) -> Read:
    """A function that returns the next picture."""
    if reader == "PyAV":
        stream = NetworkStream(
            parse_address(url), transport="tcp", open_timeout=PATIENCE, read_timeout=PATIENCE
        )

        def next_picture() -> Any:
            picture = stream.read()
            return None if picture is None else picture.pixels

        return next_picture
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "rtsp_transport;tcp|fpsprobesize;0"
    settings = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 1000 * PATIENCE]
    settings += [cv2.CAP_PROP_N_THREADS, 1] if "1 thread" in reader else []
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, settings)
    return lambda: capture.read()[1]


def measure_age(reader: str, url: str) -> list[tuple[int, float]]:
    """The counter in each picture, and when the reader returned it."""
    read, counters = open_reader(reader, url), []
    for _ in range(PICTURES):
        pixels = read()
        now = time.monotonic()
        side, y = pixels.shape[1] // BITS, pixels.shape[0] // 2
        bits = [pixels[y, place * side + side // 2, 0] > 128 for place in range(BITS)]
        counters.append((sum(1 << (BITS - 1 - i) for i, bit in enumerate(bits) if bit), now))
    return counters


def measure_cpu(reader: str, url: str) -> float:
    """Milliseconds of CPU per frame, decoded and brought to BGR."""
    read = open_reader(reader, url)
    start = time.process_time()
    for _ in range(PICTURES):
        assert read() is not None
    return 1e3 * (time.process_time() - start) / PICTURES


def measure_open(reader: str, url: str, dead: str) -> float:
    """Seconds until every working camera has returned a picture, while one does not answer."""

    def first_picture(target: str) -> None:
        open_reader(reader, target)()

    threading.Thread(target=first_picture, args=(dead,), daemon=True).start()
    time.sleep(0.3)
    start = time.monotonic()
    cameras = [threading.Thread(target=first_picture, args=(url,)) for _ in range(CAMERAS)]
    for camera in cameras:
        camera.start()
    for camera in cameras:
        camera.join()
    return time.monotonic() - start


if __name__ == "__main__":
    experiment = Experiment(
        name="rtsp_readers",
        title="reading RTSP, medians",
        measure=measure,
        reached=lambda _row: True,
        columns={
            "": "{reader}",
            "true age of a picture": "{median[age_ms]:.0f} ms",
            "CPU per 1080p frame": "{median[cpu_ms]:.1f} ms",
            f"{CAMERAS} cameras beside a dead one": "{median[open_s]:.1f} s",
        },
        facts={"rounds": ROUNDS, "cameras": CAMERAS},
    )
    sys.exit(main(__doc__, experiment))
