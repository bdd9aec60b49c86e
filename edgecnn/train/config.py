"""The settings of a training, which are the flags of ``edgecnn train``.

A setting that is None is taken from the network's recipe (``edgecnn.models``).
"""

import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edgecnn.models import MODELS
from edgecnn_runtime.bundle.manifest import Interpolation, Resize
from edgecnn_runtime.errors import EdgecnnError, UsageError

Augmentation = Literal["rotate", "flip", "scale", "shift"]
Fraction = Annotated[float, Meta(ge=0.0, lt=1.0)]
Count = Annotated[int, Meta(ge=0)]
AtLeastOne = Annotated[int, Meta(ge=1)]


class TrainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings of one training."""

    model: Annotated[str, Meta(description="mnist_net, mnist_cnn3, mnist_cnn2 or binary_cnn")]
    data: Annotated[
        str,
        Meta(description="folder of IDX files (MNIST), or of pictures with one folder per class"),
    ]
    out: Annotated[str, Meta(description="checkpoint to write (default: model.pt)")] = "model.pt"
    labels: Annotated[
        str, Meta(description="file with one class name per line, in the order of the labels")
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
        Meta(description="area is better for large pictures (default); linear is faster"),
    ] = "area"

    epochs: Annotated[
        AtLeastOne | None, Meta(description="passes over the data (default: the recipe's)")
    ] = None
    batch: Annotated[
        AtLeastOne | None, Meta(description="pictures per step (default: the recipe's)")
    ] = None
    lr: Annotated[
        Annotated[float, Meta(gt=0.0)] | None,
        Meta(description="learning rate (default: the recipe's)"),
    ] = None
    augment: Annotated[
        tuple[Augmentation, ...],
        Meta(description="vary the training pictures: any of rotate,flip,scale,shift"),
    ] = ()
    seed: Annotated[
        Count,
        Meta(
            description="the same seed, data, threads and versions give the same checkpoint "
            "(default: 0)"
        ),
    ] = 0
    threads: Annotated[
        AtLeastOne,
        Meta(description="CPU threads; 2 help large networks on an idle machine (default: 1)"),
    ] = 1

    val_split: Annotated[
        Fraction,
        Meta(description="fraction of the training pictures used for validation (default: 0.1)"),
    ] = 0.1
    test_split: Annotated[
        Fraction,
        Meta(description="fraction used for testing if the data has no test part (default: 0.2)"),
    ] = 0.2
    patience: Annotated[
        Count,
        Meta(
            description="stop after this many epochs without a lower validation loss, "
            "and use the best epoch (default: 0, never stop early)"
        ),
    ] = 0

    init_from: Annotated[
        str, Meta(description="checkpoint or state dict to copy all weights from that fit")
    ] = ""
    weights_key: Annotated[
        str, Meta(description="the set of weights to take of --init-from where it has several")
    ] = ""
    freeze: Annotated[
        tuple[str, ...],
        Meta(description="do not train weights whose names begin with these, e.g. conv1,conv2"),
    ] = ()


def check_config(config: TrainConfig) -> None:
    """Check what can be checked before torch is imported.

    Args:
        config: The settings.

    Raises:
        UsageError: There is no such network, or a file is not there.
        EdgecnnError: The checkpoint cannot be written.
    """
    if config.model not in MODELS:
        raise UsageError(f"there is no network {config.model!r}; known: {', '.join(MODELS)}")
    for flag, file in (("--labels", config.labels), ("--init-from", config.init_from)):
        if file and not Path(file).is_file():
            raise UsageError(f"{flag} {file}: no such file")
    out = Path(config.out)
    folder = out.resolve().parent
    if out.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        what = "is a folder" if out.is_dir() else f"{folder} is missing or not writable"
        raise EdgecnnError(f"cannot write {out}: {what}; name another --out")
