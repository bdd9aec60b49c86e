"""A loaded bundle: frames in, results out.

model = load("plate-reader.edge")
reading = model(frame)              # uint8[H,W,3] BGR
print(model.choice)                 # what it runs on, and why
"""

import logging
import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from msgspec.structs import replace

from edgecnn_runtime.backends import Backend, get_engine
from edgecnn_runtime.backends.candidate import Candidate
from edgecnn_runtime.bundle.bundle import Bundle, open_bundle
from edgecnn_runtime.bundle.manifest import Manifest
from edgecnn_runtime.device.cache import default_cache_dir
from edgecnn_runtime.errors import (
    BackendMissingError,
    EdgecnnError,
    SelfTestError,
    UnsupportedModelError,
    UsageError,
)
from edgecnn_runtime.preprocess import Geometry, Preprocessor, Region, Roi, check_frame
from edgecnn_runtime.selection.candidates import Choice, rank_candidates
from edgecnn_runtime.tasks import make_decoder
from edgecnn_runtime.types import Box, Frame, Pixels, Result, Tensors
from edgecnn_runtime.verification.selftest import ensure_selftest

FALLBACK_ERRORS = (SelfTestError, UnsupportedModelError, BackendMissingError)
"""Errors after which ``load`` tries the next candidate; a damaged bundle is not among them."""

EVIDENCE_MARGIN = 0.15
"""How much of its surroundings the evidence of an object shows, as a fraction of its size."""

log = logging.getLogger(__name__)


def load(
    bundle: str | Path,
    *,
    backend: str = "",
    artifact: str = "",
    precision: str = "",
    threads: int = 0,
    batch: int = 1,
    score: float | None = None,
    cache_dir: str | Path | None = None,
    digest: str = "",
    self_test: bool = True,
) -> "Model":
    """Open a bundle on the best backend that reproduces its golden outputs here.

    Candidates that ``edgecnn bench BUNDLE --select`` measured on this machine are tried first, the
    fastest first; without a measurement, a rule for this kind of processor orders them. Loading
    never measures. A backend that fails is refused with a warning, and the next one is tried;
    ``model.choice`` lists the refused ones.

    Args:
        bundle: The folder ``NAME.edge``.
        backend: Use only this backend; "" for any.
        artifact: Use only this artifact, such as ``fp32`` or ``int8-cpu``; "" for any.
        precision: Use only this precision, such as ``f32``; "" for any.
        threads: Use this number of threads; 0 for any.
        batch: The most frames of one inference. All buffers have this size, or the next larger
            one that the bundle takes, and each inference costs as much as a full one.
        score: Drop detections below this score, not below the bundle's threshold.
        cache_dir: Where choices, built engines and self-test results are stored (default: the
            user's or service's state folder).
        digest: Refuse any other content; ``edgecnn inspect`` prints it.
        self_test: Replay the golden pictures first, unless a stored result says that they pass.

    Returns:
        The model; close it, or use it as a context manager.

    Raises:
        UsageError: An argument cannot be right, or there is no such bundle.
        BundleError: The bundle is damaged.
        SelfTestError: No candidate reproduces the golden outputs here.
        BackendMissingError: The only backend left is not installed.
        UnsupportedModelError: The only backend left does not take the model.
    """
    opened = open_bundle(bundle, digest=digest)
    cache = Path(cache_dir) if cache_dir is not None else default_cache_dir()
    refused: list[tuple[Candidate, str]] = []
    last: EdgecnnError | None = None
    for candidate in rank_candidates(
        opened,
        cache,
        batch=batch,
        backend=backend,
        artifact=artifact,
        precision=precision,
        threads=threads,
    ):
        try:
            model = open_model(
                opened, candidate, batch=batch, score=score, cache_dir=cache, self_test=self_test
            )
        except FALLBACK_ERRORS as error:
            log.warning("refused: %s", error)
            refused.append((candidate, str(error)))
            last = error
            continue
        model.choice = Choice(candidate, model.choice.test, tuple(refused))
        return model
    assert last is not None
    if len(refused) > 1 and isinstance(last, SelfTestError):
        raise SelfTestError(
            f"{opened.path}: none of {len(refused)} candidates can be used here; the last: {last}"
        ) from last
    raise last


def open_model(
    bundle: Bundle,
    candidate: Candidate,
    *,
    batch: int = 1,
    score: float | None = None,
    cache_dir: Path | None = None,
    self_test: bool = True,
) -> "Model":
    """Open exactly this candidate.

    Args:
        bundle: The opened bundle.
        candidate: Artifact, backend, precision and threads.
        batch: The most frames of one inference; the model has the next larger size that the bundle
            takes.
        score: As in ``load``.
        cache_dir: As in ``load``.
        self_test: As in ``load``.

    Raises:
        UsageError: The bundle takes no batch of so many frames, or has no score threshold.
        SelfTestError: The candidate does not reproduce the golden outputs here.
        BackendMissingError: The backend is not installed.
        UnsupportedModelError: The backend does not take the model.
    """
    spec = bundle.manifest.model
    size = spec.batch_for(batch)
    if size is None:
        sizes = ", ".join(map(str, spec.batch or ()))
        raise UsageError(
            f"{bundle.path} takes batches of {sizes}: {batch} frames do not fit into one "
            f"inference; ask for a batch of {max(spec.batch or (1,))} at most"
        )
    manifest = bundle.manifest if score is None else with_score(bundle.manifest, score)
    cache = cache_dir or default_cache_dir()
    options = candidate.options(size, cache)
    engine = get_engine(candidate.backend)
    backend = engine.open(bundle.file(candidate.artifact), options, bundle.manifest.model)
    try:
        test = None
        if self_test and not engine.is_fake:
            test = ensure_selftest(bundle, candidate.artifact, candidate.engine, backend, cache)
        return Model(manifest, backend, Choice(candidate, test), digest=bundle.digest)
    except BaseException:
        backend.close()
        raise


