"""NNCF's post-training quantisation of an ONNX file."""

import nncf
import numpy as np
import onnx


def quantise(model, pixels, out, preset):
    """An INT8 ONNX file. pixels: .npy, uint8[N,H,W,3], what the graph takes, one at a time.

    preset: "performance" is NNCF's default, "mixed" its asymmetric activations.
    """
    graph = onnx.load(model)
    name = graph.graph.input[0].name
    pictures = np.load(pixels, allow_pickle=False)
    data = nncf.Dataset(list(pictures), lambda picture: {name: picture[None]})
    quantised = nncf.quantize(
        graph, data, preset=nncf.QuantizationPreset(preset), subset_size=len(pictures)
    )
    onnx.save(quantised, out)
