"""What a soak is made of: its site, its plan, its sink, its eyes, and what it says in the end."""

import json
import time
import urllib.error
import urllib.request
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from edgecnn_bench.soak.clips import draw_counter
from edgecnn_bench.soak.faults import KINDS, OF_A_CAMERA, Fault, plan
from edgecnn_bench.soak.jumping_clock import let_jump
from edgecnn_bench.soak.receiver import WebhookReceiver
from edgecnn_bench.soak.report import Check, SoakReport
from edgecnn_bench.soak.site import clip_of, largest, read_cameras, soak_site
from edgecnn_runtime.daemon.site import parse_site
from edgecnn_runtime.errors import UsageError

SITE = """
cameras:
  gate:
    source: rtsp://camera.example/main
    detect_source: rtsp://camera.example/sub
    credentials: {file: gate.credentials}
    pipeline: plates.yaml
    rate: 5
    max_age: 0.3
    zones: {lane: [[0, 0], [1, 0], [1, 1]]}
  yard: {source: clip.mp4, pipeline: [faces.edge], loop: true, read_timeout: 20}
rules:
  - {when: entered, zone: lane}
sinks:
  police: {kind: webhook, url: "https://police.example/", secret: {file: secret}}
http: {listen: "0.0.0.0:8090", certificate: a.pem, key: b.pem}
state: /var/lib/edgecnn
"""
ADDRESSES = {"gate": "rtsp://127.0.0.1:5/gate", "yard": "rtsp://127.0.0.1:6/yard"}


def of(text: str) -> Any:
    made = soak_site(text, ADDRESSES, state=Path("/tmp/s"), port=7, webhook="http://127.0.0.1:8/e")
    return yaml.safe_load(made)


def test_a_soak_opens_no_camera_and_tells_nobody() -> None:
    site = of(SITE)
    assert {name: each["source"] for name, each in site["cameras"].items()} == ADDRESSES
    assert "example" not in json.dumps(site)
    assert "file" not in json.dumps(site), "no secret is read"
    assert site["http"] == {"listen": "127.0.0.1:7"}
    assert site["state"] == "/tmp/s"
    assert [each["url"] for each in site["sinks"].values()] == ["http://127.0.0.1:8/e"]


def test_a_soak_changes_nothing_else_of_a_site() -> None:
    made, before = of(SITE), yaml.safe_load(SITE)
    for key in ("pipeline", "rate", "max_age", "zones"):
        assert made["cameras"]["gate"][key] == before["cameras"]["gate"][key]
    assert made["cameras"]["yard"]["pipeline"] == ["faces.edge"]
    assert made["cameras"]["yard"]["read_timeout"] == 20
    assert made["rules"] == before["rules"]
    assert largest(SITE, "max_age", 0.5) == 0.5
    assert largest(SITE, "read_timeout", 10.0) == 20


@pytest.mark.parametrize(
    "text", ["cameras: [", "- a", "cameras: [a]", "cameras: {a: 5}", "cameras: {a: }", "word"]
)
def test_what_is_not_a_site_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="serve --check"):
        read_cameras(text)


def test_what_yaml_1_1_reads_otherwise_stays() -> None:
    text = SITE.replace("yaml\n    rate", "yaml\n    flip: h\n    rate").replace("yard:", "on:")
    rules = "schedule: {from: 06:00, to: 22:00}"
    made = soak_site(
        text.replace("zone: lane}", f"zone: lane, {rules}}}"), {**ADDRESSES, "on": "rtsp://h/y"},
        state=Path("/tmp/s"), port=7, webhook="http://127.0.0.1:8/e",
    )  # fmt: skip
    assert "from: 06:00" in made
    assert set(parse_site(made, Path("/tmp/site.yaml")).site.cameras) == {"gate", "on"}


def test_a_site_without_cameras_is_refused() -> None:
    with pytest.raises(UsageError, match="no cameras"):
        of("cameras: {}")


