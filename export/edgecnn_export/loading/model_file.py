"""What a model's file is, and whether the settings fit it, without torch."""

import zipfile
from pathlib import Path

from edgecnn_export.config import ExportConfig
from edgecnn_export.loading.arch_name import check_arch
from edgecnn_export.loading.archive import ZIP_ERRORS
from edgecnn_export.loading.file_format import Kind, detect_format
from edgecnn_runtime.errors import UsageError

NAME_KEY = b"X\x04\x00\x00\x00name"
"""The key of a checkpoint's spec that names the bundle, as pickles write it."""
PICKLE_LIMIT = 64 << 20


def check_model_file(config: ExportConfig) -> Kind:
    """The kind of the model's file.

    Args:
        config: ``model``, ``arch`` and ``weights_key`` are used.

    Raises:
        UsageError: There is no such file, or a setting does not fit its kind.
        CheckpointError: The file is damaged, or is not a model.
        UnsupportedModelError: The file belongs to another framework.
    """
    path = Path(config.model)
    kind = detect_format(path)
    if config.arch:
        check_arch(config.arch)
    for flag, value in (("--arch", config.arch), ("--weights-key", config.weights_key)):
        if value and kind not in {"weights", "safetensors"}:
            has = "brings its own architecture" if flag == "--arch" else "has one set of weights"
            raise UsageError(f"{path} {has}: leave {flag} out")
    return kind


def may_name_bundle(path: Path, kind: Kind) -> bool:
    """Whether a model's file may contain the name of its bundle, as a checkpoint's spec can."""
    if kind != "weights":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [
                entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl")
            ]
            large = any(entry.file_size > PICKLE_LIMIT for entry in pickles)
            return large or any(NAME_KEY in archive.read(entry) for entry in pickles)
    except ZIP_ERRORS:
        return True
