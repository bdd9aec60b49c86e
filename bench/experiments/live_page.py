"""The live page: what it adds to the age of a result, and what a viewer costs.

Six cameras show rendered 1080p frames at five results per second each, in a process of their own
that serves the page. The age is added between the moment when a result is there and the moment when
a headless Chromium on the same machine has drawn it, by the wall clock that both share; every
camera is in the grid. The cost of a viewer is the CPU time of the serving process with four viewers
who read the same six cameras, over what the process needs without any, divided by four.
"""

import multiprocessing
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
from lib.experiment import Experiment, Options, Row, main

from edgecnn_runtime.types import Box, Detection, Frame, FrameResult, Timings
from edgecnn_runtime.web.fake import FakeOperations
from edgecnn_runtime.web.operations import LiveView
from edgecnn_runtime.web.server import WebServer
from edgecnn_runtime.web.settings import WebSettings
from edgecnn_runtime.web.tokens import load_tokens

CAMERAS, RATE = 6, 5.0
VIEWERS = 4
SECONDS, QUICK = 60.0, 5.0
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
DRAWN = """() => {
  window.drawn = [];
  for (const canvas of document.querySelectorAll('article canvas')) {
    const camera = canvas.closest('article').getAttribute('aria-label');
    new MutationObserver(() => {
      const index = Number(canvas.dataset.index);
      const now = () => performance.timeOrigin + performance.now();
      requestAnimationFrame(() => drawn.push([camera, index, now()]));
    }).observe(canvas, { attributes: true, attributeFilter: ['data-index'] });
  }
}"""


def pictures() -> list[np.ndarray]:
    """A few 1080p frames that differ, as detailed as a street."""
    from edgecnn.demo.scene import Scene

    scene = Scene(5, 12)
    frames = [cv2.resize(scene.frame(30 * number), (1920, 1080)) for number in range(8)]
    for frame in frames:
        frame.setflags(write=False)
    return frames


def serve(pipe: Connection, state: str) -> None:
    """In a process of its own: cameras that play, their page, and answers about both."""
    names = [f"camera-{number}" for number in range(CAMERAS)]
    operations, frames = FakeOperations(*names), pictures()
    shown: dict[tuple[str, int], float] = {}
    stop = threading.Event()

    def play() -> None:
        for turn in range(1, 1 << 30):
            index, number = divmod(turn, CAMERAS)
            if stop.wait(1 / RATE / CAMERAS):
                return
            frame = Frame(
                frames[index % len(frames)], index, time.monotonic() - 0.05, None, "", live=True
            )
            faces = [
                Detection(Box(80.0 * k, 400, 80.0 * k + 60, 480), 0.9, "face", 0) for k in range(8)
            ]
            result = FrameResult(frame, "detect", faces, 0.05, Timings(0.02, 0.002, 0.025, 0.001))
            shown[names[number], index] = 1000 * time.time()
            operations.show(names[number], LiveView(result))

    player = threading.Thread(target=play)
    with WebServer(operations, WebSettings(port=0), load_tokens(Path(state))) as server:
        player.start()
        pipe.send(server.address)
        answers: dict[str, Callable[[], Any]] = {
            "cpu": time.process_time, "shown": lambda: dict(shown),
        }  # fmt: skip
        while (question := pipe.recv()) in answers:
            pipe.send(answers[question]())
        stop.set()
        player.join()


class Served:
    """The other process, from here."""

    def __init__(self, pipe: Connection, state: Path) -> None:
        self._pipe = pipe
        self.address: str = pipe.recv()
        self.token = load_tokens(state).viewer

    def ask(self, question: str) -> Any:
        """Its answer to "cpu" or "shown"."""
        self._pipe.send(question)
        return self._pipe.recv()


@contextmanager
def served() -> Iterator[Served]:
    """Cameras and their page, in a process of their own."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    with tempfile.TemporaryDirectory() as state:
        load_tokens(Path(state))
        process = spawn.Process(target=serve, args=(there, state))
        process.start()
        try:
            yield Served(here, Path(state))
        finally:
            here.send("stop")
            process.join()


def age_added(seconds: float) -> Iterator[Row]:
    """Between a result and its picture in Chromium, in milliseconds."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    if chromium is None:
        print("live_page: no Chromium here: the age is not measured", file=sys.stderr)
        return
    with served() as site, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{site.address}login#token={site.token}")
        page.wait_for_selector("canvas[data-index]")
        page.evaluate(DRAWN)
        page.wait_for_timeout(1000 * seconds)
        drawn = page.evaluate("() => drawn")
        browser.close()
        shown = site.ask("shown")
    ages = np.array([at - shown[camera, index] for camera, index, at in drawn])
    share = len(ages) / (CAMERAS * RATE * seconds)
    for percentile in (50, 95):
        value = float(np.percentile(ages, percentile))
        row = {"value": value, "goal": 150.0, "unit": "ms", "drawn": len(ages), "share": share}
        yield {"what": f"age added, p{percentile}", **row}


def cpu_per_viewer(seconds: float) -> Iterator[Row]:
    """CPU time of the serving process, as a share of one core per viewer."""
    with served() as site, ExitStack() as stack:

        def cores() -> float:
            before, began = site.ask("cpu"), time.monotonic()
            time.sleep(seconds)
            return float((site.ask("cpu") - before) / (time.monotonic() - began))

        alone = cores()
        stop = threading.Event()
        for _ in range(VIEWERS):
            reader = threading.Thread(target=read, args=(site, stop))
            reader.start()
            stack.callback(reader.join)
        stack.callback(stop.set)
        time.sleep(1.0)
        watched = cores()
    row = {"value": 100 * (watched - alone) / VIEWERS, "goal": 5.0, "unit": "% of a core"}
    yield {"what": f"each of {VIEWERS} viewers", **row, "alone_percent": 100 * alone}


def read(site: Served, stop: threading.Event) -> None:
    """A viewer who reads everything."""
    headers = {"Authorization": f"Bearer {site.token}"}
    with httpx.stream("GET", f"{site.address}api/live", headers=headers, timeout=30) as answer:
        for _ in answer.iter_raw():
            if stop.is_set():
                return


PARTS: dict[str, Callable[[float], Iterator[Row]]] = {"age": age_added, "cpu": cpu_per_viewer}


def measure(options: Options) -> Iterator[Row]:
    """Both questions, one after the other."""
    for name in options.names:
        yield from PARTS[name](QUICK if options.quick else SECONDS)


if __name__ == "__main__":
    sys.exit(
        main(
            __doc__,
            Experiment(
                name="live_page",
                title="what the live page adds to an age, and what a viewer costs",
                measure=measure,
                names=list(PARTS),
                facts={"cameras": CAMERAS, "rate": RATE, "viewers": VIEWERS},
                needs_assets=False,
            ),
        )
    )
