"""Cameras, streams, videos and pictures → frames.

with open_source("rtsp://user:password@camera/stream") as source:
    for frame in source:  # Frame: uint8[H,W,3] BGR, and when it was captured
        ...
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.source.address import Address, join_pictures, parse_address, redact
from edgecnn_runtime.source.capture import Reader, Source, check_options
from edgecnn_runtime.source.orientation import Flip, Rotation
from edgecnn_runtime.types import Pixels

__all__ = [
    "Address", "Source", "check_options", "join_pictures", "open_source", "parse_address", "redact",
]  # fmt: skip


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
