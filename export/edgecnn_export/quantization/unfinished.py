"""Which bundles are the float half of an export whose other forms are still to come.

The same command may replace such a bundle without --overwrite, so that an interrupted export goes
on. It is known by its digest, in the folder where the search's results are stored.
"""

from pathlib import Path

from edgecnn_export.config import ExportConfig
from edgecnn_runtime.bundle.bundle import MANIFEST, sha256_file
from edgecnn_runtime.device.cache import Key, default_cache_dir, read_entry, write_entry

KIND = "unfinished"
PENDING = (
    "this bundle holds the float model alone: the other forms are not finished. If the export was "
    "interrupted, the same command goes on where it stopped"
)


def wants_forms(config: ExportConfig) -> bool:
    """Whether an export makes more than the float form."""
    return config.int8 or config.fp16


def work_folder(config: ExportConfig) -> Path:
    """Where an interrupted search is resumed from."""
    return Path(config.work_dir) if config.work_dir else default_cache_dir()


def mark_unfinished(bundle: Path, out: Path, config: ExportConfig) -> str:
    """Remember a bundle as one that other forms are to be added to.

    Args:
        bundle: Where it is now.
        out: Where it is going to be.
        config: Of the export.

    Returns:
        Its digest.
    """
    digest = sha256_file(bundle / MANIFEST)
    write_entry(work_folder(config), KIND, _key(out, config, digest), value=True)
    return digest


def is_unfinished(out: Path, config: ExportConfig) -> bool:
    """Whether a bundle is what an interrupted export of this model left behind."""
    if not wants_forms(config) or not (out / MANIFEST).is_file():
        return False
    key = _key(out, config, sha256_file(out / MANIFEST))
    return bool(read_entry(work_folder(config), KIND, key, bool))


def is_bundle(out: Path, digest: str) -> bool:
    """Whether a folder holds the bundle of this digest."""
    return (out / MANIFEST).is_file() and sha256_file(out / MANIFEST) == digest


def _key(out: Path, config: ExportConfig, digest: str) -> Key:
    return str(out.resolve()), config.model, digest
