"""The edgecnn runtime: bundles in, camera frames in, results out; no torch in it.

from edgecnn_runtime import load
model = load("digits.edge")
result = model(frame)  # uint8[H,W,3] BGR
"""

__version__ = "0.1.0"
