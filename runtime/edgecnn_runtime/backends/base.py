"""What a backend is, and all that the rest of the product knows of the engine that opens it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from edgecnn_runtime import __version__
from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.errors import (
    BackendMissingError,
    BundleError,
    UnsupportedModelError,
    UsageError,
)
from edgecnn_runtime.requirements import install_command
from edgecnn_runtime.types import Pixels, Tensors

if TYPE_CHECKING:
    from importlib import metadata

NOT_INSTALLED = "not installed"

log = logging.getLogger(__name__)


class Backend(Protocol):
    """A model loaded into an engine for one batch size. One thread at a time may use it.

    Attributes:
        pixels: the input, uint8[N,H,W,3] BGR, owned by the backend. The caller writes frames
            straight into it and ``run`` reads them there, so nothing is copied.
        outputs: the dict that ``run`` returns, batch included in every shape. Dict and arrays are
            owned by the backend, stay the same objects, and hold a result until the next run.
    """

    pixels: Pixels
    outputs: Tensors

    def run(self) -> Tensors:
        """Infer what ``pixels`` holds now.

        Returns:
            ``outputs``, overwritten.
        """

    def close(self) -> None:
        """Release the engine. Idempotent; a closed backend must not be run."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to open an artifact.

    Attributes:
        threads: threads inside one operator; 0 means every core this process may use. A GPU
            ignores it.
        batch: the N of ``Backend.pixels``, fixed so that every buffer is allocated once.
        precision: one of the engine's ``precisions()``; "" means the first, the exact one.
        cache_dir: where the engine may store what it compiles; None stores nothing.
    """

    threads: int = 0
    batch: int = 1
    precision: str = ""
    cache_dir: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An inference engine: each module in BACKENDS holds one, as ``ENGINE``.

    Attributes:
        name: its key in BACKENDS, on the command line and in ``manifest.Run.engine``.
        label: what its makers call it, for messages.
        packages: distributions that provide it; the first that is installed gives the version.
            Empty where it is part of this package.
        extra: the extra of edgecnn-runtime that installs it; "" where it is part of this package.
        install_jetson: the command on a Jetson; "" where ``install`` serves there too.
        exclusive: distributions that overwrite each other's files: two of them installed side by
            side are a broken environment.
        device: where it computes; "gpu" is NVIDIA's.
        targets: the ``Artifact.target`` values it takes, its best first.
        formats: the ``Artifact.format`` values it loads.
        weights: the ``Artifact.precision`` values it takes, its best first.
        needs_build: whether opening an artifact for the first time takes minutes.
        is_fake: whether it computes something else than the artifact, and passes no self-test.
        by_name_only: whether it runs only where it is named: it is a fake, or right and slow.
        precisions: what it can compute in on this machine, the most exact first; "f32" rounds
            nothing that the artifact does not round. May raise what ``find_device`` raises.
        find_device: raises BackendMissingError, saying why, where its device is absent.
        load: opens an artifact; may raise anything.
    """

    name: str
    label: str
    packages: tuple[str, ...]
    targets: tuple[str, ...]
    precisions: Callable[[], tuple[str, ...]]
    load: Callable[[Path, Options], Backend]
    extra: str = ""
    install_jetson: str = ""
    exclusive: tuple[str, ...] = ()
    device: Literal["cpu", "gpu"] = "cpu"
    formats: tuple[str, ...] = ("onnx",)
    weights: tuple[str, ...] = ("int8", "fp32", "fp16")
    needs_build: bool = False
    is_fake: bool = False
    by_name_only: bool = False
    find_device: Callable[[], object] = lambda: None

    @property
    def install(self) -> str:
        """The command that installs it."""
        return install_command(self.extra)

    def takes(self, target: str, file_format: str = "onnx", precision: str = "") -> bool:
        """Whether an artifact of this target, format and precision is meant for this engine."""
        fits = target in self.targets and file_format in self.formats
        return fits and precision in {"", *self.weights}

    def problem(self) -> str:
        """Why it cannot be used here; "" where it can. Imports no engine."""
        try:
            self.find_device()  # first: without one, installing the package would not help
        except BackendMissingError as error:
            return str(error)
        return NOT_INSTALLED if self.packages and not self._distribution() else ""

    def version(self) -> str:
        """The version of its package, without importing it.

        Raises:
            BackendMissingError: the package or the device is absent.
        """
        if problem := self.problem():
            fix = f": {self.install}" if problem == NOT_INSTALLED else ""
            raise BackendMissingError(f"{self.label} cannot be used here ({problem}){fix}")
        distribution = self._distribution()
        return distribution.version if distribution else __version__

    def clash(self) -> tuple[str, str] | None:
        """Which installed distributions overwrite each other, and the command that mends it."""
        both = installed_of(self.exclusive)
        if len(both) < 2:
            return None
        problem = (
            f"{' and '.join(both)} are installed side by side and overwrite each other's files"
        )
        return problem, f"pip uninstall -y {' '.join(both)} && {self.install}"

    def open(self, path: Path, options: Options, spec: ModelSpec | None = None) -> Backend:
        """Load an artifact.

        Args:
            path: its file.
            options: how to open it.
            spec: what its input and outputs must fit; None checks nothing.

        Raises:
            UsageError: a precision that is not offered here, or a senseless number.
            BackendMissingError: the package or the device is absent, or cannot be used.
            UnsupportedModelError: the engine does not take the file or the batch.
            BundleError: the file is absent, or does not fit ``spec``.
        """
        version = self.version()
        self._check(options)
        if not path.is_file():
            raise BundleError(f"{path}: no such file")
        clash = ": ".join(self.clash() or ())
        try:
            backend = self.load(path, options)
        except (BackendMissingError, BundleError):
            raise
        except ImportError as error:
            raise BackendMissingError(
                f"{self.label} cannot be used here ({error}): {clash or self.install}"
            ) from error
        except Exception as error:  # exceptions of engines share no base class
            raise UnsupportedModelError(
                f"{path}: {self.label} {version} does not take it with batch {options.batch}: "
                f"{' '.join(str(error).split())}"
            ) from error
        if clash:
            log.warning(clash)
        try:
            if spec is not None:
                _check_tensors(spec, backend, f"{path.name} on {self.name}")
        except BundleError:
            backend.close()
            raise
        return backend

    def _distribution(self) -> "metadata.Distribution | None":
        from importlib import metadata  # 30 ms that importing the runtime need not take

        each = (metadata.distributions(name=name) for name in self.packages)
        return next(chain.from_iterable(each), None)

    def _check(self, options: Options) -> None:
        precisions = self.precisions()
        if options.precision and options.precision not in precisions:
            raise UsageError(
                f"{self.label} does not compute in {options.precision!r} on this machine; "
                f"it offers {', '.join(precisions)}"
            )
        if options.batch < 1 or options.threads < 0:
            raise UsageError(f"no engine runs batch {options.batch} on {options.threads} threads")


def installed_of(packages: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the distributions that are installed."""
    from importlib import metadata

    return tuple(name for name in packages if any(metadata.distributions(name=name)))


def _check_tensors(spec: ModelSpec, backend: Backend, who: str) -> None:
    """Raise BundleError where an opened model takes or gives something else than it should."""
    batch = len(backend.pixels)
    size = (batch, spec.input.height, spec.input.width, 3)
    if backend.pixels.shape != size:
        raise BundleError(
            f"{who} takes {list(backend.pixels.shape)}; the manifest says {list(size)}"
        )
    for output in spec.outputs:
        expected = tuple(batch if size is None else size for size in output.shape)
        values = backend.outputs.get(output.name)
        if values is None:
            raise BundleError(f"{who} gives no {output.name!r}, which the manifest says it does")
        if values.shape != expected:
            raise BundleError(
                f"{who} gives {output.name!r} as {list(values.shape)}; "
                f"the manifest says {list(expected)}"
            )
