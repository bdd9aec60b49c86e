"""Everything a training can be told, once: the flags of ``edgecnn train``.

What is None comes from the network's own recipe (``edgecnn.models``).
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edgecnn_runtime.bundle.manifest import Interpolation, Resize

Augmentation = Literal["rotate", "flip", "scale", "shift"]
Share = Annotated[float, Meta(ge=0.0, lt=1.0)]
Whole = Annotated[int, Meta(ge=0)]
AtLeastOne = Annotated[int, Meta(ge=1)]


class TrainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One training, fully said."""

    model: Annotated[str, Meta(description="mnist_net, mnist_cnn3, mnist_cnn2 or binary_cnn")]
    data: Annotated[
        str,
        Meta(description="folder of IDX files (MNIST) or of pictures, one folder a class"),
    ]
    out: Annotated[str, Meta(description="checkpoint to write (default: model.pt)")] = "model.pt"
    labels: Annotated[
        str, Meta(description="file with one class name a line, in the order of the labels")
    ] = ""
    size: Annotated[
        Annotated[int, Meta(ge=1, le=1024)] | None,
        Meta(description="side of the square input in pixels (default: the recipe's)"),
    ] = None
    resize: Annotated[
        Resize,
        Meta(
            description="how pictures are fitted to the input, as on the device (default: stretch)"
        ),
    ] = "stretch"
    interpolation: Annotated[
        Interpolation,
        Meta(description="area shrinks large pictures well (default); linear is fast"),
    ] = "area"

    epochs: Annotated[
        AtLeastOne | None, Meta(description="passes over the data (default: the recipe's)")
    ] = None
    batch: Annotated[
        AtLeastOne | None, Meta(description="pictures a step (default: the recipe's)")
    ] = None
    lr: Annotated[
        Annotated[float, Meta(gt=0.0)] | None,
        Meta(description="learning rate (default: the recipe's)"),
    ] = None
    augment: Annotated[
        tuple[Augmentation, ...],
        Meta(description="vary the training pictures: rotate,flip,scale,shift or some of them"),
    ] = ()
    seed: Annotated[
        Whole,
        Meta(description="same seed, data, threads and versions: same checkpoint (default: 0)"),
    ] = 0
    threads: Annotated[
        AtLeastOne,
        Meta(description="CPU threads; 2 help large networks on an idle machine (default: 1)"),
    ] = 1

    val_split: Annotated[
        Share, Meta(description="share of the training pictures kept for validation (default: 0.1)")
    ] = 0.1
    test_split: Annotated[
        Share,
        Meta(description="share kept for testing where the data has no test part (default: 0.2)"),
    ] = 0.2
    patience: Annotated[
        Whole,
        Meta(
            description="stop after this many epochs without a better validation loss, "
            "and keep the best epoch (default: 0, never)"
        ),
    ] = 0

    init_from: Annotated[
        str, Meta(description="checkpoint or state dict whose fitting weights to start from")
    ] = ""
    freeze: Annotated[
        tuple[str, ...],
        Meta(description="leave weights whose names begin so as they are, e.g. conv1,conv2"),
    ] = ()
