"""What PyAV reads: RTSP and HTTP streams, each with its own transport, time-outs and errors."""

import errno
import time
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from edgecnn_runtime.errors import BackendMissingError, SourceLostError
from edgecnn_runtime.requirements import install_command
from edgecnn_runtime.source.address import Address
from edgecnn_runtime.source.capture import RawFrame
from edgecnn_runtime.types import Pixels

MIN_NETWORK_WAIT = 0.002
"""Seconds a packet takes at least that had to come over the network; a buffered one takes less."""
KEYFRAME_WAIT = 5.0
"""Seconds after a loss in which only a key frame is trusted; a stream without them mends slowly."""
PROTOCOLS = "rtp,rtsp,rtsps,srtp,udp,tcp,tls,http,https,httpproxy,crypto,hls,rtmp,rtmps,srt"
"""What a stream may lead to: never a file of this machine."""
ERROR_HINTS = {
    "ConnectionRefusedError": "nothing listens there: is the camera on, is the port right?",
    "ConnectionResetError": "the connection was lost",
    "OSError": "the connection was lost, or there is no such host",
    "HTTPUnauthorizedError": "wrong user or password; they go before the host: USER:PASSWORD@HOST",
    "HTTPForbiddenError": "this user may not see it (403)",
    "HTTPNotFoundError": "there is no such stream (404): check the path",
    "HTTPServerError": "the camera cannot serve it now (5xx)",
    "ProtocolNotFoundError": "this kind of stream is not supported by this build of PyAV",
    "InvalidDataError": "it does not answer as a video stream does",
}
"""FFmpeg's errors, in words."""
NO_TIMESTAMPS = 0x80
"""FFmpeg's AVFMT_NOTIMESTAMPS: the stamps such a format shows are made up from a nominal rate."""


class NetworkStream:
    """Reader of a network stream: live, unless it is a video file that lies on an HTTP server."""

    def __init__(
        self, address: Address, *, transport: str, open_timeout: float, read_timeout: float
    ) -> None:
        self._name = address.name
        self._av = _pyav(address.name)
        self._read_timeout = read_timeout
        began = time.monotonic()
        try:
            self._container = self._av.open(
                address.target,
                options=_options(address.target, transport),
                timeout=(open_timeout, read_timeout),
            )
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            waited = time.monotonic() - began
            raise SourceLostError(
                f"{self._name}: {_why(error, waited, open_timeout, transport)}"
            ) from None
        if not self._container.streams.video:
            self._container.close()
            raise SourceLostError(f"{self._name} carries no video")
        self._stream = self._container.streams.video[0]
        # Threads a frame hold pictures back, threads a slice turn FFmpeg's damage reports off.
        self._stream.codec_context.thread_count = 1
        self._packets = self._container.demux(self._stream)
        self._stamped = not self._container.format.flags & NO_TIMESTAMPS
        self._waiting: list[RawFrame] = []
        self._end = float(self._container.duration or 0) / self._av.time_base
        self._broken_until = 0.0
        self._first: float | None = None
        self._last = 0.0
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps = float(rate) if rate else 0.0
        # A recording over RTSP comes at its own pace; a file over HTTP as fast as it is read.
        self.live = self._end == 0.0 or address.target.lower().startswith("rtsp")

    def read(self) -> RawFrame | None:
        """The next picture, skipping those with parts that were lost on the network.

        Returns:
            None at the end of a recording of known length.

        Raises:
            SourceLostError: The stream ended.
        """
        while not self._waiting:
            began = time.monotonic()
            try:
                packet = next(self._packets, None)
            except (self._av.error.FFmpegError, OSError) as error:
                waited = time.monotonic() - began
                raise SourceLostError(
                    f"{self._name}: {_why(error, waited, self._read_timeout, '')}"
                ) from None
            if packet is None:
                self._check_ended()
                return None
            late = time.monotonic() - began < MIN_NETWORK_WAIT
            self._waiting = [self._picture(frame, late) for frame in self._decode(packet)]
        return self._waiting.pop(0)

    def close(self) -> None:
        """Hang up."""
        self._container.close()

    def _decode(self, packet: Any) -> list[Any]:
        """The frames that are whole: none from a loss to the key frame that mends it."""
        whole = []
        try:
            for frame in packet.decode():
                if frame.is_corrupt:
                    self._broken_until = time.monotonic() + KEYFRAME_WAIT
                elif frame.key_frame or time.monotonic() > self._broken_until:
                    self._broken_until = 0.0
                    whole.append(frame)
        except self._av.error.FFmpegError:
            self._broken_until = time.monotonic() + KEYFRAME_WAIT
        return whole

    def _picture(self, frame: Any, late: bool) -> RawFrame:
        pts = frame.time if self._stamped else None
        if pts is not None:
            self._first = pts if self._first is None else self._first
            pts -= self._first
            self._last = pts
        return RawFrame(_bgr(frame), pts, late)

    def _check_ended(self) -> None:
        if self._last < self._end - 1.0 or self._end == 0.0:
            raise SourceLostError(f"{self._name}: the stream ended after {self._last:.1f} s")


def _bgr(frame: Any) -> Pixels:
    """BGR of a decoded frame, BT.601 as OpenCV does it, so that every source looks the same."""
    limited = frame.format.name == "yuv420p" and frame.color_range != 2
    if limited and frame.width % 2 == 0 and frame.height % 2 == 0:
        return np.asarray(cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2BGR_I420))
    pixels: Pixels = frame.to_ndarray(format="bgr24")
    return pixels


def _options(url: str, transport: str) -> dict[str, str]:
    options = {"protocol_whitelist": PROTOCOLS, "fpsprobesize": "0"}
    if url.lower().startswith("rtsp"):
        # Sound would only cost bytes.
        options |= {"rtsp_transport": transport, "allowed_media_types": "video"}
    return options


def _why(error: Exception, waited: float, timeout: float, transport: str) -> str:
    """What happened, without FFmpeg's own words: they repeat the URL, password and all."""
    other = {"tcp": "udp", "udp": "tcp"}.get(transport, "")
    if waited >= 0.95 * timeout:
        blocked = "; a firewall may stop UDP: try tcp" if transport == "udp" else ""
        return f"no answer within {timeout:g} s{blocked}"
    if isinstance(error, OSError) and error.errno == errno.EPROTONOSUPPORT and other:
        return f"the camera does not offer this transport: try {other}"
    return ERROR_HINTS.get(type(error).__name__, f"the connection failed ({type(error).__name__})")


def _pyav(name: str) -> ModuleType:
    try:
        import av
    except ImportError:
        raise BackendMissingError(
            f"{name}: network streams need PyAV: {install_command('stream')}"
        ) from None
    module: ModuleType = av
    return module
