"""RTSP and HTTP streams, read by PyAV: each with its own transport, time-outs and errors."""

import errno
import logging
import re
import time
from collections import deque
from functools import partial
from types import ModuleType
from typing import Any

from edgecnn_runtime.errors import BackendMissingError, SourceLostError, SourceRefusedError
from edgecnn_runtime.requirements import install_command
from edgecnn_runtime.source.address import Address
from edgecnn_runtime.source.capture import RawFrame
from edgecnn_runtime.source.clock import STARTUP_DRAIN, Backlog, Lag
from edgecnn_runtime.source.decoder import KEYFRAME_WAIT, VideoDecoder, import_pyav, open_container

LOSS = "RTP: missed"
"""How FFmpeg's log says that packets did not come."""
KEYFRAME_SHARE = 0.8
"""Part of the time-out after which pictures are shown again without a key frame, damaged or not: a
source is not lost because key frames are rare."""
MIN_NETWORK_WAIT = 0.002
"""Seconds a packet takes at least that had to come over the network; a buffered one takes less."""
PROTOCOLS = "rtp,rtsp,rtsps,srtp,udp,tcp,tls,http,https,httpproxy,crypto,hls,rtmp,rtmps,srt"
"""What a stream may lead to: never a file of this machine."""
ANALYSIS = "100000"
"""Microseconds of an RTSP stream that FFmpeg looks at before it is open."""
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
REFUSALS = frozenset({"HTTPUnauthorizedError", "HTTPForbiddenError"})
"""Those that say that user and password are not accepted."""
SEGMENTED = frozenset({"hls", "applehttp", "dash"})
"""FFmpeg's names of formats that come a segment at a time."""
MAX_PAUSE = 10.0
"""Seconds that a segmented stream may pause between two pictures, whatever its stamps say."""


