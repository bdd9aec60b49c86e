"""Frames → a video file: H.264 by PyAV, or what OpenCV's wheels can write."""

from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import cv2

from edgecnn_runtime.types import Pixels

CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "XVID"}
"""File endings, and the codec OpenCV writes into each."""
TICKS = 90000
"""Time stamps per second in H.264 files."""


class Encoder(Protocol):
    """Writes frames of one size into a video file.

    Attributes:
        codec: Its name.
    """

    codec: str

    def hold(self, at: float) -> None:
        """Show the last frame until ``at`` seconds after the first one.

        ``write`` does so as well; this is for a caller whose next frame overwrites the last one.

        Raises:
            OSError: The file cannot be written.
        """

    def write(self, pixels: Pixels, at: float) -> None:
        """Add a frame.

        Args:
            pixels: uint8[H,W,3] BGR; may be read again until the next call has returned.
            at: Seconds after the first frame.

        Raises:
            OSError: The file cannot be written.
        """

    def close(self) -> None:
        """Complete the file.

        Raises:
            OSError: The file cannot be written.
        """


def open_encoder(path: Path, width: int, height: int, fps: float) -> Encoder:
    """Open H.264 where PyAV is installed and brings it, OpenCV's MPEG-4 otherwise.

    Args:
        path: Its ending is one of CODECS.
        width: Of every frame, in pixels.
        height: Of every frame, in pixels.
        fps: Nominal frames per second.

    Raises:
        OSError: The file cannot be written, or not by what is installed.
    """
    if path.suffix.lower() != ".avi" and find_spec("av") is not None:
        import av

        if "libx264" in av.codecs_available:
            return H264(path, width, height, fps)
    return OpenCvVideo(path, width, height, fps)


class H264:
    """Encoder by PyAV and libx264; each frame has a time of its own. Sizes are made even."""

    codec = "H.264"

    def __init__(self, path: Path, width: int, height: int, fps: float) -> None:
        import av

        self._frame = av.VideoFrame
        index_first = {} if path.suffix.lower() == ".mkv" else {"movflags": "faststart"}
        self._container = av.open(str(path), "w", options=index_first)
        rate = Fraction(fps).limit_denominator(1001)
        # As cheap as OpenCV's MPEG-4 (13 ms a 1080p frame), smaller, and browsers play it.
        options = {"preset": "ultrafast", "crf": "25"}
        self._stream: Any = self._container.add_stream("libx264", rate=rate, options=options)
        self._stream.width, self._stream.height = max(2, width // 2 * 2), max(2, height // 2 * 2)
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, TICKS)
        self._last = -1

    def hold(self, at: float) -> None:
        """Nothing to do: a frame is shown until the next one."""

    def write(self, pixels: Pixels, at: float) -> None:
        """Add a frame; one that is not later than the last is put right behind it."""
        cut = pixels[: self._stream.height, : self._stream.width]
        # A view: encoding converts it to YUV at once, and looks at it no more.
        frame = self._frame.from_numpy_buffer(cut, format="bgr24")
        self._last = max(self._last + 1, round(at * TICKS))
        frame.pts, frame.time_base = self._last, Fraction(1, TICKS)
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Flush the encoder and write the index."""
        try:
            self._container.mux(self._stream.encode())
        finally:
            self._container.close()


class OpenCvVideo:
    """Encoder by OpenCV, at a constant rate: gaps are filled with the frame before them."""

    codec = "MPEG-4"

    def __init__(self, path: Path, width: int, height: int, fps: float) -> None:
        path.touch()  # OpenCV does not say why it cannot write a file
        codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()])
        self._writer = cv2.VideoWriter(str(path), codec, fps, (width, height))
        if not self._writer.isOpened():
            path.unlink()
            raise OSError(f"this OpenCV cannot write {path.suffix} files: name an .mp4 or .avi")
        self._fps = fps
        self._count = 0
        self._before: Pixels | None = None

    def hold(self, at: float) -> None:
        """Repeat the last frame at every tick before the one at ``at``."""
        while self._before is not None and self._count < round(at * self._fps):
            self._writer.write(self._before)
            self._count += 1

    def write(self, pixels: Pixels, at: float) -> None:
        """Add a frame at the nearest tick, unless that tick has one already."""
        self.hold(at)
        if self._count <= round(at * self._fps):
            self._writer.write(pixels)
            self._count += 1
        self._before = pixels

    def close(self) -> None:
        """Write the index."""
        self._writer.release()
