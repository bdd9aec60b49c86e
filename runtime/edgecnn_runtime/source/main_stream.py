"""The large stream of a camera: received all the time, decoded only where a frame of it is wanted.

    detect on the small one ─▶ a box ─▶ MainStream.enlarge(its frame) ─▶ cut the crop

Decoding is what an edge box runs out of first: a 1080p stream at 25 fps takes 15 to 20 % of a core.
Its packets are a few megabytes. They are held from the key frame before the last one on, and any
frame of these can be decoded, beginning at its key frame, or where decoding stands already if that
lies between the two.
"""

import math
import threading
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from edgecnn_runtime.errors import SourceLostError, UsageError
from edgecnn_runtime.source.address import Address, parse_address
from edgecnn_runtime.source.capture import RawFrame, check_options
from edgecnn_runtime.source.clock import StreamClock
from edgecnn_runtime.source.connection import Connection, Limits
from edgecnn_runtime.source.network import NetworkStream
from edgecnn_runtime.source.orientation import Flip, Rotation, orient
from edgecnn_runtime.source.reconnecting import OnChange, ReconnectingSource
from edgecnn_runtime.types import Frame, Pixels

MAX_BYTES = 32 << 20
"""Bytes of packets that are held. A stream that needs more between two key frames has no frames to
give until the next one."""
NEAREST = 0.1
"""Seconds between the moment that is asked for and the frame that is given, at most."""
NOTHING: Pixels = np.zeros((1, 1, 3), np.uint8)


class _Packet(NamedTuple):
    """A packet that was received, and when its picture was taken."""

    captured: float
    data: Any


