"""The settings of a plate detector's training, which are flags of ``edgecnn train``."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

AtLeastOne = Annotated[int, Meta(ge=1)]
Side = Annotated[int, Meta(ge=64, le=2048, multiple_of=32)]


class DetectorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings of one training."""

    out: Annotated[
        str, Meta(description="checkpoint to write; the training goes on from OUT.state")
    ] = "plate_detector.pt"
    backgrounds: Annotated[
        tuple[str, ...],
        Meta(
            description="folders of photographs behind the scenes "
            "(default: those that Debian's wallpaper packages install)"
        ),
    ] = ()
    fonts: Annotated[
        tuple[str, ...],
        Meta(description="folders with fonts of plates (default: those of the system)"),
    ] = ()
    photographs: Annotated[
        str,
        Meta(
            description="measure on these afterwards: a folder with labels.tsv (file, x, y, w, h) "
            "in it or in its folders; they are never trained on"
        ),
    ] = ""
    steps: Annotated[
        AtLeastOne,
        Meta(description="steps in all, those of earlier runs included (default: 20000)"),
    ] = 20_000
    batch: Annotated[AtLeastOne, Meta(description="scenes per step (default: 16)")] = 16
    fresh: Annotated[
        AtLeastOne,
        Meta(description="how many of them are new; others return, moved and scaled (default: 4)"),
    ] = 4
    width: Annotated[Side, Meta(description="of a scene in pixels (default: 416)")] = 416
    height: Annotated[Side, Meta(description="of a scene in pixels (default: 256)")] = 256
    lr: Annotated[
        Annotated[float, Meta(gt=0.0)], Meta(description="highest learning rate (default: 0.002)")
    ] = 2e-3
    init_from: Annotated[
        str,
        Meta(description="checkpoint of a plate detector whose weights the training begins with"),
    ] = ""
    seed: Annotated[
        Annotated[int, Meta(ge=0, lt=1 << 20)],
        Meta(description="of the first weights and the scenes (default: 0)"),
    ] = 0
    threads: Annotated[AtLeastOne, Meta(description="CPU threads (default: 1)")] = 1
    device: Annotated[
        Literal["auto", "cpu", "cuda"], Meta(description="where it trains (default: auto)")
    ] = "auto"
    save_every: Annotated[
        AtLeastOne, Meta(description="seconds between two savings (default: 180)")
    ] = 180
