"""Six cameras on two cores: how old is a result, what does the daemon cost, and who is served?

The face clip, 1080p H.264 at 25 fps with a counter drawn into it, is played by a real RTSP server
as six cameras. YuNet looks at 640x352. "5 a second" limits each camera to 5 results a second;
"every frame" does not. A result's age is the time from when the server sent the picture with that
counter until the model's result. "Bare" is the same decoding and the same engine in a loop
without the daemon: no tracker, outbox, rules, pages or metrics. The daemon's own time is that of
its threads less what they spend in decoding and in the engine.
"""

import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lib.daemon import OutsideTime, Results, serve_beside, write_site
from lib.experiment import Experiment, Options, Row, main
from lib.fresh_process import in_fresh_process
from lib.material import ASSETS, export_yunet, video_frames

from edgecnn_bench.soak.cameras import ClipCameras
from edgecnn_bench.soak.clips import write_clip
from edgecnn_bench.soak.daemon_process import free_port
from edgecnn_runtime import load
from edgecnn_runtime.inference import ModelInference
from edgecnn_runtime.source import open_source
from edgecnn_runtime.types import Frame

CAMERAS, FPS, RATE = 6, 25.0, 5.0
SECONDS, QUICK = 60.0, 6.0
SETTLED = 3.0
"""Seconds after the first result in which nothing is counted: caches fill, streams catch up."""
PATIENCE = 120.0
AGE_MS, SHARE, LEAST_SERVED, OWN_CPU, UNCOUNTED = 300.0, 0.85, 0.8, 0.10, 0.01


def measure(options: Options) -> Iterator[Row]:
    """Both rates with the daemon, and the second one without it."""
    seconds = QUICK if options.quick else SECONDS
    sent: dict[tuple[str, int], list[float]] = {}

    def announce(camera: str, number: int, at: float) -> None:
        sent.setdefault((camera, number), []).append(at)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = export_yunet(folder, video_frames(), more="")
        clip = folder / "clip.mp4"
        write_clip(ASSETS / "faces" / "video.mp4", clip, fps=FPS)
        clips = {f"camera-{number}": clip for number in range(CAMERAS)}
        with ClipCameras(clips, fps=FPS, announce=announce) as cameras:
            addresses = {name: cameras.url(name) for name in clips}
            limited, free = (
                in_fresh_process(daemon, str(folder / each), addresses, str(bundle), rate, seconds)
                for each, rate in (("limited", RATE), ("free", None))
            )
            bare_rate = in_fresh_process(bare, list(addresses.values()), str(bundle), seconds)
    rate = sum(free["served"].values()) / free["seconds"]
    for what, run in (("5 a second", limited), ("every frame", free)):
        ages = 1000 * np.array(list(result_ages(run["results"], sent, addresses)))
        percentiles = {f"p{q}": float(np.percentile(ages, q)) for q in (50, 95, 99)}
        yield row(f"{what}: age of a result, p99", "ms", percentiles["p99"], AGE_MS, **percentiles)
    for what, run in (("5 a second", limited), ("every frame", free)):
        share = uncounted(run)
        yield row(
            f"{what}: frames neither used nor counted", "of all", share, UNCOUNTED, **run["counts"]
        )
    yield row("every frame: results a second, of bare", "", rate / bare_rate, SHARE, at_least=True,
              with_daemon=rate, bare=bare_rate)  # fmt: skip
    served = list(free["served"].values())
    least = min(served) / np.mean(served)
    yield row("every frame: the least served camera, of the mean", "", least, LEAST_SERVED,
              at_least=True, served=served)  # fmt: skip
    own = {name: value / limited["seconds"] for name, value in limited["own"].items()}
    yield row(
        "5 a second: the daemon's own threads", "cores", sum(own.values()), OWN_CPU, threads=own
    )


def row(
    what: str, unit: str, value: float, goal: float, *, at_least: bool = False, **more: Any
) -> Row:
    """A figure and its goal."""
    return {"what": what, "unit": unit, "value": value, "goal": goal, "at_least": at_least, **more}


