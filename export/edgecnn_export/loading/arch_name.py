"""How an architecture is named, ``package.module:factory`` or ``file.py:factory``."""

import re
from pathlib import Path

from edgecnn_export.config import ARCH
from edgecnn_runtime.errors import UsageError

EXAMPLE = "--arch timm.models:resnet18 --arch-args '{\"num_classes\": 10}'"
IN_FILE = re.compile(r"(?P<file>.+\.py):(?P<attribute>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)", re.DOTALL)


def check_arch(arch: str) -> None:
    """Check how an architecture is named, without importing anything.

    Raises:
        UsageError: It is neither a module's nor a file's function, or there is no such file.
    """
    if match := IN_FILE.fullmatch(arch):
        if not Path(match["file"]).is_file():
            raise UsageError(f"--arch {arch}: there is no file {match['file']}")
    elif Path(arch).suffix == ".py":
        raise UsageError(f"--arch {arch} names a file: add its function or class, {arch}:Net")
    elif not ARCH.fullmatch(arch):
        raise UsageError(
            f"--arch {arch!r} is not package.module:factory or file.py:factory, e.g. {EXAMPLE}"
        )


def module_arch(arch: str) -> str:
    """An architecture as a checkpoint names it: ``nets/net.py:Net`` is ``net:Net``."""
    match = IN_FILE.fullmatch(arch)
    return f"{Path(match['file']).stem}:{match['attribute']}" if match else arch