class MainStream:
    """Gives single frames of a network stream that is otherwise not decoded.

    It is opened again whenever it is lost, as ``open_camera`` does.

    Attributes:
        name: What is opened, with any password removed.
        received: How many packets came.
        decoded: How many of them were decoded.
    """

    def __init__(
        self,
        spec: str | int | Path | Address,
        *,
        rotate: Rotation = 0,
        flip: Flip = "",
        transport: str = "tcp",
        mask: Callable[[Pixels], Pixels] | None = None,
        paused: bool = False,
        limits: Limits | None = None,
        on_change: OnChange = lambda _before, _after: None,
    ) -> None:
        """Begin to open it; does not wait.

        Args:
            spec: "rtsp://…" or another network stream.
            rotate: Degrees clockwise.
            flip: After rotating: "h" left-right, "v" upside down, "hv" both.
            transport: "tcp" or "udp", for RTSP.
            mask: As ``open_source`` takes it.
            paused: Do not open it before ``resume``.
            limits: Time-outs; its pictures are not looked at.
            on_change: As ``open_camera`` takes it.

        Raises:
            UsageError: It is no network stream.
        """
        limits = limits or Limits()
        check_options(rotate, flip, transport, limits.open_timeout, limits.read_timeout)
        self._address = spec if isinstance(spec, Address) else parse_address(spec)
        self.name = self._address.name
        if self._address.kind != "network":
            raise UsageError(
                f"{self.name}: crops can be cut from another stream than the one that is looked at "
                "only where that comes over the network (rtsp://…)"
            )
        self.received = self.decoded = 0
        self._transport, self._limits = transport, limits
        self._rotate: Rotation = rotate
        self._flip: Flip = flip
        self._mask = mask
        self._lock = threading.Lock()
        """For what is held."""
        self._decoding = threading.RLock()
        """For the decoder."""
        self._stream: NetworkStream | None = None
        self._groups: list[list[_Packet]] = []
        """From a key frame to the next one: the last two."""
        self._bytes = 0
        self._group: list[_Packet] = []
        self._position = -1
        """The last packet of ``_group`` that was decoded."""
        self._recent: list[Any] = []
        self._source = ReconnectingSource(
            self.name, self._open, on_change=on_change, paused=paused,
            limits=replace(limits, frozen=math.inf, black=math.inf),
        )  # fmt: skip

    @property
    def connection(self) -> Connection:
        """Where it stands now."""
        return self._source.connection

    def enlarge(self, frame: Frame) -> Frame | None:
        """The frame that was taken at the same moment as one of another stream of this camera."""
        return self.frame_at(frame.captured)

    def frame_at(self, captured: float) -> Frame | None:
        """The frame that was taken at a moment, decoded now, in the caller's thread.

        This takes as long as decoding all frames since its key frame, or since the last one that
        was asked for.

        Args:
            captured: On the monotonic clock, lately.

        Returns:
            The frame; None where none is held that was taken within NEAREST seconds of it, or where
            it is damaged.
        """
        with self._decoding:
            with self._lock:
                packets = chain.from_iterable(self._groups)
                nearest = min(packets, key=lambda each: abs(each.captured - captured), default=None)
                if nearest is None or abs(nearest.captured - captured) > NEAREST:
                    return None
                group = next(group for group in self._groups if nearest in group)
                packets_of_group = list(group)
            picture = self._decode(group, packets_of_group, nearest)
            stream = self._stream
            if picture is None or stream is None:
                return None
            pixels = orient(stream.decoder.to_bgr(picture), self._rotate, self._flip)
            pts = stream.decoder.seconds(picture)
        if self._mask is not None:
            pixels = self._mask(pixels)
        pixels.setflags(write=False)
        return Frame(
            pixels, self.decoded, nearest.captured, pts, self.name, True,
            connection=self._source.connection.live_count,
        )  # fmt: skip

    def pause(self) -> None:
        """Hang up until ``resume``."""
        self._source.pause()

    def resume(self) -> None:
        """Open it again after ``pause``."""
        self._source.resume()

    def close(self, *, wait: float = 1.0) -> None:
        """Stop and release, in about ``wait`` seconds."""
        self._source.close(wait=wait)

    def __enter__(self) -> "MainStream":
        return self

    def __exit__(self, *_problem: object) -> None:
        self.close()

    def _decode(self, group: list[_Packet], packets: list[_Packet], wanted: _Packet) -> Any:
        """The picture of a packet of a group; decoders hold pictures back, so later ones help."""
        if self._stream is None:
            return None
        index = packets.index(wanted)
        if self._group is not group or self._position > index:
            self._stream.decoder.flush()
            self._group, self._position, self._recent = group, -1, []
        for picture in self._recent:
            if picture.pts == wanted.data.pts:
                return picture
        for position in range(self._position + 1, len(packets)):
            packet = packets[position]
            self._position, self.decoded = position, self.decoded + 1
            self._recent = self._stream.decoder.decode(packet.data, packet.captured)
            for picture in self._recent:
                if picture.pts == wanted.data.pts:
                    return picture
        return None

    def _open(self) -> "_PacketReader":
        stream = NetworkStream(
            self._address, transport=self._transport, open_timeout=self._limits.open_timeout,
            read_timeout=self._limits.read_timeout,
        )  # fmt: skip
        with self._decoding, self._lock:
            self._stream, self._groups, self._bytes = stream, [], 0
            self._group, self._position, self._recent = [], -1, []
        return _PacketReader(self, stream)

    def _hold(self, stream: NetworkStream, packet: _Packet) -> None:
        """Hold a packet, and of those before only what may still be asked for."""
        with self._lock:
            if stream is not self._stream:
                return
            self.received += 1
            if packet.data.is_keyframe:
                self._groups = [*self._groups[-1:], []]
                self._bytes = sum(each.data.size for group in self._groups for each in group)
            if self._groups:
                self._groups[-1].append(packet)
                self._bytes += packet.data.size
            if self._bytes > MAX_BYTES:  # the group before, or all of one that is too large
                self._groups = self._groups[1:]
                self._bytes = sum(each.data.size for group in self._groups for each in group)

    def _release(self, stream: NetworkStream) -> None:
        """Close a stream while nobody decodes it."""
        with self._decoding:
            if stream is self._stream:
                with self._lock:
                    self._stream, self._groups, self._recent = None, [], []
            stream.close()


class _PacketReader:
    """A reader whose pictures are empty: the packets go to a ``MainStream``."""

    live = True

    def __init__(self, main: MainStream, stream: NetworkStream) -> None:
        self.fps = stream.fps
        self._main, self._stream = main, stream
        self._clock = StreamClock()

    def read(self) -> RawFrame:
        """One packet further.

        Raises:
            SourceLostError: The stream ended.
        """
        packet = self._stream.next_packet()
        if packet is None:
            raise SourceLostError(f"{self._main.name}: the stream ended")
        pts = self._stream.decoder.seconds(packet)
        if packet.size and pts is not None:
            captured = self._clock.captured(pts, time.monotonic())
            self._main._hold(self._stream, _Packet(captured, packet))
        return RawFrame(NOTHING, pts)

    def close(self) -> None:
        """Hang up."""
        self._main._release(self._stream)
