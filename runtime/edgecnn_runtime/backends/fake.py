"""A backend without an engine: outputs computed from the pixels by a plain function.

It ships with the package so that pipelines, daemons and sinks can be tested without a model.
``open`` reads shapes from the manifest beside the artifact; a test that needs particular outputs
makes ``Fake`` itself, with a function of its own.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np

from edgecnn_runtime.backends.base import Engine, Options
from edgecnn_runtime.bundle.bundle import MANIFEST, parse_manifest
from edgecnn_runtime.bundle.manifest import TARGETS
from edgecnn_runtime.errors import BundleError
from edgecnn_runtime.types import Pixels, Tensors

Function: TypeAlias = Callable[[Pixels], Tensors]
"""uint8[N,H,W,3] → the outputs by name, the batch first."""


def load(path: Path, options: Options) -> "Fake":
    """A fake with the shapes in the manifest beside ``path``.

    Raises:
        BundleError: There is no manifest.
    """
    file = path.with_name(MANIFEST)
    if not file.is_file():
        raise BundleError(f"{file}: no such file; the fake reads the shapes of its tensors there")
    spec = parse_manifest(file.read_bytes(), str(file)).model
    shapes = {
        output.name: tuple(options.batch if size is None else size for size in output.shape)
        for output in spec.outputs
    }
    size = (options.batch, spec.input.height, spec.input.width, 3)
    return Fake(size, lambda pixels: _waves(pixels, shapes))


class Fake:
    """Runs ``function`` on its own pixel buffer."""

    def __init__(self, shape: tuple[int, int, int, int], function: Function) -> None:
        self.pixels = np.zeros(shape, np.uint8)
        self.outputs: Tensors = {
            name: np.array(value) for name, value in function(self.pixels).items()
        }
        self._function = function

    def run(self) -> Tensors:
        """Call the function and copy what it returns into the buffers that stay."""
        for name, value in self._function(self.pixels).items():
            self.outputs[name][...] = value
        return self.outputs

    def close(self) -> None:
        """Nothing to release."""


def _waves(pixels: Pixels, shapes: dict[str, tuple[int, ...]]) -> Tensors:
    """Numbers in 0..1 that differ between places, and between pictures."""
    brightness = pixels.reshape(len(pixels), -1).mean(axis=1) / 255.0
    outputs: Tensors = {}
    for name, shape in shapes.items():
        places = np.arange(int(np.prod(shape[1:])))
        waves = 0.5 + 0.5 * np.sin(0.37 * places[None] + 20.0 * brightness[:, None])
        outputs[name] = waves.reshape(shape).astype(np.float32)
    return outputs


ENGINE = Engine(
    name="fake",
    label="the fake backend",
    packages=(),
    targets=TARGETS,
    is_fake=True,
    by_name_only=True,
    precisions=lambda: ("f32",),
    load=load,
)
