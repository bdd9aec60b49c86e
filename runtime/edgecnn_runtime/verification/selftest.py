"""Does a backend reproduce the bundle's golden outputs on this machine?

The golden pictures go through the very backend that will serve, and its outputs are compared with
those of the PyTorch model, which are in the bundle: by SNR, and by what they are decoded to.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from edgecnn_runtime import __version__
from edgecnn_runtime.backends import Backend, get_engine
from edgecnn_runtime.bundle.bundle import Bundle, load_golden
from edgecnn_runtime.bundle.manifest import Artifact, ModelSpec
from edgecnn_runtime.device.cache import read_entry, write_entry
from edgecnn_runtime.device.fingerprint import numerics_key
from edgecnn_runtime.errors import SelfTestError
from edgecnn_runtime.parity import percent_text, snr_db
from edgecnn_runtime.preprocess import identity_geometry
from edgecnn_runtime.tasks import make_decoder
from edgecnn_runtime.types import Floats, Pixels, Result, Tensors
from edgecnn_runtime.verification.result_matching import results_match
from edgecnn_runtime.verification.row_matching import comparable

TOLERANCE_DB = 6.0
"""How much worse than at export a device may be: another processor rounds differently."""

HALF_TOLERANCE_DB = 12.0
"""The same of half precision: export rounds after every layer, but some GPU kernels also add
products in half precision."""

ENOUGH_DB = 60.0
"""The most that is required: float engines agree to 100 dB and more, but beyond this by chance."""

UNMEASURED_DB = 30.0
"""What is required where export did not run this precision at all."""


class SelfTest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a backend did on the golden pictures.

    Attributes:
        snr_db: by output name.
        required_db: what it must reach, by output name.
        agreement: share of the golden pictures whose decoded result equals the reference's.
    """

    snr_db: dict[str, float]
    required_db: dict[str, float]
    agreement: float

    def covers(self, spec: ModelSpec) -> bool:
        """Whether it is about these outputs, which a damaged entry of the cache may not be."""
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
        return f"{text}, {percent_text(self.agreement)} of the decoded results equal"


def ensure_selftest(
    bundle: Bundle, artifact: Artifact, engine: str, backend: Backend, cache: Path
) -> SelfTest:
    """``run_selftest``, unless it has passed here before with this bundle, machine and versions.

    Args:
        bundle: where the golden data is.
        artifact: what ``backend`` has opened.
        engine: ``backend/precision``.
        backend: its ``pixels`` are overwritten.
        cache: where passed tests are stored.

    Raises:
        SelfTestError: it fails; the message says by how much.
    """
    version = get_engine(engine.partition("/")[0]).version()
    batch = str(len(backend.pixels))
    key = (bundle.digest, artifact.file, engine, batch, version, __version__, *numerics_key())
    test = read_entry(cache, "selftest", key, SelfTest)
    if test is None or not test.covers(bundle.manifest.model) or not test.passed:
        test = run_selftest(bundle, artifact, engine, backend)
        if not test.passed:
            raise SelfTestError(
                f"{artifact.file} on {engine} {version} does not reproduce the golden outputs of "
                f"{bundle.path} here: {test}. It is not used; `edgecnn verify` shows every engine"
            )
        write_entry(cache, "selftest", key, test)
    return test


def run_selftest(bundle: Bundle, artifact: Artifact, engine: str, backend: Backend) -> SelfTest:
    """Run the golden pictures through ``backend`` and compare; overwrites its ``pixels``.

    Raises:
        BundleError: the golden data cannot be read.
    """
    spec, golden = bundle.manifest.model, load_golden(bundle)
    outputs = run_batches(backend, golden.pixels, spec)
    required = required_db(artifact, engine, spec)
    return SelfTest(
        snr_db={
            name: snr_db(*comparable(spec.decode, name, golden.outputs, outputs))
            for name in required
        },
        required_db=required,
        agreement=golden_agreement(spec, golden.outputs, outputs),
    )


def required_db(artifact: Artifact, engine: str, spec: ModelSpec) -> dict[str, float]:
    """The SNR each output must reach: what export measured, less the tolerance.

    Measured on the same engine at the same precision, else on other engines at that precision.
    """
    precision = engine.partition("/")[2]
    tolerance = HALF_TOLERANCE_DB if artifact.precision == "fp16" else TOLERANCE_DB
    same = [run for run in artifact.runs if run.engine == engine]
    alike = [run for run in artifact.runs if run.engine.partition("/")[2] == precision]
    required = {}
    for output in spec.outputs:
        values = [run.golden_snr_db.get(output.name) for run in same or alike]
        measured = [value for value in values if value is not None]
        required[output.name] = (
            min(min(measured) - tolerance, ENOUGH_DB) if measured else UNMEASURED_DB
        )
    return required


def run_batches(backend: Backend, pixels: Pixels, spec: ModelSpec) -> dict[str, Floats]:
    """All pictures through a backend, as many at a time as it takes.

    Args:
        backend: its ``pixels`` are overwritten.
        pixels: uint8[pictures,H,W,3] BGR.
        spec: which outputs, and where their batch is.

    Returns:
        New arrays by output name, float32[pictures,…], the batch first.
    """
    size = len(backend.pixels)
    parts: list[Tensors] = []
    for start in range(0, len(pixels), size):
        batch = pixels[start : start + size]
        backend.pixels[: len(batch)] = batch
        outputs = backend.run()
        first = {o.name: np.moveaxis(outputs[o.name], o.batch_axis, 0) for o in spec.outputs}
        parts.append({n: values[: len(batch)].astype(np.float32) for n, values in first.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def decode_all(spec: ModelSpec, outputs: Mapping[str, Floats]) -> tuple[Result, ...]:
    """A result per picture, in pixels of the model's input.

    Args:
        spec: how to decode.
        outputs: float32[pictures,…] by name, the batch first.
    """
    decoder, geometry = make_decoder(spec), identity_geometry(spec.input)
    placed = {o.name: np.moveaxis(outputs[o.name], 0, o.batch_axis) for o in spec.outputs}
    count = len(next(iter(outputs.values())))
    return tuple(decoder.decode(placed, picture, geometry) for picture in range(count))


def golden_agreement(
    spec: ModelSpec, expected: Mapping[str, Floats], outputs: Mapping[str, Floats]
) -> float:
    """The share of pictures whose decoded result is the same.

    Args:
        spec: how to decode.
        expected: float32[pictures,…] by name, the batch first.
        outputs: the same of the backend.
    """
    pairs = zip(decode_all(spec, outputs), decode_all(spec, expected), strict=True)
    same = [results_match(spec, *pair) for pair in pairs]
    return sum(same) / len(same)
