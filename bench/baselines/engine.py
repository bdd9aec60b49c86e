"""An ONNX file on one of the runtime's engines, and nothing else, for races of two files."""

import itertools
from pathlib import Path

import numpy as np

from edgecnn_runtime.backends import Options, get_engine


def results(graph, backend, pixels, threads):
    """Endless outputs. pixels: .npy, uint8[N,H,W,3], one per run."""
    engine = get_engine(backend).open(Path(graph), Options(threads=threads))
    for picture in itertools.cycle(np.load(pixels, allow_pickle=False)):
        engine.pixels[0] = picture
        yield engine.run()


def plain(outputs):
    """Lists by name."""
    return {name: tensor.tolist() for name, tensor in outputs.items()}
