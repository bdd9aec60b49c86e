"""The rendered clip as a video file, as a camera's recorder would have left it."""

from collections.abc import Iterable
from pathlib import Path

from edgecnn.demo.scene import FPS, HEIGHT, WIDTH, Scene
from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.sinks.encoders import open_encoder


def write_clip(scene: Scene, path: Path, frames: Iterable[int]) -> None:
    """Draw these frames, in order, and encode them. Raises EdgecnnError where it cannot."""
    try:
        encoder = open_encoder(path, WIDTH, HEIGHT, FPS)
        try:
            for number, index in enumerate(frames):
                encoder.write(scene.frame(index), number / FPS)
        finally:
            encoder.close()
    except OSError as error:
        raise EdgecnnError(f"cannot write {path}: {error.strerror or error}") from None
