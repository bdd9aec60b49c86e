"""A daemon that plays frames with a counter in them, and its pages on loopback."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from edgecnn_runtime.types import Box, Detection, Event, Frame, FrameResult, Timings
from edgecnn_runtime.web.fake import FakeOperations
from edgecnn_runtime.web.operations import LiveView
from edgecnn_runtime.web.server import WebServer
from edgecnn_runtime.web.settings import WebSettings
from edgecnn_runtime.web.tokens import Tokens, load_tokens

STEP = 40
"""Pixels that the object of the fake camera is wide; it moves by one step a frame."""


def make_view(index: int, pixels: np.ndarray, *, age: float | None = 0.06) -> LiveView:
    """A frame and one object in it, whose place says the frame's index."""
    pixels.setflags(write=False)
    now = time.monotonic()
    frame = Frame(pixels, index, now - (age or 0.0), None, "rtsp://cam/1", live=age is not None)
    left = float(STEP * (index % 7))
    face = Detection(Box(left, 20.0, left + STEP, 60.0), 0.9, "face", 0)
    return LiveView(FrameResult(frame, "detect", [face], age, Timings(0.02, 0.002, 0.03, 0.001)))


def make_event(number: int, **fields: Any) -> Event:
    """An event whose id ascends with its number."""
    values = {"type": "recognized", "camera": "gate", "label": "face", "text": f"P-{number}"}
    return Event(id=f"{number:032x}", time=1.7e9 + number, **{**values, **fields})


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return load_tokens(tmp_path)


@pytest.fixture
def operations(tmp_path: Path) -> FakeOperations:
    """Two cameras, "gate" and "yard"."""
    return FakeOperations("gate", "yard", folder=tmp_path)


@pytest.fixture
def serve(operations: FakeOperations, tokens: Tokens) -> Iterator[Callable[..., WebServer]]:
    """Starts servers: ``serve(auth=False)``."""
    servers: list[WebServer] = []

    def start(**settings: Any) -> WebServer:
        chosen = WebSettings(**{"port": 0, **settings})
        servers.append(WebServer(operations, chosen, tokens if chosen.auth else None))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def server(serve: Callable[..., WebServer]) -> WebServer:
    return serve()


@pytest.fixture
def client(server: WebServer) -> Iterator[httpx.Client]:
    """Asks without a token."""
    with httpx.Client(base_url=server.address, timeout=20) as each:
        yield each


@pytest.fixture
def operator(tokens: Tokens) -> dict[str, str]:
    """The header of an operator."""
    return {"Authorization": f"Bearer {tokens.operator}"}


@pytest.fixture
def viewer(tokens: Tokens) -> dict[str, str]:
    """The header of a viewer."""
    return {"Authorization": f"Bearer {tokens.viewer}"}


@pytest.fixture
def view() -> Callable[..., LiveView]:
    """Makes views: see ``make_view``."""
    return make_view


@pytest.fixture
def event() -> Callable[..., Event]:
    """Makes events: see ``make_event``."""
    return make_event
