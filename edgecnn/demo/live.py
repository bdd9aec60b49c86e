"""The end of the demo: the daemon watches two belts, as RTSP cameras where that works."""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import yaml
from rich.console import Console

from edgecnn.demo.clip import write_clip
from edgecnn.demo.scene import FPS, Scene
from edgecnn.demo.screenshot import take_screenshot
from edgecnn_bench.soak.cameras import ClipCameras, has_rtsp_server
from edgecnn_bench.soak.clips import write_clip as write_camera_clip
from edgecnn_bench.soak.daemon_process import DaemonProcess, free_port

SECONDS = 12
"""Length of a camera's clip, which begins again at its end."""
SHOWN_EVENTS = 6
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""What the watch list says of the digits; the class "none" is not on it."""
SHOWN_SECONDS = 6.0
"""How long the page is open before its picture is taken."""


def watch_belts(
    out: Path, bundle: Path, scenes: Sequence[Scene], *, keep: bool, console: Console
) -> dict[str, str]:
    """Serve a camera per scene, print where the page is, and take a picture of it.

    Args:
        out: The folder of the demo.
        bundle: What reads the digits.
        scenes: What the cameras film: the reading window, from near.
        keep: Go on until Ctrl-C.
        console: Where it is told.

    Returns:
        What each written file is, by name.

    Raises:
        EdgecnnError: The daemon does not start.
    """
    clips = {f"belt-{number}": out / f"belt-{number}.mp4" for number in range(1, len(scenes) + 1)}
    for clip, scene in zip(clips.values(), scenes, strict=True):
        pictures = min(SECONDS * FPS, scene.length)
        write_clip(scene, clip, range(pictures), near=True)
    state, port = out / "state", free_port()
    state.mkdir(mode=0o700, exist_ok=True)
    files = {"site.yaml": "what the daemon did: two cameras, one model, a file of events"}
    with ExitStack() as stack:
        sources = {name: str(clip.resolve()) for name, clip in clips.items()}
        if has_rtsp_server():
            encoded = {name: clip.with_suffix(".rtsp.mp4") for name, clip in clips.items()}
            for name, clip in clips.items():
                pictures = SECONDS * FPS
                write_camera_clip(clip, encoded[name], pictures=pictures, counter=False)
            cameras = stack.enter_context(ClipCameras(encoded, fps=FPS))
            sources = {name: cameras.url(name) for name in clips}
        site = out / "site.yaml"
        site.write_text(site_yaml(sources, bundle, state, port))
        known = "".join(f"{digit},{name}\n" for digit, name in enumerate(NAMES))
        (out / "digits.csv").write_text(f"text,name\n{known}")
        console.print(f"\n$ edgecnn serve {site}", style="bold cyan", markup=False, soft_wrap=True)
        daemon = stack.enter_context(DaemonProcess(site, state, port, log=out / "serve.log"))
        files["serve.log"] = "what the daemon wrote meanwhile"
        stay = "until Ctrl-C" if keep else "while the demo runs; --keep leaves it on"
        console.print(f"live page: {daemon.address}  ({stay})", markup=False)
        if take_screenshot(daemon.address, daemon.token, out / "live.png", SHOWN_SECONDS):
            files["live.png"] = "the live page"
        for event in reversed(daemon.events(type="recognized", limit=SHOWN_EVENTS)):
            console.print(f"{event['camera']}: {event['text']}, {event['name']}", markup=False)
        if keep:
            with suppress(KeyboardInterrupt):  # it may come before the daemon is waited for
                console.print(f"its token: edgecnn token {site}", markup=False, soft_wrap=True)
                daemon.wait()
        else:
            daemon.stop()
    return files


def site_yaml(sources: dict[str, str], bundle: Path, state: Path, port: int) -> str:
    """The site: every source a camera, with the same bundle."""
    site = {
        "cameras": {
            name: {"source": source, "pipeline": str(bundle.resolve()), "loop": "://" not in source}
            for name, source in sources.items()
        },
        "rules": [{"when": "recognized", "watchlist": "digits.csv"}],
        "sinks": {"log": {"kind": "jsonl", "file": str((state / "events.jsonl").resolve())}},
        "http": {"listen": f"127.0.0.1:{port}"},
        "state": str(state.resolve()),
    }
    return yaml.safe_dump(site, sort_keys=False)
