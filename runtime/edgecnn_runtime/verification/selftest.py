"""Does a backend reproduce the bundle's golden outputs on this machine?

The golden pictures go through the very backend that will serve, and its outputs are compared with
the PyTorch model's, which the bundle carries: by SNR, and by what they are decoded to.
"""

from pathlib import Path

import msgspec
import numpy as np

from edgecnn_runtime import __version__
from edgecnn_runtime.backends import Backend, get_engine
from edgecnn_runtime.bundle.bundle import Bundle, load_golden
from edgecnn_runtime.bundle.manifest import Artifact, ModelSpec
from edgecnn_runtime.decode.base import Decoder
from edgecnn_runtime.device.cache import read_entry, write_entry
from edgecnn_runtime.device.fingerprint import numerics_key
from edgecnn_runtime.errors import SelfTestError
from edgecnn_runtime.parity import snr_db
from edgecnn_runtime.preprocess import identity_geometry
from edgecnn_runtime.tasks import make_decoder
from edgecnn_runtime.types import Floats, Pixels, Result, Tensors
from edgecnn_runtime.verification.result_matching import results_match

TOLERANCE_DB = 6.0
"""How much worse than at export a device may be: another processor rounds differently."""

ENOUGH_DB = 60.0
"""What is asked at most: float engines agree to 100 dB and more, and differ freely beyond this."""

UNMEASURED_DB = 30.0
"""What is asked where export did not run this precision at all."""


class SelfTest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a backend did on the golden pictures.

    snr_db, required_db: by output name. agreement: share of the golden pictures whose decoded
    result equals the reference's.
    """

    snr_db: dict[str, float]
    required_db: dict[str, float]
    agreement: float

    def covers(self, spec: ModelSpec) -> bool:
        """Whether it tells of these outputs, as one that was kept may not if it was damaged."""
        names = {output.name for output in spec.outputs}
        return self.snr_db.keys() == self.required_db.keys() == names

    @property
    def passed(self) -> bool:
        """Every output close enough, and every decoded result the same."""
        return self.agreement == 1.0 and not self.shortfall

    @property
    def shortfall(self) -> dict[str, float]:
        """The outputs that are too far off, by how many dB."""
        return {
            name: need - self.snr_db[name]
            for name, need in self.required_db.items()
            if not self.snr_db[name] >= need
        }

    def __str__(self) -> str:
        name = min(self.required_db, key=lambda n: self.snr_db[n] - self.required_db[n])
        text = f"{self.snr_db[name]:.1f} dB on {name!r} (needs {self.required_db[name]:.1f})"
        return f"{text}, {self.agreement:.0%} of the decoded results equal"


def ensure_selftest(
    bundle: Bundle, artifact: Artifact, engine: str, backend: Backend, cache: Path
) -> SelfTest:
    """``run_selftest``, unless it has passed here before with this bundle, machine and versions.

    engine: ``backend/precision``. Raises SelfTestError, saying by how much, where it fails.
    """
    name = engine.partition("/")[0]
    version = get_engine(name).version()
    batch = str(len(backend.pixels))
    key = (bundle.digest, artifact.file, engine, batch, version, __version__, *numerics_key())
    found = read_entry(cache, "selftest", key, SelfTest)
    if found is None or not found.covers(bundle.manifest.model) or not found.passed:
        found = run_selftest(bundle, artifact, engine, backend)
        if not found.passed:
            raise SelfTestError(
                f"{artifact.file} on {engine} {version} does not reproduce the golden outputs of "
                f"{bundle.path} here: {found}. It is not used; `edgecnn verify` shows every engine"
            )
        write_entry(cache, "selftest", key, found)
    return found


def run_selftest(bundle: Bundle, artifact: Artifact, engine: str, backend: Backend) -> SelfTest:
    """Run the golden pictures through ``backend`` and compare; writes into its ``pixels``.

    Raises BundleError where the golden data cannot be read.
    """
    model = bundle.manifest.model
    golden = load_golden(bundle)
    found = run_batches(backend, golden.pixels, model)
    required = required_db(artifact, engine, model)
    return SelfTest(
        snr_db={name: snr_db(golden.outputs[name], found[name]) for name in required},
        required_db=required,
        agreement=golden_agreement(model, golden.outputs, found),
    )


def required_db(artifact: Artifact, engine: str, model: ModelSpec) -> dict[str, float]:
    """The SNR each output must reach: what export measured, less the tolerance.

    Taken from the same engine at the same precision, else from other engines at that precision.
    """
    precision = engine.partition("/")[2]
    same = [run for run in artifact.runs if run.engine == engine]
    alike = [run for run in artifact.runs if run.engine.partition("/")[2] == precision]
    names = [output.name for output in model.outputs]
    measured = {
        name: min(run.golden_snr_db[name] for run in same or alike if name in run.golden_snr_db)
        for name in names
        if any(name in run.golden_snr_db for run in same or alike)
    }
    return {
        name: min(measured[name] - TOLERANCE_DB, ENOUGH_DB) if name in measured else UNMEASURED_DB
        for name in names
    }


def run_batches(backend: Backend, pixels: Pixels, model: ModelSpec) -> dict[str, Floats]:
    """The backend's outputs for any number of images.

    Args:
        backend: Opened for the model, with any batch size; its ``pixels`` are overwritten.
        pixels: uint8[N,H,W,3] BGR at network input.
        model: What it takes and gives.

    Returns:
        float32[N,…] by name, the batch first; new arrays.
    """
    size = len(backend.pixels)
    parts: list[Tensors] = []
    for start in range(0, len(pixels), size):
        batch = pixels[start : start + size]
        backend.pixels[: len(batch)] = batch
        outputs = backend.run()
        parts.append(
            {
                output.name: np.moveaxis(outputs[output.name], output.batch_axis, 0)[
                    : len(batch)
                ].astype(np.float32)
                for output in model.outputs
            }
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def golden_agreement(
    model: ModelSpec, expected: dict[str, Floats], found: dict[str, Floats]
) -> float:
    """The share of pictures whose decoded result is the same; both as float32[pictures,…]."""
    decoder = make_decoder(model)
    threshold = float(getattr(model.decode, "score", 0.0))
    count = len(next(iter(expected.values())))
    same = [
        results_match(
            _result(model, decoder, expected, item),
            _result(model, decoder, found, item),
            threshold=threshold,
        )
        for item in range(count)
    ]
    return sum(same) / count


def _result(
    model: ModelSpec, decoder: Decoder[Result], outputs: dict[str, Floats], item: int
) -> Result:
    one = {
        output.name: np.moveaxis(outputs[output.name][item : item + 1], 0, output.batch_axis)
        for output in model.outputs
    }
    return decoder.decode(one, 0, identity_geometry(model.input))