class NetworkStream:
    """Reader of a network stream: live, unless it is a video file that lies on an HTTP server.

    Attributes:
        live: Whether it delivers at its own pace.
        fps: Nominal pictures per second; 0.0 if unknown.
        decoder: What its packets are decoded with.
    """

    def __init__(
        self, address: Address, *, transport: str, open_timeout: float, read_timeout: float
    ) -> None:
        """Connect.

        Args:
            address: What to open.
            transport: "tcp" or "udp", for RTSP.
            open_timeout: Seconds in which it has to answer.
            read_timeout: Seconds in which it has to deliver the next whole picture.

        Raises:
            SourceLostError: It does not answer, or carries no video.
            BackendMissingError: PyAV is not installed.
        """
        self._name, self._transport = address.name, transport
        self._av = _pyav(address.name)
        self._read_timeout = read_timeout
        is_rtsp = address.target.lower().startswith("rtsp")
        if transport == "udp" if is_rtsp else address.target.startswith("rtp"):
            _log_losses(self._av)
        with self._av.logging.Capture() as messages:
            self._container = self._connect(address.target, open_timeout)
        self._lost_at_first = _tells_loss(messages)
        try:
            self.decoder = VideoDecoder(
                self._av, self._container, threads=1, max_wait=KEYFRAME_SHARE * read_timeout
            )
        except ValueError as error:
            self._container.close()
            raise SourceLostError(f"{self._name} {error}") from None
        self.fps = self.decoder.fps
        self._packets = self._container.demux(self.decoder.stream)
        self._waiting: deque[Any] = deque()
        self._backlog = Backlog(min(STARTUP_DRAIN, read_timeout / 2))
        self._lag = Lag()
        self._waited = 0.0
        self._skipped = self._damaged = 0
        self._gave_up = False
        """Whether the next whole picture comes after others that were given up, not damaged."""
        self._key, self._key_interval = 0.0, 1.0
        """Stamp of the last key frame, and seconds between two."""
        self._key_frame_by = 0.0
        """Until when a key frame is waited for, after pictures were given up; 0.0: none is."""
        self._held: RawFrame | None = None
        self._end = float(self._container.duration or 0) / self._av.time_base
        # A recording over RTSP comes at its own pace; a file over HTTP as fast as it is read.
        self.live = self._end == 0.0 or is_rtsp
        formats = set(self._container.format.name.split(","))
        self._segmented = self.live and not SEGMENTED.isdisjoint(formats)
        self._due: float | None = None
        self._lost = self._late = False
        self._first: float | None = None
        self._last = 0.0
        self._last_whole = time.monotonic()

    def read(self) -> RawFrame | None:
        """The next picture, skipping those with parts that were lost on the network.

        Returns:
            None at the end of a recording of known length.

        Raises:
            SourceLostError: The stream ended, or no picture arrives whole any more.
        """
        while not self._waiting:
            packet = self.next_packet()
            if packet is None:
                if self._held is not None:
                    picture, self._held = self._held, None
                    return picture
                self._check_ended()
                return None
            now = time.monotonic()
            if self._gives_up(packet, now):
                continue
            self._waiting.extend(self.decoder.decode(packet, now))
            if self._waiting:
                self._last_whole = now
            elif self.live and now - self._last_whole > self._read_timeout:
                raise SourceLostError(f"{self._name}: {self._damage()}")
        return self._picture(self._waiting.popleft())

    def close(self) -> None:
        """Hang up."""
        self._waiting.clear()
        self.decoder.close()
        self._container.close()

    def _connect(self, target: str, timeout: float) -> Any:
        began = time.monotonic()
        options = _options(target, self._transport)
        limits = (timeout, self._read_timeout)
        while True:
            try:
                return open_container(self._av, target, options, timeout=limits)
            except (self._av.error.FFmpegError, OSError, ValueError) as error:
                # A stream of sound alone, asked for nothing but video, is a request gone wrong.
                refused = type(error).__name__ == "HTTPOtherClientError"
                if not (refused and options.pop("allowed_media_types", "")):
                    waited = time.monotonic() - began
                    reason = _why(error, waited, timeout, self._transport) + _password_hint(target)
                    kind = (
                        SourceRefusedError if type(error).__name__ in REFUSALS else SourceLostError
                    )
                    raise kind(f"{self._name}: {reason}") from None

    def next_packet(self) -> Any:
        """The next packet, None at the end; the decoder is told of what was lost before it.

        Raises:
            SourceLostError: The stream ended.
        """
        began = time.monotonic()
        try:
            with self._av.logging.Capture() as messages:
                packet = next(self._packets, None)
        except (self._av.error.FFmpegError, OSError) as error:
            waited = time.monotonic() - began
            raise SourceLostError(
                f"{self._name}: {_why(error, waited, self._read_timeout, '')}"
            ) from None
        if packet is None:
            return None
        now = time.monotonic()
        self._waited = now - began
        if self.live and not self._segmented:
            # RTSP gives its first pictures no stamp, though it has stamps; those prove nothing.
            waited = self._waited >= MIN_NETWORK_WAIT and not self.decoder.stamped
            self._late = self._backlog.holds(self.decoder.seconds(packet), now, waited=waited)
        # A picture is complete when the next one begins: a loss may belong to either. What was
        # lost while connecting may belong to any that was buffered then.
        lost = _tells_loss(messages)
        if lost or self._lost or (self._lost_at_first and self._late):
            self.decoder.lose(now, packet.pts, counts=False)
        self._lost = lost
        return packet

    def _gives_up(self, packet: Any, now: float) -> bool:
        """Whether a packet is not decoded, because this machine is too slow for the stream.

        What was not decoded is lost: the next picture is one that does not depend on it, and what
        comes before that is not decoded either, for as long as a key frame can be hoped for.
        """
        pts = self.decoder.seconds(packet)
        if pts is None or self._late or self._segmented or not self.live:
            return False
        if packet.is_keyframe:
            self._key_interval = min(pts - self._key, KEYFRAME_WAIT) if self._key else 1.0
            self._key = pts
        key_in = max(0.0, self._key + self._key_interval - pts)
        if self._lag.update(pts, now, self._waited, key_in):
            self._key_frame_by = now + KEYFRAME_WAIT
        elif packet.is_keyframe:  # it depends on nothing
            self._key_frame_by = 0.0
        elif self._key_frame_by and now >= self._key_frame_by:
            self.decoder.lose(now, counts=False)
            self._key_frame_by, self._gave_up = 0.0, True
        if not self._key_frame_by:
            return False
        self._skipped += 1
        self._last_whole = now  # that no picture is whole now is not the network's fault
        return True

    def _picture(self, frame: Any) -> RawFrame:
        pts = self.decoder.seconds(frame)
        # Of a live stream most pictures are replaced before anybody takes them.
        convert = partial(self.decoder.to_bgr, frame)
        pixels = convert if self.live and not self._segmented else convert()
        if pts is not None:
            self._first = pts if self._first is None else self._first
            pts -= self._first
        paced = pts is not None and self._segmented
        if pts is not None and paced:
            self._wait_for_turn(pts)
        self._last = self._last if pts is None else pts
        # Of a stream that ends before it is live, such as a snapshot, the last one is shown.
        self._held = RawFrame(pixels, pts) if self._late else None
        skipped, self._skipped = self._skipped, 0
        damaged, self._damaged = self.decoder.damaged - self._damaged, self.decoder.damaged
        if self._gave_up:  # what is built on pictures that were given up is whole, but useless
            skipped, damaged, self._gave_up = skipped + damaged, 0, False
        return RawFrame(pixels, pts, self._late, paced, skipped=skipped, damaged=damaged)

    def _wait_for_turn(self, pts: float) -> None:
        """A segment comes at once; its pictures are due one after the other, as they were taken."""
        now = time.monotonic()
        due = now if self._due is None else self._due + min(pts - self._last, MAX_PAUSE)
        self._due = max(due, now)
        time.sleep(self._due - now)

    def _damage(self) -> str:
        """Why no picture was returned for so long."""
        if not self.decoder.skipped:
            return f"no picture for {self._read_timeout:g} s, though something arrives"
        tcp = self._transport == "udp"
        advice = "try --transport tcp" if tcp else "is the network, or the camera, overloaded?"
        return (
            f"pictures arrive damaged: packets are lost on the way, and no whole one has come for "
            f"{self._read_timeout:g} s; {advice}"
        )

    def _check_ended(self) -> None:
        if self._last < self._end - 1.0 or self._end == 0.0:
            raise SourceLostError(f"{self._name}: the stream ended after {self._last:.1f} s")