def test_a_camera_that_is_a_file_plays_it(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()
    cameras = read_cameras(SITE)
    assert clip_of(cameras["yard"], tmp_path) == tmp_path / "clip.mp4"
    assert clip_of(cameras["gate"], tmp_path) is None


def faults(seed: int, count: int) -> list[Fault]:
    return list(islice(plan(["gate", "yard", "door"], KINDS, seed), count))


def test_every_fault_comes_once_a_round_in_an_order_that_the_seed_repeats() -> None:
    rounds = 20
    made = faults(1, rounds * len(KINDS))
    assert Counter(fault.kind for fault in made) == dict.fromkeys(KINDS, rounds)
    assert made == faults(1, len(made))
    assert made != faults(2, len(made))
    for fault in made:
        assert bool(fault.cameras) == (fault.kind in OF_A_CAMERA or fault.kind == "server")
        assert 0 <= fault.seconds <= 10


def post(url: str, body: bytes) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_webhook_takes_refuses_and_is_slow() -> None:
    body = json.dumps([{"id": "a"}, {"id": "b"}]).encode()
    with WebhookReceiver() as receiver:
        assert post(receiver.url, body) == 204
        receiver.mood = "refuses"
        assert post(receiver.url, body) == 503
        receiver.mood = "slow"
        start = time.monotonic()
        assert post(receiver.url, json.dumps({"events": [{"id": "c"}]}).encode()) == 204
        assert time.monotonic() - start > 1
    assert receiver.ids == ["a", "b", "c"]


def test_a_viewer_knows_how_old_a_picture_is(tmp_path: Path) -> None:
    pytest.importorskip("starlette")
    from edgecnn_bench.soak.viewer import SendTimes, Viewer
    from edgecnn_runtime.types import Frame, FrameResult, Timings
    from edgecnn_runtime.web.fake import FakeOperations
    from edgecnn_runtime.web.operations import LiveView
    from edgecnn_runtime.web.server import WebServer
    from edgecnn_runtime.web.settings import WebSettings
    from edgecnn_runtime.web.tokens import load_tokens

    operations, tokens, sent = FakeOperations("gate", "yard"), load_tokens(tmp_path), SendTimes()
    server = WebServer(operations, WebSettings(port=0), tokens)
    server.start()
    try:
        with Viewer(server.address.rstrip("/"), tokens.viewer, ["gate"], sent) as viewer:
            number, end = 0, time.monotonic() + 60
            while len(viewer.ages) < 5 and time.monotonic() < end:
                pixels = np.full((360, 640, 3), 90, np.uint8)
                draw_counter(pixels, number)
                sent("gate", number, time.monotonic() - 3.0)
                frame = Frame(pixels, number, time.monotonic(), None, "rtsp://x", live=True)
                result = FrameResult(frame, "detect", [], 0.1, Timings(0, 0, 0, 0))
                operations.show("gate", LiveView(result))
                operations.show("yard", LiveView(result))
                number += 1
                time.sleep(0.05)
        assert len(viewer.ages) >= 5
        assert all(3 <= age < 30 for age in viewer.ages)
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("value", "limit", "passed"), [(1.0, 2.0, True), (3.0, 2.0, False), (3.0, None, True)]
)
def test_a_missed_limit_fails_the_soak(value: float, limit: float | None, passed: bool) -> None:
    check = Check(what="recovery", value=value, limit=limit, unit="s")
    report = SoakReport(
        minutes=1, seed=1, cameras=2, events=3, reconnects=4, faults=[],
        checks=[Check(what="stop", value=0, limit=3, unit="s"), check],
    )  # fmt: skip
    assert report.passed is passed


def test_the_wall_clock_jumps_and_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", time.time)  # put back at the end
    offset = tmp_path / "offset"
    offset.write_text("0")
    before, monotonic = time.time(), time.monotonic()
    let_jump(offset)
    assert 0 <= time.time() - before < 60
    offset.write_text("3600")
    assert 3600 <= time.time() - before < 3660
    offset.write_text("-3600")
    assert -3600 <= time.time() - before < -3540
    assert time.monotonic() - monotonic < 60
