"""A bundle on disk: manifest, artifacts, golden data; hashed, immutable, confined to one folder.

NAME.edge/
    manifest.json  model.fp32.onnx  model.int8-cpu.onnx …  golden.npz  report.html  report.json
"""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle.atomic import atomic_replace, remove_stale
from edgecnn_runtime.bundle.external_data import refuse_external_data
from edgecnn_runtime.bundle.manifest import SCHEMA_VERSION, Artifact, Manifest, ModelSpec, upgrade
from edgecnn_runtime.errors import BundleError, EdgecnnError, UsageError

MANIFEST = "manifest.json"
SUFFIX = ".edge"
MANIFEST_LIMIT = 4 << 20
GOLDEN_LIMIT = 256 << 20
CANNOT_WRITE = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO,
    errno.ENOTDIR, errno.ENAMETOOLONG, errno.EEXIST,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle.

    Attributes:
        path: Its folder.
        manifest: What it contains.
        digest: The sha256 of its manifest, which names its whole content.
    """

    path: Path
    manifest: Manifest
    digest: str

    def file(self, artifact: Artifact) -> Path:
        """The path of an artifact."""
        return self.path / artifact.file


@dataclass(frozen=True, slots=True)
class GoldenData:
    """The data of the self-test.

    Attributes:
        pixels: uint8[count,H,W,3] BGR at network input.
        outputs: The PyTorch model's outputs by name, float32[count,…].
    """

    pixels: NDArray[np.uint8]
    outputs: dict[str, NDArray[np.float32]]


def open_bundle(path: str | Path, *, digest: str = "") -> Bundle:
    """Read a bundle's manifest and check every file against it.

    Args:
        path: The folder ``NAME.edge``.
        digest: Refuse any other content; ``edgecnn inspect`` prints it.

    Raises:
        BundleError: A file is missing, changed, outside the folder or unreadable; the message names
            it.
        UsageError: There is not a bundle.
    """
    root = Path(path)
    file = root / MANIFEST
    if root.is_file() and _is_tar(root):
        raise UsageError(f"{root} is a packed bundle: type `edgecnn unpack {root}` first")
    if not root.exists():
        raise UsageError(f"{root}: no such bundle. `edgecnn export model.pt` makes one")
    if not file.is_file():
        raise UsageError(
            f"{root} is not a bundle: it has no {MANIFEST}. "
            "`edgecnn export model.pt` makes one; it ends in .edge"
        )
    if file.is_symlink() or file.stat().st_size > MANIFEST_LIMIT:
        raise BundleError(f"{file} is a link or over {MANIFEST_LIMIT >> 20} MiB")
    raw = file.read_bytes()
    manifest = parse_manifest(raw, str(file))
    for name, expected in manifest_files(manifest).items():
        _check_file(root, name, expected)
    for artifact in manifest.artifacts:
        if artifact.format == "onnx":
            refuse_external_data(root / artifact.file)
    content = hashlib.sha256(raw).hexdigest()
    if digest and digest != content:
        raise BundleError(f"{root}: its digest is {content}, not the pinned {digest}")
    return Bundle(root, manifest, content)


def parse_manifest(raw: bytes, where: str) -> Manifest:
    """Validate manifest bytes.

    Args:
        raw: What the file holds.
        where: What names them in errors.

    Raises:
        BundleError: They are not a manifest, or one of a version that is not known.
    """
    try:
        version = msgspec.json.decode(raw, type=_Versioned).schema
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BundleError(f"{where}: not a manifest: {error}") from None
    if not 1 <= version <= SCHEMA_VERSION:
        age = "newer than" if version > SCHEMA_VERSION else "older than"
        raise BundleError(
            f"{where}: schema version {version} is {age} this edgecnn understands "
            f"({SCHEMA_VERSION}): copy the wheel of a newer edgecnn-runtime here and "
            "`pip install` it, or export the model again"
        )
    try:
        manifest = msgspec.convert(upgrade(msgspec.json.decode(raw), version), Manifest)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        newer = "; a newer edgecnn may have written it: install the runtime that it brings"
        hint = newer if "unknown field" in str(error) else ""
        raise BundleError(f"{where}: {error}{hint}") from None
    _check_sense(manifest.model, where)
    return manifest


def manifest_files(manifest: Manifest) -> dict[str, str]:
    """Every file of a bundle except its manifest, with its sha256."""
    files = {artifact.file: artifact.sha256 for artifact in manifest.artifacts}
    files[manifest.golden.file] = manifest.golden.sha256
    for artifact in manifest.artifacts:
        files |= artifact.companions
    return files | manifest.files


def load_golden(bundle: Bundle) -> GoldenData:
    """Read the golden inputs and outputs, without unpickling and with a limit on their size.

    Raises:
        BundleError: They cannot be read or do not fit the manifest.
    """
    from edgecnn_runtime.bundle.npz import read_npz

    path = bundle.path / bundle.manifest.golden.file
    arrays = read_npz(path, GOLDEN_LIMIT)
    pixels = arrays.pop("pixels", None)
    spec = bundle.manifest.model
    shape = (bundle.manifest.golden.count, spec.input.height, spec.input.width, 3)
    if pixels is None or pixels.dtype != np.uint8 or pixels.shape != shape:
        raise BundleError(f"{path}: `pixels` is not uint8{list(shape)}")
    outputs: dict[str, NDArray[np.float32]] = {}
    for output in spec.outputs:
        value = arrays.get(f"output.{output.name}")
        sizes = (len(pixels), *output.item_shape)
        if value is None or value.dtype != np.float32 or value.shape != sizes:
            raise BundleError(f"{path}: `output.{output.name}` is not float32{list(sizes)}")
        outputs[output.name] = value
    return GoldenData(pixels, outputs)


def check_new_bundle(out: Path, *, overwrite: bool) -> None:
    """Check that a bundle may be written.

    Args:
        out: Its folder.
        overwrite: Whether an existing bundle is replaced.

    Raises:
        UsageError: ``out`` exists.
    """
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists: add --overwrite, or name another with --out")
    if out.exists() and not (out / MANIFEST).is_file():
        raise UsageError(f"{out} exists and is not a bundle: it will not be replaced")


@contextmanager
def new_bundle(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """Write a bundle: a temporary folder becomes ``out`` if the block succeeds.

    If the block fails or the process is killed, ``out`` is as it was before. Leftovers of processes
    that were killed earlier are removed.

    Args:
        out: The bundle's folder.
        overwrite: Whether an existing bundle is replaced.

    Yields:
        The temporary folder.

    Raises:
        UsageError: ``out`` exists.
        EdgecnnError: ``out`` cannot be written.
    """
    remove_stale(out)
    check_new_bundle(out, overwrite=overwrite)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_replace(out) as scratch:
            yield scratch
    except OSError as error:
        if out.parent.exists() and not out.parent.is_dir():
            raise UsageError(f"cannot write {out}: {out.parent} is not a folder") from None
        if error.errno not in CANNOT_WRITE:
            raise
        raise EdgecnnError(
            f"cannot write {out}: {os.strerror(error.errno)}; name another place with --out"
        ) from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json, indented."""
    raw = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    (folder / MANIFEST).write_bytes(raw + b"\n")


