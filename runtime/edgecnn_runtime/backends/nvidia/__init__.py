"""What the backends for NVIDIA GPUs share: the driver, GPU memory, engines built and kept.

Nothing here or in those backends imports a package of NVIDIA's before the driver said that there
is a GPU: without one, some of them end the process when it exits.
"""
