"""NNCF's post-training quantization of an ONNX file."""

import nncf
import numpy as np
import onnx


def quantize(model, pixels, out, preset):
    """An INT8 ONNX file. pixels: .npy, uint8[N,H,W,3], what the graph takes, one at a time.

    preset: "performance" is NNCF's default, "mixed" its asymmetric activations.
    """
    graph = onnx.load(model)
    name = graph.graph.input[0].name
    pictures = np.load(pixels, allow_pickle=False)
    data = nncf.Dataset(list(pictures), lambda picture: {name: picture[None]})
    quantized = nncf.quantize(
        graph, data, preset=nncf.QuantizationPreset(preset), subset_size=len(pictures)
    )
    onnx.save(quantized, out)
