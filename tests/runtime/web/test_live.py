"""The live view as bytes: what belongs together, encoded once, and nothing that is old."""

import json
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import cv2
import msgspec
import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="needs the serve extra")
import httpx

from edgecnn_runtime.tasks import segment
from edgecnn_runtime.types import Box, Detection, InstanceMask, Track
from edgecnn_runtime.web import live
from edgecnn_runtime.web.fake import FakeOperations
from edgecnn_runtime.web.operations import LiveView

if TYPE_CHECKING:
    from edgecnn_runtime.web.server import WebServer

HEAD = struct.Struct("!dII")


def messages(answer: httpx.Response) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Header and picture of each message that has one."""
    buffer = b""
    for chunk in answer.iter_raw():
        buffer += chunk
        while len(buffer) >= HEAD.size:
            _, header, picture = HEAD.unpack_from(buffer)
            end = HEAD.size + header + picture
            if len(buffer) < end:
                break
            body = buffer[HEAD.size : end]
            buffer = buffer[end:]
            if picture:
                pixels = cv2.imdecode(np.frombuffer(body[header:], np.uint8), cv2.IMREAD_COLOR)
                yield json.loads(body[:header]), pixels


@pytest.fixture
def watch(server: "WebServer", viewer: dict[str, str]) -> Callable[..., Any]:
    """Opens a live view: ``with watch(camera="gate") as answer: …``."""

    def open_view(**query: Any) -> Any:
        address = f"{server.address}api/live"
        return httpx.stream("GET", address, params=query, headers=viewer, timeout=20)

    return open_view


def wait_until(condition: Callable[[], bool]) -> None:
    """Until the server has noticed; generous, and only to say that it hangs."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "hangs"
        time.sleep(0.01)


def test_each_picture_comes_with_its_own_result(
    watch: Callable[..., Any], operations: FakeOperations, view: Callable[..., LiveView],
    make_squares: Callable, read_counter: Callable,
) -> None:  # fmt: skip
    with watch(camera="gate") as answer:
        stream = messages(answer)
        for index in (3, 4, 900):
            operations.show("gate", view(index, make_squares(index)))
            header, pixels = next(stream)
            assert (header["camera"], header["index"]) == ("gate", index)
            assert read_counter(pixels) == index
            assert header["results"][0]["box"][0] == 40.0 * (index % 7)
            assert (header["width"], header["height"]) == (320, 240)
            assert header["age"] == 0.06


def test_all_cameras_share_one_connection(
    watch: Callable[..., Any], operations: FakeOperations, view: Callable[..., LiveView],
    make_squares: Callable, read_counter: Callable,
) -> None:  # fmt: skip
    operations.show("gate", view(1, make_squares(1)))
    operations.show("yard", view(2, make_squares(2)))
    with watch() as answer:
        stream = messages(answer)
        found = {
            header["camera"]: read_counter(pixels)
            for header, pixels in (next(stream), next(stream))
        }
    assert found == {"gate": 1, "yard": 2}


