"""The daemon: what it serves, and what becomes of it when its site changes."""

import json
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from edgecnn_runtime.config import SIZE_LIMIT
from edgecnn_runtime.daemon.site import load_site
from edgecnn_runtime.daemon.supervisor import Daemon
from edgecnn_runtime.errors import ConfigError, EditConflictError, UnknownCameraError
from edgecnn_runtime.types import Event
from edgecnn_runtime.web.operations import CameraAreas, EventQuery, areas_revision
from edgecnn_runtime.web.tokens import load_tokens

Serve = Callable[[], Daemon]
Until = Callable[..., None]


def events(daemon: Daemon, **query: Any) -> list[Event]:
    return list(daemon.events(EventQuery(**query)))


def is_live(daemon: Daemon) -> bool:
    cameras = daemon.cameras()
    return all(camera.state == "live" and camera.stats.frames for camera in cameras)


def test_cameras_become_events_and_views(serve: Serve, until: Until, site: Path) -> None:
    site.write_text(site.read_text() + "keep: {frame_size: 320}\n")
    daemon = serve()
    seen: list[str] = []
    end = daemon.subscribe(seen.append)
    until(lambda: {each.camera for each in events(daemon, type="left")} == {"gate", "yard"}, "left")
    end()
    assert {"gate", "yard"} == set(seen)
    view = daemon.view("gate", timeout=10)
    assert view is not None
    newer = daemon.view("gate", after=view.result.frame.index, timeout=10)
    assert newer is not None
    assert newer.result.frame.index != view.result.frame.index
    entered = next(each for each in events(daemon, type="entered", camera="gate"))
    assert entered.label
    crop = daemon.evidence(entered.id, "crop")
    assert crop is not None
    assert crop.is_file()
    frame = daemon.evidence(entered.id, "frame")
    assert frame is not None
    assert cv2.imread(str(frame)).shape == (240, 320, 3)  # of 640x480
    assert daemon.event(entered.id) == entered
    first, *others = events(daemon, limit=3)
    assert events(daemon, before=first.id, limit=2) == others
    assert first not in events(daemon, before=first.id)
    assert events(daemon, after=others[-1].id)[-1] in [first, *others]
    assert daemon.ready() == ""
    figures = daemon.figures()
    assert figures.outbox_events > 0
    assert [sink.name for sink in figures.sinks] == ["log"]
    log = site.parent / "events.jsonl"
    until(lambda: log.exists() and '"left"' in log.read_text(), "the sink")
    states = [json.loads(line)["type"] for line in log.read_text().splitlines()]
    assert "camera" in states, "a change of state is an event"


def test_an_unchanged_camera_does_not_blink(serve: Serve, until: Until, site: Path) -> None:
    daemon = serve()
    until(lambda: is_live(daemon), "the cameras")
    before = {camera.name: camera for camera in daemon.cameras()}
    text = site.read_text().replace("  yard:", "  back:").replace("level: info", "level: debug")
    site.write_text(text)
    daemon.reload()
    until(lambda: is_live(daemon), "the new camera")
    gate, back = daemon.cameras()
    assert (gate.name, back.name) == ("gate", "back")
    assert gate.since == before["gate"].since
    assert gate.stats.frames >= before["gate"].stats.frames
    assert gate.reconnects == 0
    with pytest.raises(UnknownCameraError, match="there are: gate, back"):
        daemon.view("yard")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  yard:", "  yard: 5\n  x:", "cameras.yard: expected keys"),
        ("green.mp4", "gone.mp4", "site.yaml:4: cameras.yard.source: .*gone.mp4"),
        ("state: state", "timezone: Nowhere/At_all", "timezone: there is no such time zone"),
    ],
)
def test_an_invalid_file_is_rejected_whole(
    serve: Serve, until: Until, site: Path, old: str, new: str, message: str
) -> None:
    daemon = serve()
    until(lambda: is_live(daemon), "the cameras")
    site.write_text(site.read_text().replace("  gate:", "  other:").replace(old, new))
    with pytest.raises(ConfigError, match=message):
        daemon.reload()
    assert [camera.name for camera in daemon.cameras()] == ["gate", "yard"]
    frames = daemon.cameras()[0].stats.frames
    until(lambda: daemon.cameras()[0].stats.frames > frames, "the old camera goes on")


