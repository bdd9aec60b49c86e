"""RapidOCR's recognizer against a bundle of the same ONNX file, on 200 real plate crops.

PP-OCRv6's small recognizer, from the wheel; one crop per call, all cores, 320x48 on both sides as
RapidOCR has it. A plate needs fewer pixels: the bundle is raced at 192x48 too.
"""

from collections.abc import Iterator

import msgspec
from lib.fetch import CACHE
from lib.material import ASSETS
from lib.trained import TRAINED
from runner.exports import export, select
from runner.race import faster, race
from runner.rows import BaselineRow
from runner.setting import Setting

from edgecnn_export.config import ExportConfig

CROPS = ASSETS / "plates" / "crops"
SIZES = ("320x48", "192x48")
GOAL = 1.0


def compare(setting: Setting) -> Iterator[BaselineRow]:
    """The choice measured here, of float precisions."""
    network = TRAINED["PP-OCRv6_rec_small"](CACHE)
    truth = [file.stem for file in sorted(CROPS.iterdir())]
    for size in SIZES:
        config = network.config(out=str(setting.folder / f"rec-{size}.edge"), reduced=True)
        yield race_at(setting, msgspec.structs.replace(config, input=size), truth)


def race_at(setting: Setting, config: ExportConfig, truth: list[str]) -> BaselineRow:
    """One input size."""
    bundle = export(config)
    cache = select(bundle, seconds=1 if setting.quick else 4)
    loading = {"bundle": str(bundle), "cache_dir": str(cache)}
    with setting.ours() as ours, setting.theirs() as theirs:
        name = ours.call("choice", **loading)
        ours.start(source=str(CROPS), memory=len(truth), **loading)
        theirs.start(pictures=str(CROPS))
        pace = setting.pace(12, 50)
        texts = [answer["result"] for answer in ours.look(len(truth))]
        their_texts = theirs.look(len(truth))
        rates = race({name: ours, "RapidOCR": theirs}, pace)
    return BaselineRow(
        work=f"plate crops, {config.input}",
        ours=name,
        theirs="RapidOCR",
        fps=rates,
        speed=faster(rates[name], rates["RapidOCR"]),
        answers=f"{equal(texts, their_texts)} of {len(truth)} texts equal; letters and "
        f"digits all right in {right(texts, truth):.1%}, theirs {right(their_texts, truth):.1%}",
        goal=GOAL,
    )


def equal(ours: list[str], theirs: list[str]) -> int:
    """How many are the same."""
    return sum(a == b for a, b in zip(ours, theirs, strict=True))


def right(texts: list[str], truth: list[str]) -> float:
    """The share that is right but for the dot and the province's character it was not made for."""
    plain = ["".join(c for c in text if c.isascii() and c.isalnum()) for text in texts]
    return equal(plain, [text[1:] for text in truth]) / len(truth)