def test_a_frame_is_encoded_once_for_all_viewers_and_not_without_any(
    watch: Callable[..., Any], operations: FakeOperations, view: Callable[..., LiveView],
    make_squares: Callable, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    encoded: list[int] = []
    encode = live.encode_jpeg

    def count(pixels: np.ndarray, quality: int = live.QUALITY) -> bytes:
        encoded.append(1)
        return encode(pixels, quality)

    monkeypatch.setattr(live, "encode_jpeg", count)
    operations.show("gate", view(1, make_squares(1)))
    assert (encoded, operations.subscribers) == ([], 0)
    with watch(camera="gate") as first, watch(camera="gate") as second:
        for stream in (messages(first), messages(second)):
            assert next(stream)[0]["index"] == 1
        assert (len(encoded), operations.subscribers) == (1, 1)
    wait_until(lambda: operations.subscribers == 0)
    operations.show("gate", view(2, make_squares(2)))
    assert len(encoded) == 1


def test_a_slow_viewer_gets_fewer_frames_and_none_that_is_old(
    watch: Callable[..., Any], operations: FakeOperations, view: Callable[..., LiveView],
) -> None:  # fmt: skip
    noise = np.random.default_rng(5).integers(0, 255, (720, 1280, 3), np.uint8)  # large as JPEG
    stop, shown = threading.Event(), [0]

    def play() -> None:
        while not stop.wait(0.04):
            shown[0] += 1
            operations.show("gate", view(shown[0], noise.copy()))

    player = threading.Thread(target=play)
    player.start()
    try:
        with watch(camera="gate", size="full") as answer:
            stream = messages(answer)
            assert next(stream)[0]["index"] >= 1
            time.sleep(4)  # the viewer sleeps; a hundred frames go by
            before = shown[0]
            late = [next(stream)[0]["index"] for _ in range(30)]
    finally:
        stop.set()
        player.join()
    assert late == sorted(set(late))
    old = [index for index in late if index < before - 25]
    assert len(old) < 25, "what the sockets held; not what a queue would have"
    assert late[-1] >= before - 5


def test_tracks_are_sent_with_what_is_known_of_them(
    watch: Callable[..., Any], operations: FakeOperations, view: Callable[..., LiveView],
    make_squares: Callable,
) -> None:  # fmt: skip
    face = Detection(Box(1, 2, 30, 40), 0.9, "face", 0)
    tracks = [
        Track(7, "confirmed", face, Box(2, 3, 31, 41), (0, 0), 0, 1, 5),
        Track(8, "ended", face, Box(2, 3, 31, 41), (0, 0), 0, 1, 5),
    ]
    result = view(1, make_squares(1)).result
    operations.show("gate", LiveView(result, tracks, {7: "Ada"}))
    with watch(camera="gate") as answer:
        header, _ = next(messages(answer))
    assert [(track["id"], track["name"]) for track in header["tracks"]] == [(7, "Ada")]
    assert header["tracks"][0]["box"] == [2, 3, 31, 41]


def test_the_outlines_of_an_object_are_drawn_from_its_mask_once(
    watch: Callable[..., Any], operations: FakeOperations, view: Callable[..., LiveView],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    outlined: list[int] = []
    polygons = segment.polygons

    def count(mask: Any, origin: tuple[int, int]) -> Any:
        outlined.append(1)
        return polygons(mask, origin)

    monkeypatch.setattr(segment, "polygons", count)
    shown = view(1, np.zeros((240, 320, 3), np.uint8))
    box = Box(10, 20, 40, 60)
    mask = InstanceMask(box, 0.9, "cat", 0, np.ones((40, 30), np.bool_), (10, 20), (240, 320))
    (detection,) = segment.detections([mask])
    captured = shown.result.frame.captured
    track = Track(7, "confirmed", detection, box, (0, 0), 0, captured, 5)
    result = msgspec.structs.replace(shown.result, task="segment", result=[mask])
    operations.show("gate", msgspec.structs.replace(shown, result=result, tracks=(track,)))
    with watch(camera="gate") as answer:
        header, _ = next(messages(answer))
    (entry,), (followed,) = header["results"], header["tracks"]
    assert entry["polygons"] == followed["polygons"] != []
    assert "mask" not in {*entry, *followed}
    assert len(outlined) == 1


def test_pictures_are_as_large_as_they_are_needed(
    watch: Callable[..., Any], operations: FakeOperations, view: Callable[..., LiveView]
) -> None:
    operations.show("gate", view(1, np.full((1080, 1920, 3), 90, np.uint8)))
    for size, shape in (("grid", (360, 640)), ("full", (720, 1280))):
        with watch(camera="gate", size=size) as answer:
            header, pixels = next(messages(answer))
        assert pixels.shape[:2] == shape
        assert (header["width"], header["height"]) == (1920, 1080)


def test_an_unknown_camera_is_refused(watch: Callable[..., Any]) -> None:
    with watch(camera="garden") as answer:
        assert answer.status_code == 404
