"""What the backends for NVIDIA GPUs share: the driver, GPU memory, stored engines.

Neither they nor those backends import a package of NVIDIA's before the driver has found a GPU:
without one, some of these packages crash the process when it exits.
"""
