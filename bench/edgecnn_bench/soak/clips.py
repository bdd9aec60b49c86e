"""Clips to play as cameras: without B-frames, a key frame each second, a counter in every picture.

The counter tells how old a picture is, wherever it is seen: its number, and when the server sent
the picture with that number.
"""

from itertools import islice
from pathlib import Path

import numpy as np

from edgecnn_runtime.errors import BackendMissingError, UsageError
from edgecnn_runtime.requirements import install_command
from edgecnn_runtime.source import open_source
from edgecnn_runtime.types import Pixels

BITS = 16
SQUARES_ACROSS = 64
"""Squares of the counter that would fit side by side; it has ``BITS`` of them."""
WHITE, BLACK = 235, 16
PICTURES = 250
"""Of a clip: with 25 per second, an age below 10 s is told by the counter alone."""


def write_clip(
    video: Path, clip: Path, *, pictures: int = PICTURES, fps: float = 25.0, counter: bool = True
) -> int:
    """Encode a video as a clip for ``ClipCameras``.

    A video with fewer pictures is run through forward and backward, so that nothing in it jumps.

    Args:
        video: Any that can be read.
        clip: H.264 MP4 to be written.
        pictures: How many the clip has.
        fps: Nominal pictures per second.
        counter: Whether a counter is drawn.

    Returns:
        The number of pictures.

    Raises:
        UsageError: There is no picture in the video.
        BackendMissingError: PyAV is not installed.
    """
    try:
        import av
    except ImportError:
        raise BackendMissingError(
            f"clips are encoded by PyAV: {install_command('stream')}"
        ) from None
    with open_source(video) as source:
        frames = [frame.pixels for frame in islice(source, pictures)]
    if not frames:
        raise UsageError(f"{video}: there is no picture in it")
    tour = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    height, width = (side // 2 * 2 for side in frames[0].shape[:2])
    options = {"preset": "veryfast", "crf": "23", "x264-params": "keyint=25:scenecut=0:bframes=0"}
    with av.open(str(clip.absolute()), "w") as container:
        stream = container.add_stream("libx264", rate=round(fps), options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(pictures):
            pixels = frames[tour[number % len(tour)]][:height, :width].copy()
            if counter:
                draw_counter(pixels, number)
            frame = av.VideoFrame.from_ndarray(pixels, format="bgr24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return pictures


def draw_counter(pixels: Pixels, number: int) -> None:
    """Draw a number as squares into the lower left corner, most significant bit first.

    Args:
        pixels: uint8[H,W,3] BGR, written to; W is at least 128.
        number: Below 65,536.
    """
    side = pixels.shape[1] // SQUARES_ACROSS
    for place in range(BITS):
        bit = number >> (BITS - 1 - place) & 1
        pixels[-side:, place * side : (place + 1) * side] = WHITE if bit else BLACK


def read_counter(pixels: Pixels) -> int:
    """The number that ``draw_counter`` drew, before the picture was encoded or resized.

    Args:
        pixels: uint8[H,W,3] BGR.

    Returns:
        Nonsense where the picture has no counter.
    """
    side = pixels.shape[1] // SQUARES_ACROSS
    y = pixels.shape[0] - side // 2 - 1
    middles = [place * side + side // 2 for place in range(BITS)]
    bits = pixels[y, middles, 0] > (WHITE + BLACK) // 2
    return int(bits @ (1 << np.arange(BITS - 1, -1, -1)))
