"""Small networks, one file each; importing this package costs nothing, a model's file has torch.

Four have a recipe for ``edgecnn train``; the others are of license plates and of the demo. A
factory of the four takes ``channels``, ``size`` (side of the square input) and ``classes``, and
returns the module.
"""

from collections.abc import Mapping

MODELS: Mapping[str, str] = {
    "mnist_net": "edgecnn.models.mnist_net:MnistNet",
    "mnist_cnn3": "edgecnn.models.mnist_cnn3:MnistCnn3",
    "mnist_cnn2": "edgecnn.models.mnist_cnn2:MnistCnn2",
    "binary_cnn": "edgecnn.models.binary_cnn:BinaryCnn",
}
"""Name → ``module:factory``. Every one of these modules also has a ``RECIPE``."""
PLATE_MODELS: Mapping[str, str] = {
    "plate_detector": "edgecnn.models.plate_detector:PlateDetector",
    "plate_reader": "edgecnn.models.plate_reader:PlateReader",
}
"""Those of license plates, which are trained by commands of their own; likewise."""
