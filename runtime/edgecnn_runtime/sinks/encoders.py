"""Frames → a video file: H.264 by PyAV, or what OpenCV's wheels can write."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import cv2

from edgecnn_runtime.requirements import install_command
from edgecnn_runtime.types import Pixels

CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "XVID"}
"""File endings, and the codec OpenCV writes into each."""
TICKS = 90000
"""Time stamps per second in H.264 files."""
MAX_SIDE = 16384
"""Pixels of a side that libx264 takes."""
FRAGMENT = 1
"""Seconds of a recording that are lost at most if the process is killed."""


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
        """Complete the file. One that cannot be played is removed.

        Raises:
            OSError: The file cannot be completed.
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
    """Encoder by PyAV and libx264; each frame has a time of its own. Sizes are made even.

    The file can be played at any moment: it grows by fragments of FRAGMENT seconds, which ``close``
    turns into an ordinary file, in its place.
    """

    codec = "H.264"

    def __init__(self, path: Path, width: int, height: int, fps: float) -> None:
        import av

        if max(width, height) > MAX_SIDE:
            raise OSError(
                f"H.264 takes {MAX_SIDE} pixels a side and not {width}x{height}: name a picture "
                "(.jpg, .png) or a folder (DIR/)"
            )
        self._path = path.absolute()  # FFmpeg takes a colon in a relative name for a protocol
        self._frame = av.VideoFrame
        options = {"flush_packets": "1"}
        if path.suffix.lower() == ".mkv":
            options |= {"cluster_time_limit": str(1000 * FRAGMENT)}
        else:
            flags = "frag_keyframe+empty_moov+default_base_moof+hybrid_fragmented"
            options |= {"movflags": flags, "frag_duration": str(1_000_000 * FRAGMENT)}
        with _as_os_error():
            self._container = av.open(str(self._path), "w", options=options)
            rate = Fraction(fps).limit_denominator(1001)
            # As cheap as OpenCV's MPEG-4 (13 ms a 1080p frame), smaller, and browsers play it.
            encoding = {"preset": "ultrafast", "crf": "25"}
            self._stream: Any = self._container.add_stream("libx264", rate=rate, options=encoding)
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
        with _as_os_error():
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Flush the encoder and write the index; without it, the fragments are what stays."""
        try:
            with _as_os_error():
                try:
                    self._container.mux(self._stream.encode())
                finally:
                    self._container.close()
        except OSError:
            if not self._playable():
                self._path.unlink(missing_ok=True)
            raise

    def _playable(self) -> bool:
        import av

        with suppress(av.FFmpegError), av.open(str(self._path)) as container:
            return any(packet.size for packet in container.demux(video=0))
        return False


@contextmanager
def _as_os_error() -> Iterator[None]:
    """FFmpeg's errors as what they are for a caller: the file cannot be written."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        raise OSError(error.errno, error.strerror) from None


class OpenCvVideo:
    """Encoder by OpenCV, at a constant rate: gaps are filled with the frame before them.

    The file can be played once it is closed.
    """

    codec = "MPEG-4"

    def __init__(self, path: Path, width: int, height: int, fps: float) -> None:
        self._path = path.absolute()
        if not str(path).isprintable():  # OpenCV crashes on a name that is not UTF-8
            raise OSError("OpenCV writes no file of such a name: name it with plain letters")
        path.touch()  # OpenCV does not say why it cannot write a file
        codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()])
        self._writer = cv2.VideoWriter(str(self._path), codec, fps, (width, height))
        if not self._writer.isOpened():
            path.unlink()
            raise OSError(
                f"this OpenCV writes no {path.suffix} video of {width}x{height}: "
                f"{install_command('stream')}, or name an .avi"
            )
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
        """Write the index, and look at the file: OpenCV does not say whether it could."""
        self._writer.release()
        capture = cv2.VideoCapture(str(self._path))
        if not capture.grab():
            self._path.unlink(missing_ok=True)
            raise OSError("the video could not be completed; is the disk full?")
        if capture.get(cv2.CAP_PROP_FRAME_COUNT) < 0.9 * self._count - 2:  # some containers round
            raise OSError("the end of the video is missing; is the disk full?")