def _options(url: str, transport: str) -> dict[str, str]:
    options = {"protocol_whitelist": PROTOCOLS, "fpsprobesize": "0"}
    if url.lower().startswith("rtsp"):
        # Sound would only cost bytes, and the codec is known without waiting for a key frame.
        options |= {
            "rtsp_transport": transport,
            "allowed_media_types": "video",
            "analyzeduration": ANALYSIS,
        }
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
    av = import_pyav()
    if av is None:
        raise BackendMissingError(f"{name}: network streams need PyAV: {install_command('stream')}")
    return av


def _log_losses(av: ModuleType) -> None:
    """Let FFmpeg's warnings through to those who capture them; nobody else sees more than before.

    FFmpeg has one log for the whole process.
    """
    level = av.logging.get_level()
    av.logging.set_level(av.logging.WARNING if level is None else max(level, av.logging.WARNING))
    av.logging.set_skip_repeated(False)  # of two equal losses, the second one counts too
    if level is None:
        logging.getLogger("libav").setLevel(logging.CRITICAL + 1)


def _tells_loss(messages: list[tuple[int, str, str]]) -> bool:
    return any(LOSS in text for _, _, text in messages)


def _password_hint(url: str) -> str:
    """Advice where a password may contain characters that end it in a URL."""
    user = re.match(r"\w+://[^:@/?#]*:(?!\d+[/?#])([^@]*[/?#].*)@", url, re.DOTALL)
    characters = "if the password contains / ? # or @, write %2F %3F %23 or %40 for it"
    return f"; {characters}" if user else ""
