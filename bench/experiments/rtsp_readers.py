"""Who should read RTSP: OpenCV's FFmpeg or PyAV? What docs/decisions.md rests on.

A real RTSP server films a counter at 15 fps, and says when it made each picture. Every reader runs
in a process of its own, in alternating rounds. Measured: the true age of a picture when it is in
hand; CPU a frame of a 1080p H.264 stream, received, decoded and brought to BGR; the time until four
cameras that work are open while a fifth one accepts the connection and stays silent.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from lib.material import ASSETS
from rich.console import Console
from rich.table import Table

from edgecnn_bench.results import write_result
from edgecnn_runtime.source.address import parse_address
from edgecnn_runtime.source.network import NetworkStream

SERVER = Path(__file__).parents[2] / "tests" / "rtsp_server.py"
VIDEO = ASSETS / "faces" / "video.mp4"
READERS = ("OpenCV", "OpenCV, 1 thread", "PyAV")
ROUNDS, PICTURES, CAMERAS, PATIENCE = 3, 60, 4, 5
BITS = 16

Read = Callable[[], Any]


def main() -> int:
    """Measure, print, write."""
    made: dict[int, float] = {}
    filming, url = serve(made)
    playing, clip = serve({}, "--file", str(VIDEO))
    if not url:
        print("needs Debian's gir1.2-gst-rtsp-server-1.0 and python3-gi")
        return 0
    found: dict[str, dict[str, list[float]]] = {
        reader: {"age_ms": [], "cpu_ms": [], "open_s": []} for reader in READERS
    }
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        dead = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/cam"
        for _ in range(ROUNDS):
            for reader, figures in found.items():
                pictures = child(reader, "age", url)
                ages = [1e3 * (seen - made[counter]) for counter, seen in pictures]
                figures["age_ms"].append(float(np.median(ages[len(ages) // 2 :])))
                if VIDEO.is_file():
                    figures["cpu_ms"].append(child(reader, "cpu", clip))
                figures["open_s"].append(child(reader, "open", url, dead))
    filming.kill()
    playing.kill()
    write_result("rtsp_readers", {"rounds": ROUNDS, "cameras": CAMERAS, "readers": found})
    headings = (
        "true age of a picture",
        "CPU a 1080p frame",
        f"{CAMERAS} cameras beside a dead one",
    )
    table = Table("", *headings, title="reading RTSP, medians")
    for reader, figures in found.items():
        age, cpu, opened = (np.median(values or [np.nan]) for values in figures.values())
        table.add_row(reader, f"{age:.0f} ms", f"{cpu:.1f} ms", f"{opened:.1f} s")
    Console().print(table)
    return 0


def serve(made: dict[int, float], *options: str) -> tuple["subprocess.Popen[str]", str]:
    """A camera, and its address; "" where there is no RTSP server here."""
    command = ["/usr/bin/python3", str(SERVER), *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    line = server.stdout.readline().split()
    threading.Thread(target=collect, args=(server.stdout, made), daemon=True).start()
    return server, f"rtsp://127.0.0.1:{line[1]}/cam" if line else ""


def collect(lines: Iterator[str], made: dict[int, float]) -> None:
    """Keep when each picture was made."""
    for line in lines:
        counter, seconds = line.split()
        made[int(counter)] = float(seconds)


def child(*words: str) -> Any:
    """What one reader measured, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, *words], check=True, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def open_reader(reader: str, url: str) -> Read:
    """A function that gives the next picture."""
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
    """The counter in each picture, and when it was in hand."""
    read, found = open_reader(reader, url), []
    for _ in range(PICTURES):
        pixels = read()
        seen = time.monotonic()
        side, y = pixels.shape[1] // BITS, pixels.shape[0] // 2
        bits = [pixels[y, place * side + side // 2, 0] > 128 for place in range(BITS)]
        found.append((sum(1 << (BITS - 1 - i) for i, bit in enumerate(bits) if bit), seen))
    return found


def measure_cpu(reader: str, url: str) -> float:
    """Milliseconds of CPU a frame, decoded and brought to BGR."""
    read = open_reader(reader, url)
    began = time.process_time()
    for _ in range(PICTURES):
        assert read() is not None
    return 1e3 * (time.process_time() - began) / PICTURES


def measure_open(reader: str, url: str, dead: str) -> float:
    """Seconds until all cameras that work have given a picture, while one does not answer."""

    def first_picture(target: str) -> None:
        open_reader(reader, target)()

    threading.Thread(target=first_picture, args=(dead,), daemon=True).start()
    time.sleep(0.3)
    began = time.monotonic()
    cameras = [threading.Thread(target=first_picture, args=(url,)) for _ in range(CAMERAS)]
    for camera in cameras:
        camera.start()
    for camera in cameras:
        camera.join()
    return time.monotonic() - began


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measures = {"age": measure_age, "cpu": measure_cpu, "open": measure_open}
        result = measures[sys.argv[2]](sys.argv[1], *sys.argv[3:])
        print(json.dumps(result), flush=True)
        os._exit(0)  # the dead camera is still being waited for
    sys.exit(main())
