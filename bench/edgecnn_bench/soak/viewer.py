"""A viewer of the live page who knows when each picture was sent, and so how old it is."""

import json
import struct
import threading
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPException
from typing import BinaryIO
from urllib.parse import urlencode

import cv2
import numpy as np

from edgecnn_bench.soak.clips import read_counter

LENGTHS = struct.Struct("!dII")
"""Of a message of ``/api/live``: the server's clock, bytes of the header, bytes of the picture."""
SILENCE = 30.0
"""Seconds without a byte after which the page is opened again."""


class SendTimes:
    """When the cameras sent each picture of their clips, the last time."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, int], float] = {}

    def __call__(self, camera: str, number: int, at: float) -> None:
        """Remember one; an ``Announce`` of ``ClipCameras``."""
        self._times[camera, number] = at

    def age(self, camera: str, number: int, now: float) -> float | None:
        """Seconds since a picture was sent; None if it never was, as of a damaged counter."""
        at = self._times.get((camera, number))
        return None if at is None else now - at


class Viewer:
    """Watches cameras of a daemon as a browser does: ``with Viewer(…) as viewer: …``.

    Attributes:
        ages: Seconds between sending and seeing, of every picture that was seen.
    """

    def __init__(
        self, address: str, token: str, cameras: Sequence[str], send_times: SendTimes
    ) -> None:
        """Nothing is watched yet.

        Args:
            address: Of the daemon, such as ``http://127.0.0.1:8090``.
            token: Of a viewer.
            cameras: Which.
            send_times: Filled by the cameras.
        """
        headers = {"Authorization": f"Bearer {token}"}
        query = urlencode([("camera", camera) for camera in cameras])
        live = f"{address}/api/live?{query}"
        self._request = urllib.request.Request(live, headers=headers)  # noqa: S310  (ours)
        self._send_times = send_times
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.ages: list[float] = []

    def __enter__(self) -> "Viewer":
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.is_set():
            with suppress(OSError, EOFError, HTTPException):
                self._watch_once()
            self._over.wait(0.2)

    def _watch_once(self) -> None:
        with urllib.request.urlopen(self._request, timeout=SILENCE) as stream:  # noqa: S310  (ours)
            while not self._over.is_set():
                self._see(stream)

    def _see(self, stream: BinaryIO) -> None:
        _, header_length, picture_length = LENGTHS.unpack(_read(stream, LENGTHS.size))
        header = json.loads(_read(stream, header_length))
        picture = _read(stream, picture_length)
        now = time.monotonic()
        if not picture:  # the server says that it is still there
            return
        pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        age = self._send_times.age(
            header["camera"], read_counter(np.asarray(pixels, np.uint8)), now
        )
        if age is not None:
            self.ages.append(age)


def _read(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return data
