"""The settings of a plate reader's training, which are flags of ``edgecnn train``."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

AtLeastOne = Annotated[int, Meta(ge=1)]


class ReaderConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings of one training."""

    out: Annotated[
        str, Meta(description="checkpoint to write; the training goes on from OUT.state")
    ] = "plate_reader.pt"
    countries: Annotated[
        tuple[str, ...],
        Meta(description="countries whose plates are rendered, such as SK,D,USA (default: all)"),
    ] = ()
    grammars: Annotated[
        tuple[str, ...], Meta(description="grammar files of your own, beside those that ship")
    ] = ()
    fonts: Annotated[
        tuple[str, ...],
        Meta(description="folders with fonts, beside those of the system"),
    ] = ()
    photographs: Annotated[
        tuple[str, ...],
        Meta(
            description="measure on these, and never train on them: tables (file, text, and x, y, "
            "w, h where a file shows more than the plate) or folders of plates named after "
            "their texts"
        ),
    ] = ()
    data: Annotated[
        str, Meta(description="plates of your own to train on beside rendered ones; likewise")
    ] = ""
    share: Annotated[
        Annotated[float, Meta(gt=0.0, lt=1.0)],
        Meta(description="the part of a batch that is from --data (default: 0.25)"),
    ] = 0.25
    steps: Annotated[
        AtLeastOne,
        Meta(description="steps in all, those of earlier runs included (default: 60000)"),
    ] = 60_000
    batch: Annotated[AtLeastOne, Meta(description="crops per step (default: 32)")] = 32
    fresh: Annotated[
        AtLeastOne,
        Meta(description="crops that are rendered for each step; the others return (default: 8)"),
    ] = 8
    pool: Annotated[
        AtLeastOne, Meta(description="crops that are held to return (default: 20000)")
    ] = 20_000
    lr: Annotated[
        Annotated[float, Meta(gt=0.0)],
        Meta(description="highest learning rate; it falls in the last third (default: 0.002)"),
    ] = 2e-3
    init_from: Annotated[
        str, Meta(description="checkpoint of a plate reader whose weights the training begins with")
    ] = ""
    seed: Annotated[
        Annotated[int, Meta(ge=0, lt=1 << 20)],
        Meta(description="of the first weights and the crops (default: 0)"),
    ] = 0
    threads: Annotated[AtLeastOne, Meta(description="CPU threads (default: 1)")] = 1
    device: Annotated[
        Literal["auto", "cpu", "cuda"], Meta(description="where it trains (default: auto)")
    ] = "auto"
    measure_every: Annotated[
        AtLeastOne,
        Meta(description="steps between two measurements and checkpoints (default: 2000)"),
    ] = 2000
    save_every: Annotated[
        AtLeastOne, Meta(description="seconds between two savings of the state (default: 180)")
    ] = 180
