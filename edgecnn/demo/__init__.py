"""The whole way in one go, on a rendered clip whose truth is known: ``python -m edgecnn.demo``.

digits.pt is the trained checkpoint; teach.py made it, from MNIST and this package's own renders.
"""
