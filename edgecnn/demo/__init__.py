"""The whole way in one go, on a rendered clip whose truth is known: ``python -m edgecnn.demo``.

digits.pt is the trained checkpoint; train_demo.py trains it on MNIST and this package's renders.
reader.pt and workshop-*.pt are for the pictures of the other tasks; ``edgecnn.train.reader`` and
``edgecnn.train.workshop`` train them on renders alone.
"""
