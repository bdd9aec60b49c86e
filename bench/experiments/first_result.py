"""How long after its start does the daemon have its first result?

`edgecnn serve` with one camera, an RTSP server that films already: seconds from the start of the
process to the first result that its API counts. The first start measures nothing before (an empty
state folder); later ones find what the first one stored. Reached: ≤ 2 s, the median.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from lib.daemon import write_site
from lib.experiment import Experiment, Options, Row, main
from lib.material import ASSETS, export_yunet, video_frames

from edgecnn_bench.soak.cameras import ClipCameras
from edgecnn_bench.soak.clips import write_clip
from edgecnn_bench.soak.daemon_process import DaemonProcess, free_port
from edgecnn_runtime.source import open_source

STARTS, QUICK = 9, 2
GOAL_S = 2.0


def measure(options: Options) -> Iterator[Row]:
    """The first start and the median of the others."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # pip compiles what it installs, too
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = export_yunet(folder, video_frames())
        clip = folder / "clip.mp4"
        write_clip(ASSETS / "faces" / "video.mp4", clip)
        with ClipCameras({"gate": clip}) as cameras:
            address = cameras.url("gate")
            with open_source(address) as watched:  # somebody looks, so the camera films already
                next(iter(watched))
                runs = [
                    start(folder, address, bundle)
                    for _ in range(1 + (QUICK if options.quick else STARTS))
                ]
    yield {"what": "the first start", "unit": "s", "value": runs[0], "goal": GOAL_S}
    yield {
        "what": "later starts, the median", "unit": "s", "value": float(np.median(runs[1:])),
        "goal": GOAL_S, "runs": runs[1:],
    }  # fmt: skip


def start(folder: Path, address: str, bundle: Path) -> float:
    """Seconds from the start of a daemon to its first result."""
    port = free_port()
    site = write_site(folder, {"gate": address}, bundle, rate=None, port=port)
    begin = time.monotonic()
    with DaemonProcess(site, folder / "state", port, log=folder / "log") as daemon:
        while not daemon.cameras()[0]["stats"]["frames"]:
            time.sleep(0.01)
        seconds = time.monotonic() - begin
        daemon.stop()
    return seconds


if __name__ == "__main__":
    experiment = Experiment(
        name="first_result", title="from start to first result", measure=measure
    )
    sys.exit(main(__doc__, experiment))
