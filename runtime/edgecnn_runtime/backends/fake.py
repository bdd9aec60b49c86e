"""A backend without an engine: outputs computed from the pixels by a plain function.

It ships with the package so that pipelines, daemons and sinks can be tested without a model.
``open`` reads shapes from the manifest beside the artifact; a test that needs particular outputs
makes ``Fake`` itself, with a function of its own.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np

from edgecnn_runtime.backends import Options, check_options
from edgecnn_runtime.types import Pixels, Tensors

PACKAGE = "edgecnn-runtime"
INSTALL = "pip install edgecnn-runtime"
TARGETS = ("any", "cpu", "openvino", "cpu-rr", "trt")
DEVICE, BUILDS = "cpu", False

Function: TypeAlias = Callable[[Pixels], Tensors]
"""uint8[N,H,W,3] → the outputs by name, the batch first."""


def precisions() -> tuple[str, ...]:
    """f32 only."""
    return ("f32",)


def version() -> str:
    """The project's own."""
    from edgecnn_runtime import __version__

    return __version__


def open(path: Path, options: Options) -> "Fake":  # noqa: A001
    """A fake with the shapes that the manifest beside ``path`` gives. Raises BundleError."""
    from edgecnn_runtime.bundle.bundle import MANIFEST, parse_manifest

    check_options(options, precisions(), "fake")
    manifest = path.with_name(MANIFEST)
    model = parse_manifest(manifest.read_bytes(), str(manifest)).model
    shapes = {
        output.name: tuple(options.batch if size is None else size for size in output.shape)
        for output in model.outputs
    }
    size = (options.batch, model.input.height, model.input.width, 3)
    return Fake(size, lambda pixels: _waves(pixels, shapes))


class Fake:
    """Runs ``function`` on its own pixel buffer."""

    def __init__(self, shape: tuple[int, int, int, int], function: Function) -> None:
        self._pixels = np.zeros(shape, np.uint8)
        self._function = function
        self._outputs = {name: np.array(value) for name, value in function(self._pixels).items()}

    @property
    def pixels(self) -> Pixels:
        """uint8[N,H,W,3], zeros at first."""
        return self._pixels

    @property
    def outputs(self) -> Tensors:
        """Written in place by the engine."""
        return self._outputs

    def run(self) -> Tensors:
        """Call the function and copy what it gives into the buffers that stay."""
        for name, value in self._function(self._pixels).items():
            self._outputs[name][...] = value
        return self._outputs

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
