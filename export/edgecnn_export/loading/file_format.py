"""The kind of a model file, from its bytes and, in a zip, its members; never from its name."""

import json
import zipfile
from pathlib import Path
from typing import Literal, TypeAlias

from edgecnn_export.loading.archive import ZIP_ERRORS
from edgecnn_runtime.errors import CheckpointError, UnsupportedModelError, UsageError

Kind: TypeAlias = Literal["weights", "torchscript", "pt2", "safetensors", "onnx"]
"""``weights`` is anything torch.save wrote: a checkpoint, a state dict or a pickled module."""

SUPPORTED = (
    "a checkpoint (.pt), .safetensors, TorchScript, an exported program (.pt2) "
    "or an ONNX model (.onnx)"
)
SUFFIXES = {".pt", ".pth", ".safetensors", ".pt2", ".onnx"}
ONNX_IR_VERSION_FIELD = 0x08
PICKLE_PROTOCOL = 0x80

UNSUPPORTED: tuple[tuple[int, bytes, str], ...] = (
    (0, b"version https://git-lfs", "a git-lfs pointer, not the model: type `git lfs pull`"),
    (0, b"<?xml", "XML, such as OpenVINO's: give the ONNX model that it was made from"),
    (0, b"<", "a web page, not a model: the download failed; open it in a browser to see why"),
    (0, b"{", "JSON, not a model: give the file with the weights"),
    (0, b"\x1f\x8b", "gzip: unpack it with `gunzip` first"),
    (0, b"\xfd7zXZ", "xz: unpack it with `unxz` first"),
    (0, b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "zstd: unpack it with `unzstd` first"),
    (0, b"\x89HDF", "HDF5 (Keras .h5): save it as ONNX, e.g. with tf2onnx, and give that"),
    (0, b"GGUF", "GGUF, a language model"),
    (0, b"ptrt", "a TensorRT engine: it holds no graph to export; give what it was built from"),
    (4, b"TFL3", "TensorFlow Lite: give the ONNX or PyTorch model it was made from"),
    (257, b"ustar", "a tar: unpack it first (`edgecnn unpack` for a packed bundle)"),
)
"""Files that are often given by mistake: offset and bytes that identify them, and the message."""
UNSUPPORTED_ZIPS = {
    "serialized_exported_program.json": "was written by torch.export.save before torch 2.8: load "
    "it with the torch that wrote it and export it again, or give its state dict with --arch",
    "model.weights.h5": "is a Keras model: save it as ONNX (`model.export('model.onnx', "
    "format='onnx')`) and give that",
}
"""The same for zips, by a member that identifies them."""


def detect_format(path: Path) -> Kind:
    """The kind of a model file.

    Raises:
        UsageError: There is no file, or it cannot be read.
        CheckpointError: The file is damaged, or is not a model.
        UnsupportedModelError: The file belongs to another framework.
    """
    head, size = _head(path)
    if not head:
        raise CheckpointError(f"{path} is empty: copy or download it again")
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(path, size)
    if _is_safetensors(head, size):
        return "safetensors"
    for offset, magic, meaning in UNSUPPORTED:
        if head[offset:].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(magic):
            raise CheckpointError(f"{path} is {meaning}")
    if head[0] == PICKLE_PROTOCOL:
        return "weights"
    if head[0] == ONNX_IR_VERSION_FIELD:
        return "onnx"
    if not any(head):
        raise CheckpointError(f"{path} begins with zeros: the copy is damaged; copy it again")
    raise CheckpointError(
        f"{path} is not a model that edgecnn knows (it begins {head[:12]!r}): give {SUPPORTED}"
    )


def _head(path: Path) -> tuple[bytes, int]:
    if path.is_dir():
        raise UsageError(_about_folder(path))
    try:
        with path.open("rb") as file:
            return file.read(512), path.stat().st_size
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; give {SUPPORTED}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _about_folder(path: Path) -> str:
    if (path / "manifest.json").is_file():
        return f"{path} is a bundle already: try `edgecnn inspect {path}`"
    if (path / "saved_model.pb").is_file():
        return f"{path} is a TensorFlow SavedModel: convert it to ONNX with tf2onnx, and give that"
    models = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    hint = f"did you mean {models[0]}?" if models else f"give {SUPPORTED}"
    return f"{path} is a folder: {hint}"


def _is_safetensors(head: bytes, size: int) -> bool:
    length = int.from_bytes(head[:8], "little")
    return 2 <= length <= size - 8 and head[8:9] == b"{"


def _zip_kind(path: Path, size: int) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except ZIP_ERRORS:
        raise CheckpointError(
            f"{path} is truncated or damaged: it begins as a checkpoint, but its end is missing "
            f"({size:,} bytes are here); copy or download it again"
        ) from None
    inside = {name.partition("/")[2] for name in names}
    if "archive_format" in inside:
        return "pt2"
    if "data.pkl" in inside:
        return "torchscript" if "constants.pkl" in inside else "weights"
    for member, meaning in UNSUPPORTED_ZIPS.items():
        if member in names:
            raise UnsupportedModelError(f"{path} {meaning}")
    raise CheckpointError(
        f"{path} is a zip, but no model ({json.dumps(sorted(names)[:4])[1:-1]} …): give {SUPPORTED}"
    )