def daemon(
    folder: str, addresses: dict[str, str], bundle: str, rate: float | None, seconds: float
) -> dict[str, Any]:
    """Serve for so long, in this process: its results, counters and processor time."""
    results, outside, port = Results(), OutsideTime(), free_port()
    Path(folder).mkdir()
    site = write_site(Path(folder), addresses, Path(bundle), rate=rate, port=port)
    answer: dict[str, Any] = {}

    def watch() -> None:
        wait_for_all(results, len(addresses))
        time.sleep(SETTLED)
        first, before, own = len(results.entries), counters(port), outside.own()
        start = time.monotonic()
        time.sleep(seconds)
        elapsed = time.monotonic() - start
        last, after, own_after = len(results.entries), counters(port), outside.own()
        answer.update(
            seconds=elapsed,
            results=results.entries[first:last],
            served={name: after[name][0] - before[name][0] for name in addresses},
            counts={
                name: [
                    FPS * elapsed,
                    *(b - a for a, b in zip(before[name], after[name], strict=True)),
                ]
                for name in addresses
            },
            own={name: total - own.get(name, 0.0) for name, total in own_after.items()},
        )

    serve_beside(site, watch)
    return answer


def wait_for_all(results: Results, cameras: int) -> None:
    """Until every camera has had a result."""
    end = time.monotonic() + PATIENCE
    while len({source for source, _, _ in list(results.entries)}) < cameras:
        if time.monotonic() > end:
            raise RuntimeError("not every camera has had a result")
        time.sleep(0.1)


def counters(port: int) -> dict[str, tuple[int, int]]:
    """Frames with a result and frames that were dropped, by camera, as the API counts them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    counts: dict[str, list[int]] = {}
    for line in text.splitlines():
        name, _, rest = line.partition("{")
        if name in {"edgecnn_frames_total", "edgecnn_frames_dropped_total"}:
            labels, _, value = rest.rpartition("} ")
            camera = labels.partition('camera="')[2].partition('"')[0]
            counts.setdefault(camera, [0, 0])["dropped" in name] += int(float(value))
    return {camera: (used, dropped) for camera, (used, dropped) in counts.items()}


def bare(addresses: Sequence[str], bundle: str, seconds: float) -> float:
    """Results a second of the same decoding and engine in a loop; nothing else."""
    newest: dict[str, Frame] = {}
    fresh = threading.Condition()

    def read(address: str) -> None:
        with open_source(address) as source:
            for frame in source:
                with fresh:
                    newest[address] = frame
                    fresh.notify()

    for address in addresses:
        threading.Thread(target=read, args=(address,), daemon=True).start()
    with load(bundle) as model:
        infer, served = ModelInference(model), Counter[str]()

        def run_until(end: float) -> int:
            count = 0
            while time.monotonic() < end:
                with fresh:
                    if not newest:
                        fresh.wait(1.0)
                        continue
                    address = min(newest, key=lambda each: served[each])
                    frame = newest.pop(address)
                infer([frame])
                served[address] += 1
                count += 1
            return count

        while len(served) < len(addresses):
            run_until(time.monotonic() + 0.2)
        run_until(time.monotonic() + SETTLED)
        start = time.monotonic()
        count = run_until(start + seconds)
        return count / (time.monotonic() - start)


def result_ages(
    results: Sequence[tuple[str, int, float]],
    sent: dict[tuple[str, int], list[float]],
    addresses: dict[str, str],
) -> Iterator[float]:
    """Seconds from when the picture was sent, the last time before the result, to its result."""
    names = {address: name for name, address in addresses.items()}
    for source, number, at in results:
        before = [each for each in sent.get((names[source], number), ()) if each <= at]
        if before:
            yield at - before[-1]


def uncounted(run: dict[str, Any]) -> float:
    """The part of the frames that were sent and neither had a result nor count as dropped."""
    expected, used, dropped = np.array(list(run["counts"].values())).sum(axis=0)
    return abs(1 - float((used + dropped) / expected))


def reached(row: Row) -> bool:
    """Whether the goal holds, as a least or a largest value."""
    return bool(row["value"] >= row["goal"] if row["at_least"] else row["value"] <= row["goal"])


def by_thread(rows: Sequence[Row]) -> Iterator[str]:
    """Which of the daemon's threads take the time."""
    threads = {name: value for row in rows for name, value in row.get("threads", {}).items()}
    for name, cores in sorted(threads.items(), key=lambda item: -item[1])[:8]:
        yield f"{100 * cores:.1f} % of a core: {name}"


if __name__ == "__main__":
    experiment = Experiment(
        name="serve_cameras",
        title="six cameras",
        measure=measure,
        reached=reached,
        notes=by_thread,
        columns={
            "": "{what}",
            "measured": "{value:.3g} {unit}",
            "goal": lambda row: f"{'≥' if row['at_least'] else '≤'} {row['goal']:g} {row['unit']}",
        },
        facts={"cameras": CAMERAS, "fps": FPS, "rate": RATE, "seconds": SECONDS},
    )
    sys.exit(main(__doc__, experiment))
