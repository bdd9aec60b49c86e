"""A bundle as one file: a tar without compression, the same bytes for the same bundle."""

import shutil
import tarfile
from pathlib import Path

from edgecnn_runtime.bundle.atomic import atomic_file
from edgecnn_runtime.bundle.bundle import (
    MANIFEST,
    SUFFIX,
    Bundle,
    manifest_files,
    new_bundle,
    open_bundle,
)
from edgecnn_runtime.errors import BundleError, EdgecnnError, UsageError


def pack(bundle: Bundle, out: Path) -> Path:
    """Write a bundle as one tar; the same bundle gives the same bytes.

    Raises:
        EdgecnnError: ``out`` cannot be written.
    """
    names = [MANIFEST, *sorted(manifest_files(bundle.manifest))]
    try:
        with atomic_file(out) as scratch, tarfile.open(scratch, "w") as archive:
            for name in names:
                info = tarfile.TarInfo(f"{bundle.manifest.name}{SUFFIX}/{name}")
                info.size = (bundle.path / name).stat().st_size
                with (bundle.path / name).open("rb") as file:
                    archive.addfile(info, file)
    except OSError as error:
        raise EdgecnnError(f"cannot write {out}: {error.strerror or error}") from None
    return out


def unpack(tar: Path, into: Path, *, overwrite: bool = False) -> Bundle:
    """Unpack a tar that ``pack`` wrote, and check it.

    Args:
        tar: The file.
        into: The folder in which the bundle's folder is made.
        overwrite: Whether an existing bundle is replaced.

    Raises:
        BundleError: It is not a packed bundle, or a member would be outside the folder.
        UsageError: There is no such file, or the bundle exists.
    """
    try:
        with tarfile.open(tar, "r:") as archive:
            members = [_plain_member(tar, member) for member in archive]
            top = {member.name.split("/")[0] for member in members}
            if len(top) != 1:
                raise BundleError(f"{tar}: contains {len(top)} folders, not one bundle")
            out = into / top.pop()
            with new_bundle(out, overwrite=overwrite) as scratch:
                for member in members:
                    source = archive.extractfile(member)
                    assert source is not None
                    with (scratch / member.name.split("/")[1]).open("xb") as target:
                        shutil.copyfileobj(source, target)
                open_bundle(scratch)
    except (tarfile.TarError, FileExistsError, EOFError) as error:
        raise BundleError(f"{tar}: not a packed bundle: {error}") from None
    except FileNotFoundError:
        raise UsageError(f"{tar}: no such file") from None
    return open_bundle(out)


def _plain_member(tar: Path, member: tarfile.TarInfo) -> tarfile.TarInfo:
    parts = member.name.split("/")
    plain = len(parts) == 2 and all(part not in {"", ".", ".."} for part in parts)
    if not member.isreg() or not plain or not parts[0].endswith(SUFFIX):
        raise BundleError(f"{tar}: refuses member {member.name!r}: it would leave the bundle")
    return member
