"""A daemon in this process, so that its threads and results can be looked at from inside.

``edgecnn serve`` runs in the main thread as it always does; what measures it runs beside it, and
ends it as a service manager would.
"""

import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from edgecnn.cli import main
from edgecnn_bench.soak.clips import read_counter
from edgecnn_bench.soak.process import thread_seconds
from edgecnn_runtime.inference import ModelInference
from edgecnn_runtime.model import Model
from edgecnn_runtime.source.decoder import VideoDecoder
from edgecnn_runtime.source.network import NetworkStream
from edgecnn_runtime.types import FrameResult


class Results:
    """Every result of the daemon, as it leaves the model.

    Attributes:
        entries: Source, counter in the picture, and when the result was there.
    """

    def __init__(self) -> None:
        self.entries: list[tuple[str, int, float]] = []
        original = ModelInference.__call__

        def call(inference: ModelInference, frames: Any, /) -> list[FrameResult]:
            results = original(inference, frames)
            now = time.monotonic()
            self.note(results, now)
            return results

        ModelInference.__call__ = call  # type: ignore[method-assign] # an experiment looks in

    def note(self, results: list[FrameResult], now: float) -> None:
        """Results that are there now."""
        for result in results:
            self.entries.append((result.frame.source, read_counter(result.frame.pixels), now))


class OutsideTime:
    """Processor time of each thread within decoding and within the engine."""

    def __init__(self) -> None:
        self._seconds: defaultdict[int, float] = defaultdict(float)
        self._time(NetworkStream, "read")
        self._time(VideoDecoder, "to_bgr")
        self._time(Model, "infer")
        self._time(Results, "note")

    def own(self) -> dict[str, float]:
        """Seconds so far of each thread, by its name, without those and without measuring.

        The caller's is left out, and so are threads that Python did not start: the engine's.
        """
        caller = threading.current_thread()
        names = {each.native_id: each.name for each in threading.enumerate() if each is not caller}
        seconds: defaultdict[str, float] = defaultdict(float)
        for number, total in thread_seconds(os.getpid()).items():
            if number in names:
                seconds[names[number]] += total - self._seconds[number]
        return dict(seconds)

    def _time(self, kind: type, method: str) -> None:
        original = getattr(kind, method)

        def timed(*arguments: Any) -> Any:
            start = time.thread_time()
            try:
                return original(*arguments)
            finally:
                self._seconds[threading.get_native_id()] += time.thread_time() - start

        setattr(kind, method, timed)


def serve_beside(site: Path, measure: Callable[[], None]) -> None:
    """Serve a site in the main thread until ``measure`` has returned.

    Raises:
        Exception: What ``measure`` raised.
        RuntimeError: The daemon did not end well.
    """
    problem: list[BaseException] = []

    def work() -> None:
        try:
            measure()
        except BaseException as error:  # raised again below
            problem.append(error)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=work, name="experiment").start()
    code = main(["serve", str(site)])
    if problem:
        raise problem[0]
    if code:
        raise RuntimeError(f"edgecnn serve ended with {code}")


def write_site(
    folder: Path, addresses: dict[str, str], bundle: Path, *, rate: float | None, port: int
) -> Path:
    """A site of cameras with one bundle, as site.yaml in a folder."""
    (folder / "state").mkdir(mode=0o700, exist_ok=True)
    limit = {} if rate is None else {"rate": rate}
    site = {
        "cameras": {
            name: {"source": address, "pipeline": str(bundle), **limit}
            for name, address in addresses.items()
        },
        "sinks": {"log": {"kind": "jsonl", "file": str(folder / "events.jsonl")}},
        "http": {"listen": f"127.0.0.1:{port}"},
        "state": str(folder / "state"),
    }
    file = folder / "site.yaml"
    file.write_text(yaml.safe_dump(site, sort_keys=False))
    return file