def with_score(manifest: Manifest, score: float) -> Manifest:
    """The manifest with another score threshold of its detector.

    Args:
        manifest: It is not changed.
        score: 0..1.

    Raises:
        UsageError: It is no such number, or the model is no detector.
    """
    model = manifest.model
    if not 0 <= score <= 1:
        raise UsageError(f"a score of {score:g}: it is a probability, 0 to 1")
    if not hasattr(model.decode, "score"):
        raise UsageError(
            f"a score threshold drops detections, and this model's task is {model.task!r}: "
            "leave out --score"
        )
    decode = replace(model.decode, score=score)
    return replace(manifest, model=replace(model, decode=decode))


class Model:
    """A model on its backend. Not thread-safe: one model, one thread at a time.

    Attributes:
        manifest: The bundle's manifest.
        spec: What the model takes and returns.
        choice: What it runs on, and why; printable.
        digest: The sha256 that names the bundle's content; empty where it was made by hand.
        batch_size: How many frames one inference takes.
    """

    def __init__(
        self, manifest: Manifest, backend: Backend, choice: Choice, *, digest: str = ""
    ) -> None:
        """Use an opened backend; ``load`` is the usual way to a model.

        Raises:
            BundleError: The decoder does not fit the outputs.
        """
        self.manifest = manifest
        self.spec = manifest.model
        self.choice = choice
        self.digest = digest
        self.batch_size = len(backend.pixels)
        self._backend: Backend | None = backend
        self._preprocessor = Preprocessor(self.spec.input, backend.pixels)
        self._decoder = make_decoder(self.spec)

    def __call__(self, frame: Pixels | Frame, roi: Region | None = None) -> Result:
        """The result for one frame, or for a part of it.

        Args:
            frame: uint8[H,W,3] BGR, read only during the call.
            roi: The part: x, y, width, height in pixels, or a ``Warp``; None for all of the frame.

        Returns:
            The result; its coordinates are pixels of the whole frame.

        Raises:
            UsageError: ``frame`` is any other array, or ``roi`` is not inside it.
        """
        geometry = self.prepare(frame, 0, roi)
        return self.decode(self.infer(), 0, geometry)

    def batch(self, frames: Sequence[Pixels | Frame]) -> list[Result]:
        """One result per frame, with ``batch_size`` frames per inference.

        Args:
            frames: uint8[H,W,3] BGR each; their sizes may differ.
        """
        return list(self._batches((frame, None) for frame in frames))

    def crops(
        self, frame: Pixels | Frame, boxes: Sequence[Box], *, margin: float = 0.0
    ) -> list[Result]:
        """One result per box, cut from the full frame: the second stage after a detector.

        Args:
            frame: uint8[H,W,3] BGR.
            boxes: In pixels of the frame. They are clipped at its edge; a box that is completely
                outside gets the nearest pixel.
            margin: What to add on every side, as a fraction of the box's size.
        """
        pixels = frame.pixels if isinstance(frame, Frame) else frame
        check_frame(pixels)
        height, width = pixels.shape[:2]
        return self.regions(pixels, [crop_region(box, width, height, margin) for box in boxes])

    def regions(self, frame: Pixels | Frame, regions: Sequence[Region]) -> list[Result]:
        """One result per region of a frame, in their order.

        Args:
            frame: uint8[H,W,3] BGR.
            regions: Parts of it, upright (``Roi``) or not (``Warp``).
        """
        return list(self._batches((frame, region) for region in regions))

    def prepare(self, frame: Pixels | Frame, slot: int = 0, roi: Region | None = None) -> Geometry:
        """The first of three steps: resize a frame into a slot of the backend's input."""
        pixels = frame.pixels if isinstance(frame, Frame) else frame
        return self._preprocessor.load_frame(pixels, slot, roi)

    def infer(self) -> Tensors:
        """The second step: run the engine on the prepared slots.

        Returns:
            The backend's own arrays, valid until the next call.
        """
        if self._backend is None:
            raise UsageError("this model is closed: load() it again")
        return self._backend.run()

    def decode(self, outputs: Tensors, slot: int, geometry: Geometry) -> Result:
        """The third step: one slot's result, in pixels of the frame that was prepared there."""
        return self._decoder.decode(outputs, slot, geometry)

    def close(self) -> None:
        """Release the engine. Idempotent."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_problem: object) -> None:
        self.close()

    def _batches(self, work: "Iterator[tuple[Pixels | Frame, Region | None]]") -> Iterator[Result]:
        while group := list(islice(work, self.batch_size)):
            geometries = [self.prepare(frame, i, roi) for i, (frame, roi) in enumerate(group)]
            outputs = self.infer()
            for slot, geometry in enumerate(geometries):
                yield self.decode(outputs, slot, geometry)


def crop_region(box: Box, width: int, height: int, margin: float = 0.0) -> Roi:
    """The whole pixels that a box touches, clipped at the frame; at least one pixel.

    Args:
        box: In pixels of the frame.
        width: Of the frame.
        height: Of the frame.
        margin: What to add on every side, as a fraction of the box's size.
    """
    dx, dy = margin * (box.x2 - box.x1), margin * (box.y2 - box.y1)
    x1 = min(max(math.floor(box.x1 - dx), 0), width - 1)
    y1 = min(max(math.floor(box.y1 - dy), 0), height - 1)
    x2 = min(max(math.ceil(box.x2 + dx), x1 + 1), width)
    y2 = min(max(math.ceil(box.y2 + dy), y1 + 1), height)
    return x1, y1, x2 - x1, y2 - y1
