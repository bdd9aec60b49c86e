"""The network's outputs for the transform's pictures, and what rounding to bytes costs."""

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
    """The float artifact's outputs for the transform's pictures, beside those for the bundle's own.

    An artifact takes bytes, so the transform's tensor is converted to pixels and rounded.

    Attributes:
        engine: ``backend/precision`` the network ran on.
        parity: By output.
        agreement: The share of pictures with an equal result.
        rounded: What rounding changed, in gray levels on average.
        clipped: How far values were outside 0..255, in gray levels on average.
        rounding: By output, parity between two ways to round the same tensor (to the nearest, and
            at random); a drift no larger than this may be rounding alone.
    """

    engine: str
    parity: dict[str, Parity]
    agreement: float
    rounded: float
    clipped: float
    rounding: dict[str, Parity]


def output_drift(
    bundle: Bundle, own: Pixels, transformed: Sequence[Floats], backend: str = ""
) -> tuple[OutputDrift, list[bool]]:
    """Compare the network's outputs for the two versions of the same pictures.

    Args:
        bundle: The bundle.
        own: uint8[N,H,W,3] BGR, as the runtime prepares the pictures.
        transformed: float32[H,W,3] BGR in gray levels, as the transform prepares each.
        backend: The engine to run on; "" means the first one installed.

    Returns:
        The comparison, and for each picture whether the results are equal.

    Raises:
        BackendMissingError: No engine is installed.
    """
    model = bundle.manifest.model
    choice = next(c for c in candidates(bundle, backend=backend) if c.artifact.precision == "fp32")
    floats = np.stack(transformed)
    clipped = floats.clip(0, 255)
    nearest = np.rint(clipped).astype(np.uint8)
    chance = np.random.default_rng(0).random(clipped.shape, np.float32)
    dithered = np.minimum(np.floor(clipped + chance), 255).astype(np.uint8)
    options = Options(threads=choice.threads, batch=model.smallest_batch)
    with open_backend(choice.backend, bundle.file(choice.artifact), options, model) as engine:
        ours, theirs, others = (
            run_batches(engine, pixels, model) for pixels in (own, nearest, dithered)
        )
    results = zip(decode_all(model, ours), decode_all(model, theirs), strict=True)
    equal = [results_match(model, *pair) for pair in results]
    drift = OutputDrift(
        engine=choice.engine,
        parity={name: parity(ours[name], theirs[name]) for name in ours},
        agreement=sum(equal) / len(equal),
        rounded=float(np.abs(clipped - nearest).mean(dtype=np.float64)),
        clipped=float(np.abs(floats - clipped).mean(dtype=np.float64)),
        rounding={name: parity(theirs[name], others[name]) for name in theirs},
    )
    return drift, equal
