"""What the network answers to the transform's picture, and what rounding it to bytes costs."""

from collections.abc import Sequence

import msgspec
import numpy as np

from edgecnn_runtime.backends import Options, open_backend
from edgecnn_runtime.bundle.bundle import Bundle
from edgecnn_runtime.bundle.manifest import Parity
from edgecnn_runtime.parity import parity
from edgecnn_runtime.selection.candidates import candidates
from edgecnn_runtime.types import Floats, Pixels
from edgecnn_runtime.verification.result_matching import results_match
from edgecnn_runtime.verification.selftest import decode_all, run_batches


class OutputDrift(msgspec.Struct, frozen=True, kw_only=True):
    """The float artifact's answers to the transform's pictures against those to the bundle's own.

    An artifact takes bytes, so the transform's tensor is taken back to pixels and rounded.
    parity: by output. agreement: share of pictures with an equal decoded result.
    rounded, clipped: mean gray levels that rounding took, and that lay outside 0..255.
    rounding: parity between two ways to round the same tensor (to the nearest, and by chance);
    a drift no larger than this may be nothing but rounding.
    """

    engine: str
    parity: dict[str, Parity]
    agreement: float
    rounded: float
    clipped: float
    rounding: dict[str, Parity]


def output_drift(
    bundle: Bundle, shown: Pixels, told: Sequence[Floats], backend: str = ""
) -> tuple[OutputDrift, list[bool]]:
    """Also says of each picture whether the decoded results are equal.

    shown: uint8[N,H,W,3] BGR, as the runtime prepares the pictures. told: float32[H,W,3] BGR in
    gray levels, one a picture, what the transform makes of them.
    Raises BackendMissingError where no engine is installed.
    """
    model = bundle.manifest.model
    choice = next(c for c in candidates(bundle, backend=backend) if c.artifact.precision == "fp32")
    floats = np.stack(told)
    kept = floats.clip(0, 255)
    nearest = np.rint(kept).astype(np.uint8)
    chance = np.random.default_rng(0).random(kept.shape, np.float32)
    dithered = np.minimum(np.floor(kept + chance), 255).astype(np.uint8)
    options = Options(threads=choice.threads, batch=model.smallest_batch)
    with open_backend(choice.backend, bundle.file(choice.artifact), options, model) as engine:
        ours, theirs, others = (
            run_batches(engine, pixels, model) for pixels in (shown, nearest, dithered)
        )
    same = [
        results_match(model, one, other)
        for one, other in zip(decode_all(model, ours), decode_all(model, theirs), strict=True)
    ]
    drift = OutputDrift(
        engine=choice.engine,
        parity={name: parity(ours[name], theirs[name]) for name in ours},
        agreement=sum(same) / len(same),
        rounded=float(np.abs(kept - nearest).mean(dtype=np.float64)),
        clipped=float(np.abs(floats - kept).mean(dtype=np.float64)),
        rounding={name: parity(theirs[name], others[name]) for name in theirs},
    )
    return drift, same
