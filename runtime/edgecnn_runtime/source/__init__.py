"""Cameras, streams, videos and pictures → frames.

with open_source("rtsp://user:password@camera/stream") as source:
    for frame in source:  # Frame: uint8[H,W,3] BGR, and when it was captured
        ...

``open_camera`` takes the same names and opens what was lost again.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.source.address import Address, join_pictures, parse_address
from edgecnn_runtime.source.capture import Reader, Source, check_options
from edgecnn_runtime.source.connection import Connection, Limits
from edgecnn_runtime.source.latest import LatestSlot
from edgecnn_runtime.source.orientation import Flip, Rotation
from edgecnn_runtime.source.reconnecting import OnChange, ReconnectingSource
from edgecnn_runtime.types import Frame, Pixels

__all__ = [
    "Address", "FrameSource", "Limits", "ReconnectingSource", "Source", "check_options",
    "join_pictures", "open_camera", "open_source", "parse_address",
]  # fmt: skip

T = TypeVar("T")


class FrameSource(Protocol):
    """What schedulers and camera groups use of a source, whether it is opened again or not."""

    @property
    def name(self) -> str:
        """What was opened, with any password removed."""

    @property
    def live(self) -> bool:
        """Whether the newest frame counts, not every frame."""

    @property
    def fps(self) -> float:
        """Nominal frames per second; 0.0 where unknown."""

    @property
    def frames(self) -> LatestSlot[Frame]:
        """Where the newest frame lies."""

    @property
    def connection(self) -> Connection:
        """Where it stands now."""

    def wait_open(self) -> bool:
        """Wait until it is open for the first time; False where it was closed before.

        Raises:
            EdgecnnError: It will never be open.
        """

    def wait_for(self, slot: LatestSlot[T], /) -> T | None:
        """The next value of a slot that its frames lead to, None at the end."""

    def give_up(self) -> None:
        """End it with the reason of its last failure, where there was one."""

    def close(self, *, wait: float = ...) -> None:
        """Stop and release, in about ``wait`` seconds."""

    def __enter__(self) -> "FrameSource":
        """The source itself, which is closed at the end."""

    def __exit__(self, *problem: object) -> None:
        """Close it."""


def open_source(
    spec: str | int | Path | Address | Sequence[str | Path],
    *,
    rotate: Rotation = 0,
    flip: Flip = "",
    transport: str = "tcp",
    open_timeout: float = 10.0,
    read_timeout: float = 10.0,
    realtime: bool = False,
    loop: bool = False,
    mask: Callable[[Pixels], Pixels] | None = None,
) -> Source:
    """Open a camera, stream, video or pictures.

    PyAV (the extra ``stream``) reads network streams and video files. Without it OpenCV reads video
    files, with less certainty that all is well with them.

    Args:
        spec: Device index (0, "0", "/dev/video0", with "?width=1280&height=720&fps=30"), video
            file, picture, folder of pictures, "rtsp://…", "http://…", "csi://0" (a Jetson's
            camera) or "gst:PIPELINE"; the last two need an OpenCV that was built with GStreamer.
            A list of pictures and folders is one source, in their order. Or what
            ``parse_address`` made of any of these.
        rotate: Degrees clockwise.
        flip: After rotating: "h" left-right, "v" upside down, "hv" both.
        transport: "tcp" or "udp", for RTSP.
        open_timeout: Seconds after which a camera or stream that does not open is lost; a file
            may take its time.
        read_timeout: Seconds after which a camera or stream that delivers nothing is lost.
        realtime: Play a file at its own pace and drop frames that are not taken in time, as a
            camera does.
        loop: Play a video file again and again.
        mask: Blacks out, in each picture, what nobody may see, before anybody has it: gets
            uint8[H,W,3] BGR, rotated and flipped, and returns it, or a copy where it is read-only
            (``rules.privacy.Mask``).

    Returns:
        The source; close it, or use it as a context manager.

    Raises:
        UsageError: It cannot be a source.
        SourceLostError: It does not answer or cannot be opened.
        BackendMissingError: PyAV or GStreamer is needed and not installed.
    """
    check_options(rotate, flip, transport, open_timeout, read_timeout)
    address = _address(spec)
    is_file = address.kind in {"video", "pictures"}
    return Source(
        address.name,
        _reader(address, transport, open_timeout, read_timeout, loop),
        rotate=rotate,
        flip=flip,
        open_timeout=None if is_file else open_timeout,
        read_timeout=None if is_file else read_timeout,
        realtime=realtime,
        mask=mask,
    )


def open_camera(
    spec: str | int | Path | Address,
    *,
    rotate: Rotation = 0,
    flip: Flip = "",
    transport: str = "tcp",
    realtime: bool = False,
    loop: bool = False,
    mask: Callable[[Pixels], Pixels] | None = None,
    paused: bool = False,
    limits: Limits | None = None,
    on_change: OnChange = lambda _before, _after: None,
    too_slow: Callable[[], bool] = lambda: False,
) -> ReconnectingSource:
    """Begin to open a camera or stream, and open it again whenever it is lost.

    Returns at once; the camera need not be there yet. A file is read to its end, as by
    ``open_source``.

    Args:
        spec: As ``open_source`` takes it.
        rotate: Degrees clockwise.
        flip: After rotating: "h" left-right, "v" upside down, "hv" both.
        transport: "tcp" or "udp", for RTSP.
        realtime: Play a file at its own pace, as a camera.
        loop: Play a video file again and again.
        mask: As ``open_source`` takes it.
        paused: Do not open it before ``resume``.
        limits: Time-outs, and when pictures count as frozen or black.
        on_change: Told where it stood and where it stands, by a thread of the camera's own.
        too_slow: Asked every few seconds whether the model is too slow for this camera.

    Returns:
        The source; close it, or use it as a context manager.

    Raises:
        UsageError: It cannot be a source.
    """
    limits = limits or Limits()
    check_options(rotate, flip, transport, limits.open_timeout, limits.read_timeout)
    address = _address(spec)
    return ReconnectingSource(
        address.name,
        _reader(address, transport, limits.open_timeout, limits.read_timeout, loop),
        rotate=rotate,
        flip=flip,
        realtime=realtime,
        mask=mask,
        paused=paused,
        retry=address.kind not in {"video", "pictures"},
        limits=limits,
        on_change=on_change,
        too_slow=too_slow,
    )


def _address(spec: str | int | Path | Address | Sequence[str | Path]) -> Address:
    if isinstance(spec, Address):
        return spec
    if isinstance(spec, (str, int, Path)):
        return parse_address(spec)
    addresses = [parse_address(entry) for entry in spec]
    for address in addresses:
        if address.kind != "pictures":
            raise UsageError(f"{address.name} is not a picture: it is a source of its own")
    if not addresses:
        raise UsageError("a source of no pictures: name at least one")
    return join_pictures(addresses)


def _reader(
    address: Address, transport: str, open_timeout: float, read_timeout: float, loop: bool
) -> Callable[[], Reader]:
    """The function that opens the source, for the thread that reads it."""
    if address.kind == "network":
        from edgecnn_runtime.source.network import NetworkStream

        return lambda: NetworkStream(
            address, transport=transport, open_timeout=open_timeout, read_timeout=read_timeout
        )
    if address.kind == "pictures":
        from edgecnn_runtime.source.pictures import ImageFiles

        return lambda: ImageFiles(address.name, address.files)
    if address.kind == "video":
        from edgecnn_runtime.source.video_file import open_video

        return lambda: open_video(Path(address.target), loop=loop)
    from edgecnn_runtime.source.opencv import OpenCvCamera

    return lambda: OpenCvCamera(address)
