"""From output tensors to results: one file per head.

A decoder is made once per model, with its grids and scratch buffers. Decoding selects by score
before it computes anything, so its cost follows what is in the picture, not the size of the head.
Outputs may hold anything, NaN and infinities too: no decoder raises on them or passes them on.
"""
