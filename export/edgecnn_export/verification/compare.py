"""One graph on one engine at one precision, compared with the reference on the same images.

Whatever judges a graph measures it here: the checks of float artifacts and of reduced precisions,
and the INT8 gate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgecnn_export.verification.output_slices import paired_slices
from edgecnn_runtime.backends import Options, open_backend
from edgecnn_runtime.bundle.manifest import ModelSpec, Parity
from edgecnn_runtime.parity import parity
from edgecnn_runtime.tasks import task_of
from edgecnn_runtime.types import Floats, Pixels, Result
from edgecnn_runtime.verification.selftest import decode_all, run_batches


@dataclass(frozen=True)
class ReferenceOutputs:
    """What a graph is compared with.

    Attributes:
        pixels: The images, uint8[N,H,W,3] BGR at network input.
        outputs: The reference's outputs for them, float32[N,…] by name, the batch first.
        results: The same, decoded, in pixels of the network's input.
    """

    pixels: Pixels
    outputs: Mapping[str, Floats]
    results: tuple[Result, ...]

    def some(self, count: int) -> "ReferenceOutputs":
        """The part of it for ``count`` images, evenly spaced."""
        step = max(1, len(self.pixels) // count)
        return self.part(range(0, len(self.pixels), step)[:count])

    def part(self, indices: Sequence[int]) -> "ReferenceOutputs":
        """The part of it for these images."""
        outputs = {name: values[indices] for name, values in self.outputs.items()}
        results = tuple(self.results[index] for index in indices)
        return ReferenceOutputs(self.pixels[indices], outputs, results)


@dataclass(frozen=True)
class Comparison:
    """A graph's outputs beside the reference's.

    Attributes:
        outputs: The graph's, float32[N,…] by name, the batch first; new arrays.
        parity: By output name. An output whose columns mean different things has the figures of its
            worst slice.
        agreed: By image, whether its whole result equals the reference's.
        agreement: The share of results, of a detector's boxes, that equal the reference's.
        results: How many they are.
    """

    outputs: dict[str, Floats]
    parity: dict[str, Parity]
    agreed: tuple[bool, ...]
    agreement: float
    results: int

    @property
    def cosine(self) -> float:
        """The smallest centered cosine of any output."""
        return min(parity.cosine for parity in self.parity.values())

    @property
    def snr_db(self) -> float:
        """The smallest signal-to-noise ratio of any output."""
        return min(parity.snr_db for parity in self.parity.values())


def decode_reference(
    spec: ModelSpec, pixels: Pixels, outputs: Mapping[str, Floats]
) -> ReferenceOutputs:
    """The reference's outputs, all of them finite, with their results."""
    return ReferenceOutputs(pixels, outputs, decode_all(spec, outputs))


def compare(
    path: Path,
    spec: ModelSpec,
    truth: ReferenceOutputs,
    engine: str,
    *,
    batch: int = 0,
    precision: str = "",
) -> Comparison:
    """Run a graph on an engine and compare its outputs with the reference's.

    Args:
        path: The graph's file.
        spec: What it takes and gives.
        truth: What it is compared with, and on which images.
        engine: The engine's name.
        batch: Images in one run; 0 means the fewest the graph takes.
        precision: One of the engine's; "" means its exact one.

    Raises:
        UnsupportedModelError: The engine does not take the graph.
    """
    outputs = infer(path, spec, engine, truth.pixels, batch, precision=precision)
    return compare_outputs(spec, truth, outputs)


def compare_outputs(
    spec: ModelSpec, truth: ReferenceOutputs, outputs: dict[str, Floats]
) -> Comparison:
    """Compare a graph's outputs with the reference's.

    Args:
        spec: What the graph takes and gives.
        truth: What they are compared with.
        outputs: float32[N,…] by name, the batch first, for the same images.
    """
    task, results = task_of(spec), decode_all(spec, outputs)
    matches = [
        task.matches(result, reference, spec.score_threshold)
        for result, reference in zip(results, truth.results, strict=True)
    ]
    return Comparison(
        outputs=outputs,
        parity={name: _worst_slice(spec, name, truth.outputs, outputs) for name in truth.outputs},
        agreed=tuple(match.equal == match.total for match in matches),
        agreement=sum(match.equal for match in matches) / sum(match.total for match in matches),
        results=sum(match.total for match in matches),
    )


def infer(
    path: Path,
    spec: ModelSpec,
    engine: str,
    pixels: Pixels,
    batch: int = 0,
    *,
    precision: str = "",
) -> dict[str, Floats]:
    """A graph's outputs on an engine, float32[N,…] by name, the batch first; new arrays.

    Args:
        path: The graph's file.
        spec: What it takes and gives.
        engine: The engine's name.
        pixels: The images, uint8[N,H,W,3] BGR at network input.
        batch: Images in one run; 0 means the fewest the graph takes.
        precision: One of the engine's; "" means its exact one.
    """
    options = Options(batch=batch or spec.smallest_batch, precision=precision)
    with open_backend(engine, path, options, spec) as backend:
        return run_batches(backend, pixels, spec)


def _worst_slice(
    spec: ModelSpec, name: str, expected: Mapping[str, Floats], outputs: Mapping[str, Floats]
) -> Parity:
    figures = [parity(*pair) for pair in paired_slices(spec.decode, name, expected, outputs)]
    return Parity(
        max_abs=max(figure.max_abs for figure in figures),
        cosine=min(figure.cosine for figure in figures),
        snr_db=min(figure.snr_db for figure in figures),
    )