def sha256_file(path: Path) -> str:
    """The sha256 of a file's content, in lower-case hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class _Versioned(msgspec.Struct):
    schema: int


def _check_sense(spec: ModelSpec, where: str) -> None:
    names = {output.name for output in spec.outputs}
    channels = 1 if spec.input.color == "gray" else 3
    normalization = spec.input.normalization
    if not len(normalization.mean) == len(normalization.std) == channels:
        raise BundleError(f"{where}: input.normalization needs {channels} mean and std values")
    if not names:
        raise BundleError(f"{where}: outputs is empty")
    for name in decode_outputs(spec):
        if name not in names:
            raise BundleError(f"{where}: decode names an output {name!r} that is not in outputs")


def decode_outputs(spec: ModelSpec) -> tuple[str, ...]:
    """The names of the output tensors the decoder reads."""
    head = msgspec.structs.asdict(spec.decode)
    named = [head[key] for key in ("output", "boxes", "scores", "landmarks") if head.get(key)]
    return (*named, *head.get("outputs", {}).values())


def _check_file(root: Path, name: str, expected: str) -> None:
    path = root / name
    if path.is_symlink():
        raise BundleError(f"{path} is a link: a bundle holds its files itself")
    if not path.is_file():
        raise BundleError(f"{path} is missing: copy the bundle again, whole")
    if sha256_file(path) != expected:
        raise BundleError(f"{path} is not what the manifest says (sha256 differs): copy it again")


def _is_tar(path: Path) -> bool:
    import tarfile

    return tarfile.is_tarfile(path)
