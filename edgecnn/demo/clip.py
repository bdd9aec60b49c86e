"""The rendered clip as a video file, as a camera's recorder would write it."""

from collections.abc import Iterable
from pathlib import Path

from edgecnn.demo.scene import FPS, HEIGHT, WIDTH, Scene
from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.sinks.encoders import open_encoder


def write_clip(scene: Scene, path: Path, frames: Iterable[int]) -> None:
    """Draw frames and encode them.

    Args:
        scene: What is drawn.
        path: The file to write.
        frames: Indices of the frames, in order.

    Raises:
        EdgecnnError: The file cannot be written.
    """
    try:
        encoder = open_encoder(path, WIDTH, HEIGHT, FPS)
        try:
            for number, index in enumerate(frames):
                encoder.write(scene.frame(index), number / FPS)
        finally:
            encoder.close()
    except OSError as error:
        raise EdgecnnError(f"cannot write {path}: {error.strerror or error}") from None
