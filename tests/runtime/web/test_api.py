"""The API over HTTP: what it answers, whom, and how it fails."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("uvicorn", reason="needs the serve extra")
import httpx

from edgecnn_runtime.errors import ConfigError
from edgecnn_runtime.types import Event
from edgecnn_runtime.web.fake import FakeOperations
from edgecnn_runtime.web.operations import CameraAreas, LiveView
from edgecnn_runtime.web.settings import MAX_BODY

if TYPE_CHECKING:
    from edgecnn_runtime.web.server import WebServer

LANE = [[0.1, 0.4], [0.9, 0.4], [0.9, 1.0]]
Headers = dict[str, str]


def is_problem(answer: Any, status: int) -> bool:
    """A problem of this status, without a traceback."""
    assert (answer.status_code, answer.headers["content-type"]) == (
        status, "application/problem+json"
    )  # fmt: skip
    assert answer.json()["status"] == status
    assert "Traceback" not in answer.text
    return True


def test_health_is_open_and_readiness_keeps_its_reason(
    client: Any, viewer: Headers, operations: FakeOperations
) -> None:
    assert client.get("healthz").json()["status"] == "ok"
    assert client.get("readyz").status_code == 200
    operations.problem = "gate has no model"
    answer = client.get("readyz")
    assert (answer.status_code, "gate" in answer.text) == (503, False)
    assert client.get("readyz", headers=viewer).json()["reason"] == "gate has no model"
    assert client.get("healthz").status_code == 200


@pytest.mark.parametrize("path", ["api/cameras", "api/events", "api/status", "api/openapi.json"])
def test_a_stranger_sees_nothing(client: Any, path: str) -> None:
    assert is_problem(client.get(path), 401)
    assert "bearer" in client.get(path).headers["www-authenticate"].lower()


def test_a_viewer_changes_nothing(client: Any, viewer: Headers, operations: FakeOperations) -> None:
    for method, path in (
        ("POST", "api/reload"), ("POST", "api/cameras/gate/pause"), ("DELETE", "api/cameras/gate"),
        ("PUT", "api/cameras/gate/areas"), ("POST", "api/cameras"),
    ):  # fmt: skip
        assert is_problem(client.request(method, path, headers=viewer), 403)
    assert [status.state for status in operations.cameras()] == ["live", "live"]
    assert operations.reloads == 0


def test_cameras_are_paused_resumed_added_and_removed(client: Any, operator: Headers) -> None:
    def states() -> dict[str, str]:
        answer = client.get("api/cameras", headers=operator).json()
        return {camera["name"]: camera["state"] for camera in answer}

    assert client.post("api/cameras/gate/pause", headers=operator).status_code == 204
    assert states() == {"gate": "paused", "yard": "live"}
    assert client.post("api/cameras/gate/resume", headers=operator).status_code == 204
    new = {"name": "door", "config": {"source": "rtsp://door/1", "pipeline": "faces.edge"}}
    answer = client.post("api/cameras", json=new, headers=operator)
    assert (answer.status_code, answer.json()["state"]) == (201, "connecting")
    assert is_problem(client.post("api/cameras", json=new, headers=operator), 409)
    assert client.delete("api/cameras/yard", headers=operator).status_code == 204
    assert states() == {"gate": "live", "door": "connecting"}
    assert is_problem(client.get("api/cameras/yard", headers=operator), 404)


def test_what_the_daemon_refuses_is_a_problem_with_its_words(
    client: Any, operator: Headers, operations: FakeOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = {"name": "door", "config": {"sauce": 1}}
    answer = client.post("api/cameras", json=new, headers=operator)
    assert is_problem(answer, 422)
    assert "lacks the key source" in answer.json()["detail"]

    def refuse() -> None:
        raise ConfigError("site.yaml:3: cameras.gate: unknown key 'sauce'")

    monkeypatch.setattr(operations, "reload", refuse)
    answer = client.post("api/reload", headers=operator)
    assert is_problem(answer, 422)
    assert "site.yaml:3" in answer.json()["detail"]


def test_a_defect_is_a_problem_without_a_traceback(
    client: Any, operator: Headers, operations: FakeOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("rtsp://user:secret@gate/1")

    monkeypatch.setattr(operations, "reload", fail)
    answer = client.post("api/reload", headers=operator)
    assert is_problem(answer, 500)
    assert "secret" not in answer.text
    assert client.get("healthz").status_code == 200


def test_areas_that_somebody_else_has_changed_are_not_overwritten(
    client: Any, operator: Headers, operations: FakeOperations
) -> None:
    path = "api/cameras/gate/areas"
    seen = client.get(path, headers=operator).headers["ETag"]
    mine, theirs = {"zones": {"mine": LANE}}, {"zones": {"theirs": LANE}}
    first = client.put(path, json=theirs, headers={**operator, "If-Match": seen})
    assert first.status_code == 200
    assert is_problem(client.put(path, json=mine, headers={**operator, "If-Match": seen}), 412)
    assert set(operations.areas("gate").zones) == {"theirs"}
    for tag in (
        f"W/{first.headers['ETag']}",
        '"another", *',
        client.get(path, headers=operator).headers["ETag"],
    ):
        again = client.put(path, json=theirs, headers={**operator, "If-Match": tag})
        assert again.status_code == (412 if "another" in tag else 200)
    assert client.put(path, json=mine, headers=operator).status_code == 200, "who does not ask"


def test_areas_are_written_and_read_back(client: Any, operator: Headers, viewer: Headers) -> None:
    areas = {"zones": {"lane": LANE}, "lines": {"door": LANE[:2]}, "mask": [LANE]}
    answer = client.put("api/cameras/gate/areas", json=areas, headers=operator)
    assert (answer.status_code, answer.json()) == (200, areas)
    assert client.get("api/cameras/gate/areas", headers=viewer).json() == areas
    assert client.get("api/cameras/yard/areas", headers=viewer).json()["zones"] == {}


@pytest.mark.parametrize(
    "areas",
    [
        {"zones": {"lane": [[0.1, 0.4], [0.9, 1.1], [0.9, 1.0]]}},
        {"zones": {"lane": LANE[:2]}},
        {"zones": {"": LANE}},
        {"zones": {"a/b": LANE}},
        {"lines": {"door": LANE}},
        {"mask": [[[0, 0]]]},
        {"zones": {"lane": LANE * 40}},
        {"zone": {}},
        [],
    ],
)
def test_areas_that_cannot_be_right_are_refused(
    client: Any, operator: Headers, operations: FakeOperations, areas: Any
) -> None:
    assert is_problem(client.put("api/cameras/gate/areas", json=areas, headers=operator), 422)
    assert operations.areas("gate") == CameraAreas()


def test_a_body_is_json_and_short(client: Any, operator: Headers) -> None:
    def put(content: bytes, kind: str = "application/json", **more: str) -> Any:
        headers = operator | {"Content-Type": kind} | more
        return client.put("api/cameras/gate/areas", content=content, headers=headers)

    assert is_problem(put(b"{"), 400)
    assert is_problem(put(b"\xff{}"), 400)
    deep = b'{"name": "a", "config": {"a": ' + b"[" * 30000
    kind = {"Content-Type": "application/json"}
    assert is_problem(client.post("api/cameras", content=deep, headers=operator | kind), 400)
    assert is_problem(put(b"{}", "text/plain"), 415)
    assert is_problem(put(b" " * (MAX_BODY + 1)), 413)

    def chunks() -> Any:
        yield from [b" " * 4096] * 17

    headers = operator | {"Content-Type": "application/json"}
    answer = client.put("api/cameras/gate/areas", content=chunks(), headers=headers)
    assert is_problem(answer, 413)


def test_a_snapshot_is_the_newest_frame(
    client: Any, viewer: Headers, operations: FakeOperations, view: Callable[..., LiveView],
    make_squares: Callable, read_counter: Callable,
) -> None:  # fmt: skip
    import cv2
    import numpy as np

    assert is_problem(client.get("api/cameras/gate/snapshot", headers=viewer), 503)
    operations.show("gate", view(77, make_squares(77)))
    answer = client.get("api/cameras/gate/snapshot", headers=viewer)
    assert answer.headers["content-type"] == "image/jpeg"
    pixels = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert read_counter(pixels) == 77


def test_events_come_in_pages_newest_first(
    client: Any, viewer: Headers, operations: FakeOperations, event: Callable[..., Event]
) -> None:
    operations.commit(*(event(number, camera=("gate", "yard")[number % 2]) for number in range(25)))

    def texts(**query: Any) -> list[str]:
        answer = client.get("api/events", params=query, headers=viewer)
        assert answer.status_code == 200, answer.text
        nonlocal following
        following = answer.json()["next"]
        return [each["text"] for each in answer.json()["events"]]

    following = ""
    assert texts(limit=10) == [f"P-{number}" for number in range(24, 14, -1)]
    assert texts(limit=10, before=following) == [f"P-{number}" for number in range(14, 4, -1)]
    assert texts(limit=10, before=following) == [f"P-{number}" for number in range(4, -1, -1)]
    assert following == ""
    assert texts(camera="yard", limit=2) == ["P-23", "P-21"]
    assert texts(text="p-1", limit=500) == [f"P-{n}" for n in [*range(19, 9, -1), 1]]
    assert texts(since=1.7e9 + 23) == ["P-24", "P-23"]
    assert texts(until=1.7e9 + 1) == ["P-0"]
    assert texts(type="left") == []


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=x", "since=nan", "since=-1", "type=no", "before=../x", "a=1"],
)
def test_a_query_that_cannot_be_right_is_refused(client: Any, viewer: Headers, query: str) -> None:
    assert is_problem(client.get(f"api/events?{query}", headers=viewer), 422)


def test_an_event_has_its_evidence(
    client: Any, viewer: Headers, operations: FakeOperations, event: Callable[..., Event],
    tmp_path: Path,
) -> None:  # fmt: skip
    (tmp_path / "crop.jpg").write_bytes(b"\xff\xd8picture")
    operations.commit(event(1, evidence={"crop": "crop.jpg", "frame": "gone.jpg"}))
    path = f"api/events/{1:032x}"
    assert client.get(path, headers=viewer).json()["evidence"]["crop"] == "crop.jpg"
    answer = client.get(f"{path}/evidence/crop", headers=viewer)
    assert (answer.content, answer.headers["content-type"]) == (b"\xff\xd8picture", "image/jpeg")
    assert is_problem(client.get(f"{path}/evidence/frame", headers=viewer), 404)
    assert is_problem(client.get(f"{path}/evidence/..%2fviewer.token", headers=viewer), 404)
    assert is_problem(client.get(f"{path}/evidence/crop"), 401)
    assert is_problem(client.get(f"api/events/{2:032x}", headers=viewer), 404)


def test_metrics_are_for_a_token_or_this_machine(
    serve: "Callable[..., WebServer]", viewer: Headers
) -> None:
    address = serve().address + "metrics"
    assert "edgecnn_ready 1.0" in httpx.get(address).text
    for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):  # a proxy on this machine
        assert is_problem(httpx.get(address, headers={header: "for=6.6.6.6"}), 401)
    address = serve(metrics="token").address + "metrics"
    assert is_problem(httpx.get(address), 401)
    assert "edgecnn_ready 1.0" in httpx.get(address, headers=viewer).text


def test_new_events_arrive_in_order_and_none_twice(
    server: "WebServer", viewer: Headers, operations: FakeOperations, event: Callable[..., Event]
) -> None:
    operations.commit(event(1), event(2))

    def lines(headers: Headers, number: int) -> list[str]:
        address = f"{server.address}api/events/stream"
        with httpx.stream("GET", address, headers=viewer | headers, timeout=20) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            found: list[str] = []
            for line in answer.iter_lines():
                if line.startswith("retry"):
                    operations.commit(*(event(3 + len(found) + i, camera="gate") for i in range(2)))
                found += [line] if line.startswith("id: ") else []
                if len(found) == number:
                    return found
        raise AssertionError("the stream ended")

    assert lines({}, 2) == [f"id: {number:032x}" for number in (3, 4)]
    again = lines({"Last-Event-ID": f"{2:032x}"}, 2)
    assert again == [f"id: {number:032x}" for number in (3, 4)]


def test_streams_are_limited_and_end_with_the_server(
    serve: "Callable[..., WebServer]", viewer: Headers
) -> None:
    server = serve(streams=2)
    address = f"{server.address}api/events/stream"
    with (
        httpx.stream("GET", address, headers=viewer, timeout=20) as first,
        httpx.stream("GET", address, headers=viewer, timeout=20) as second,
    ):
        assert (first.status_code, second.status_code) == (200, 200)
        assert is_problem(httpx.get(address, headers=viewer), 503)
        began = time.monotonic()
        server.stop()
        assert "".join(first.iter_text()).startswith("retry")  # and it ends properly
        assert time.monotonic() - began < 10, "not hung"
