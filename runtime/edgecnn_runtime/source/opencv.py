"""What OpenCV reads: video files, USB and CSI cameras, GStreamer pipelines."""

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.errors import BackendMissingError, SourceLostError
from edgecnn_runtime.requirements import install_command
from edgecnn_runtime.source.access import forbidden
from edgecnn_runtime.source.address import Address
from edgecnn_runtime.source.capture import RawFrame
from edgecnn_runtime.source.truncation import missing_bytes

MIN_STEP = 1e-4
"""Seconds from a frame to the next at least, where their stamps are times."""
MAX_UNDECODABLE_PACKETS = 250
"""Packets in a row that may be undecodable before a damaged video is given up."""
MAX_BLACK = 250
"""Frames from the first that may be black to the last bit before the video is given up."""


class OpenCvVideo:
    """What OpenCV reads of a video file where PyAV is not installed: every frame, in order.

    One that was cut short is recognized. OpenCV conceals damage within frames and says nothing.

    Attributes:
        fps: Nominal frames per second; 0.0 if unknown.
    """

    live = False

    def __init__(self, path: Path, *, loop: bool = False) -> None:
        """Open it.

        Args:
            path: Its name has to be UTF-8.
            loop: Begin anew at the end, time stamps going on.

        Raises:
            SourceLostError: There is no video in it, or it may not be read.
        """
        self._path, self._loop = path, loop
        self._capture = self._open()
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = rate if rate < 1 / MIN_STEP else 0.0
        self._expected = round(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._count = self._holes = 0
        self._base = self._pts = 0.0
        self._black = True

    def read(self) -> RawFrame | None:
        """The next frame, skipping what cannot be decoded; None at the end of a complete file.

        Raises:
            SourceLostError: The file ended, and it is cut short or damaged.
        """
        if not self._grab():
            self._check_whole()
            if not self._loop:
                return None
            self._rewind()
            if not self._grab():
                return None
        _, pixels = self._capture.retrieve()
        self._pts = self._stamp()
        self._count += 1
        self._check_black(np.asarray(pixels))
        return RawFrame(pixels, self._pts)

    def close(self) -> None:
        """Release the decoder."""
        self._capture.release()

    def _open(self) -> cv2.VideoCapture:
        name = str(self._path.absolute())  # a colon in a relative one is taken for a protocol
        if name != name.encode("utf-8", "replace").decode():  # OpenCV crashes on it
            raise _needs_pyav(f"{name!r}: OpenCV opens no name that is not UTF-8")
        capture = cv2.VideoCapture(name, _backend("FFMPEG"))
        if capture.isOpened():
            return capture
        try:
            cut = missing_bytes(self._path)
        except PermissionError:
            raise SourceLostError(forbidden(self._path)) from None
        reason = f"it is cut short, {cut} bytes are missing" if cut else "no video is found in it"
        raise SourceLostError(f"{self._path} cannot be read: {reason}")

    def _stamp(self) -> float:
        """The frame's time stamp; where there are none (raw H.264), at the nominal rate."""
        # the OpenCV of Debian 12 invents steps of microseconds, and begins before the start
        stamp = self._base + max(0.0, self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        advances = stamp > self._pts + MIN_STEP
        return stamp if advances or not self._count else self._pts + self._step

    @property
    def _step(self) -> float:
        return 1 / (self.fps or 25.0)

    def _check_black(self, pixels: NDArray[Any]) -> None:
        """OpenCV 4.13 to 5.0 reads interlaced frames as zeros, and says that all is well."""
        self._black = self._black and not pixels.any()
        if self._black and self._count >= MAX_BLACK:
            self._refuse_black()

    def _refuse_black(self) -> None:
        raise _needs_pyav(
            f"{self._path}: all of its first {self._count} frames are black, as OpenCV 4.13 to 5.0 "
            "reads interlaced video"
        )

    def _grab(self) -> bool:
        if self._capture.grab():
            return True
        if self._count >= self._expected or not any(
            self._capture.grab() for _ in range(MAX_UNDECODABLE_PACKETS)
        ):
            return False
        self._holes += 1
        return True

    def _check_whole(self) -> None:
        cut = missing_bytes(self._path)
        if cut:
            what = f"ends in mid-frame, {cut} bytes are missing"
        elif not self._count:
            raise _needs_pyav(f"{self._path}: this OpenCV can decode none of its frames")
        elif self._holes:
            what = "is damaged"
        elif self._black:
            self._refuse_black()
        else:
            return
        raise SourceLostError(
            f"{self._path} {what}: {self._count} of about {self._expected} frames were read"
        )

    def _rewind(self) -> None:
        self._base = self._pts + self._step
        self._count = 0
        self._capture.release()
        self._capture = self._open()


class OpenCvCamera:
    """Reader of a USB camera, a CSI camera or a GStreamer pipeline."""

    live = True

    def __init__(self, address: Address) -> None:
        self._name = address.name
        if address.kind == "device":
            self._capture = _device(address)
        else:
            pipeline = csi_pipeline(address) if address.kind == "csi" else address.target
            self._capture = _gstreamer(with_appsink(pipeline))
        if not self._capture.isOpened():
            hint = "try it with gst-launch-1.0"
            if address.kind == "device":
                hint = "is another program using it? `edgecnn doctor` lists the cameras found here"
            raise SourceLostError(f"{self._name} cannot be opened: {hint}")
        self.fps = max(0.0, float(self._capture.get(cv2.CAP_PROP_FPS)))

    def read(self) -> RawFrame | None:
        """The next picture.

        Raises:
            SourceLostError: The camera delivers none.
        """
        got, pixels = self._capture.read()
        if not got:
            raise SourceLostError(
                f"{self._name} gives no more pictures: it was unplugged, or has ended"
            )
        stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        return RawFrame(pixels, stamp / 1000 if stamp > 0 else None)

    def close(self) -> None:
        """Release the camera."""
        self._capture.release()


def csi_pipeline(address: Address) -> str:
    """The pipeline of a Jetson's CSI camera, sensor ``address.target``, before ``with_appsink``."""
    settings = {"width": 1920, "height": 1080, "fps": 30} | address.settings
    return (
        f"nvarguscamerasrc sensor-id={address.target} "
        "! video/x-raw(memory:NVMM),"
        f"width={settings['width']},height={settings['height']},framerate={settings['fps']}/1 "
        "! nvvidconv ! video/x-raw,format=BGRx"
    )


def with_appsink(pipeline: str) -> str:
    """A pipeline that ends in BGR pictures for us; one with an appsink of its own is kept."""
    if "appsink" in pipeline:
        return pipeline
    return (
        f"{pipeline} ! videoconvert ! video/x-raw,format=BGR "
        "! appsink drop=true max-buffers=1 sync=false"
    )


def _needs_pyav(problem: str) -> SourceLostError:
    return SourceLostError(f"{problem}; PyAV reads more: {install_command('stream')}")


def _device(address: Address) -> cv2.VideoCapture:
    path = Path(f"/dev/video{address.target}" if address.target.isdigit() else address.target)
    if sys.platform == "linux" and not path.exists():
        names = ", ".join(sorted(str(other) for other in Path("/dev").glob("video*"))) or "none"
        raise SourceLostError(f"{path}: no such camera; found here: {names}")
    # A name that stays may lead to another number each time the camera is plugged in.
    number = path.resolve().name.removeprefix("video")
    if not number.isdecimal():
        raise SourceLostError(f"{path}: not a camera")
    index = int(number)
    capture = cv2.VideoCapture(index, _backend("V4L2"))
    if address.settings:
        # Uncompressed, USB 2 carries only a few large pictures a second.
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    properties = {
        "width": cv2.CAP_PROP_FRAME_WIDTH,
        "height": cv2.CAP_PROP_FRAME_HEIGHT,
        "fps": cv2.CAP_PROP_FPS,
    }
    for key, value in address.settings.items():
        capture.set(properties[key], value)
    return capture


def _gstreamer(pipeline: str) -> cv2.VideoCapture:
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise BackendMissingError(
            "this OpenCV was built without GStreamer, as all of pip's are: use the system's "
            "(sudo apt install python3-opencv; a Jetson brings one) in an environment made with "
            "`python3 -m venv --system-site-packages`, and install edgecnn there without its extra "
            "opencv"
        )
    return cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)


def _backend(name: str) -> int:
    """OpenCV's number for a way to capture; "any" where this build lacks it."""
    number = int(getattr(cv2, f"CAP_{name}"))
    return number if cv2.videoio_registry.hasBackend(number) else int(cv2.CAP_ANY)