def test_a_saved_file_is_read_by_itself(serve: Serve, until: Until, site: Path) -> None:
    daemon = serve()
    ended = threading.Event()

    def reload_soon() -> None:
        until(lambda: is_live(daemon), "the cameras")
        site.write_text("nonsense: 1\n" + site.read_text())
        site.write_text(site.read_text().replace("nonsense: 1\n", "").replace("  yard:", "  back:"))
        until(lambda: daemon.cameras()[-1].name == "back", "the change")
        ended.set()
        daemon.stop()

    thread = threading.Thread(target=reload_soon)
    thread.start()
    daemon.run()
    thread.join()
    assert ended.is_set()


def test_a_changed_page_is_opened_anew(serve: Serve, until: Until, site: Path) -> None:
    daemon = serve()
    before = daemon.address
    site.write_text(site.read_text().replace('"127.0.0.1:0"', '"127.0.0.1:0", auth: false'))

    def is_open() -> bool:
        daemon.look()
        request = urllib.request.Request(f"{daemon.address}api/cameras")
        try:
            return bool(urllib.request.urlopen(request, timeout=60).status == 200)
        except urllib.error.HTTPError:
            return False

    until(is_open, "a page that asks for no token")
    assert daemon.address == before
    assert all(camera.reconnects == 0 for camera in daemon.cameras())


def test_new_tokens_end_the_old_ones(serve: Serve, until: Until, site: Path) -> None:
    daemon = serve()
    state = site.parent / "state"

    def answer(token: str) -> int:
        request = urllib.request.Request(f"{daemon.address}api/cameras")
        request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return error.code

    old = load_tokens(state)
    assert answer(old.viewer) == 200
    new = load_tokens(state, rotate=True)
    daemon.look()
    assert (answer(old.viewer), answer(new.viewer)) == (401, 200)
    (state / "viewer.token").chmod(0o644)
    (state / "viewer.token").write_text("x" * 40)
    daemon.look()
    assert "chmod 600" in daemon.ready()
    (state / "viewer.token").chmod(0o600)
    daemon.look()
    assert daemon.ready() == ""
    assert answer("x" * 40) == 200


def test_zones_are_written_and_used(serve: Serve, until: Until, site: Path) -> None:
    daemon = serve()
    until(lambda: is_live(daemon), "the cameras")
    everything = CameraAreas(zones={"all": ((0, 0), (1, 0), (1, 1), (0, 1))})
    since = daemon.cameras()[0].since
    daemon.set_areas("gate", everything)
    assert daemon.areas("gate") == everything
    text = site.read_text()
    assert "# the front" in text
    assert "# two clips as cameras" in text
    assert load_site(site).site.cameras["gate"].zones == everything.zones
    until(
        lambda: any(each.zone == "all" for each in events(daemon, camera="gate")), "an event in it"
    )
    assert daemon.cameras()[0].since == since
    with pytest.raises(ConfigError, match="encloses nothing"):
        daemon.set_areas("gate", CameraAreas(mask=(((0, 0), (1, 0), (0.5, 0)),)))
    assert site.read_text() == text
    daemon.set_areas("gate", CameraAreas())
    assert "zones" not in site.read_text()


def test_areas_are_changed_only_by_who_has_seen_them(serve: Serve, site: Path) -> None:
    daemon, lane = serve(), ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9))
    seen = areas_revision(daemon.areas("gate"))
    daemon.set_areas("gate", CameraAreas(zones={"first": lane}), {seen})
    text = site.read_text()
    with pytest.raises(EditConflictError, match="gate: somebody else has changed"):
        daemon.set_areas("gate", CameraAreas(zones={"second": lane}), {seen})
    assert site.read_text() == text
    daemon.set_areas("gate", CameraAreas(), {areas_revision(daemon.areas("gate"))})


