"""Cameras, streams, videos and pictures → frames, oldest first, always released.

with open_source("rtsp://user:password@camera/stream") as source:
    for frame in source:  # Frame: uint8[H,W,3] BGR, and when it was taken
        ...
"""

from collections.abc import Callable
from pathlib import Path

from edgecnn_runtime.source.address import Address, parse_address, redact
from edgecnn_runtime.source.capture import Reader, Source, check_options
from edgecnn_runtime.source.orientation import Flip, Rotation

__all__ = ["Source", "check_options", "open_source", "parse_address", "redact"]


def open_source(
    spec: str | int | Path,
    *,
    rotate: Rotation = 0,
    flip: Flip = "",
    transport: str = "tcp",
    open_timeout: float = 10.0,
    read_timeout: float = 10.0,
    realtime: bool = False,
    loop: bool = False,
) -> Source:
    """Open anything that pictures come out of.

    spec: device index (0, "0", "/dev/video0", with "?width=1280&height=720&fps=30"), video file,
        picture, folder of pictures, "rtsp://…", "http://…", "csi://0" (a Jetson's camera),
        "gst:PIPELINE" (both need an OpenCV built with GStreamer).
    rotate: degrees clockwise; flip, after that: "h" left-right, "v" upside down, "hv" both.
    transport: "tcp" or "udp", of RTSP.
    open_timeout, read_timeout: seconds until a source that does not answer is lost.
    realtime: play a file at its own pace and drop what is not taken in time, as a camera would.
    loop: play a video file again and again.

    Network streams are read by PyAV (the extra ``stream``), everything else by OpenCV.
    Raises UsageError for what cannot be a source, SourceLostError for one that does not answer,
    BackendMissingError where PyAV or GStreamer is needed and absent.
    """
    check_options(rotate, flip, transport, open_timeout, read_timeout)
    address = parse_address(spec)
    return Source(
        address.name,
        _reader(address, transport, open_timeout, read_timeout, loop),
        rotate=rotate,
        flip=flip,
        open_timeout=open_timeout,
        read_timeout=read_timeout,
        realtime=realtime,
    )


def _reader(
    address: Address, transport: str, open_timeout: float, read_timeout: float, loop: bool
) -> Callable[[], Reader]:
    """What opens the source, to be called in the thread that will read it."""
    if address.kind == "network":
        from edgecnn_runtime.source.network import NetworkStream

        return lambda: NetworkStream(
            address, transport=transport, open_timeout=open_timeout, read_timeout=read_timeout
        )
    if address.kind == "pictures":
        from edgecnn_runtime.source.pictures import ImageFiles

        return lambda: ImageFiles(Path(address.target))
    from edgecnn_runtime.source.opencv import OpenCvCamera, VideoFile

    if address.kind == "video":
        return lambda: VideoFile(Path(address.target), loop=loop)
    return lambda: OpenCvCamera(address)