def test_no_file_is_written_that_could_not_be_read(serve: Serve, site: Path) -> None:
    text = site.read_text()
    site.write_text(text + "#" * (SIZE_LIMIT - len(text) - 100))
    daemon = serve()
    lane = ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9))
    with pytest.raises(ConfigError, match="KiB"):
        daemon.set_areas("gate", CameraAreas({f"lane{number}": lane for number in range(9)}))
    assert load_site(site).text == daemon.file.text


def test_a_link_to_the_file_stays_one(serve: Serve, site: Path) -> None:
    elsewhere = site.parent / "elsewhere"
    elsewhere.mkdir()
    site.rename(elsewhere / "real.yaml")
    site.symlink_to(elsewhere / "real.yaml")
    lane = ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9))
    serve().set_areas("gate", CameraAreas({"lane": lane}))
    assert site.is_symlink()
    assert "lane" in (elsewhere / "real.yaml").read_text()


def test_what_somebody_else_wrote_is_not_overwritten(
    serve: Serve, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = serve()
    text = site.read_text()
    site.write_text(text + "# half a thought: {\n")
    with pytest.raises(ConfigError, match="was changed meanwhile"):
        daemon.set_areas("gate", CameraAreas(zones={"all": ((0, 0), (1, 0), (1, 1))}))
    assert site.read_text().endswith("{\n")
    site.write_text(text)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(ConfigError, match="cannot be written: Read-only file system"):
        daemon.set_areas("gate", CameraAreas(zones={"all": ((0, 0), (1, 0), (1, 1))}))
    monkeypatch.undo()
    assert daemon.areas("gate") == CameraAreas()
    assert site.read_text() == text


def test_cameras_are_added_and_removed(serve: Serve, until: Until, site: Path) -> None:
    daemon = serve()
    bundle = site.parent / "blobs.edge"
    shutil.copytree(load_site(site).site.cameras["gate"].pipelines[0], bundle)
    daemon.add_camera("new", {"source": "rtsp://127.0.0.1:9/x", "pipeline": "blobs.edge"})
    assert [camera.name for camera in daemon.cameras()] == ["gate", "yard", "new"]
    until(lambda: daemon.cameras()[2].reason, "the reason why it cannot be reached")
    assert daemon.cameras()[2].state in {"connecting", "backing-off"}
    daemon.remove_camera("new")
    assert "new" not in site.read_text()
    text = site.read_text()
    for config, message in [
        ({"source": "red.mp4", "pipeline": "blobs.edge"}, "only cameras and network streams"),
        ({"source": "gst:filesrc location=/etc/passwd", "pipeline": "blobs.edge"}, "only cameras"),
        ({"source": "rtsp://a/", "pipeline": "/etc/x.yaml"}, "must lie in the folder"),
        ({"source": "rtsp://a/", "pipeline": "gone.edge"}, "no such bundle"),
        ({"source": {"file": "/etc/shadow"}, "pipeline": "blobs.edge"}, "source: expected text"),
        ({"source": "rtsp://a/", "pipeline": "blobs.edge", "rats": 1}, "did you mean rate"),
    ]:
        with pytest.raises(ConfigError, match=message):
            daemon.add_camera("bad", config)
    with pytest.raises(ConfigError, match="one of this name already"):
        daemon.add_camera("gate", {"source": "rtsp://a/", "pipeline": "blobs.edge"})
    assert site.read_text() == text


def test_a_paused_camera_is_not_read(serve: Serve, until: Until) -> None:
    daemon = serve()
    until(lambda: is_live(daemon), "the cameras")
    daemon.pause("gate", True)
    until(lambda: daemon.cameras()[0].state == "paused", "the pause")
    assert daemon.view("gate") is None, "an old picture is not shown"
    daemon.pause("gate", False)
    until(lambda: daemon.cameras()[0].state == "live", "its end")
