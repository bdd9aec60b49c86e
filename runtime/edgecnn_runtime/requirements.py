"""What is missing here, and the commands that install it.

edgecnn itself is on no package index: its wheels are built and copied. The packages that its extras
list are, so messages name those, as the metadata of the installed distribution lists them.
"""

import re
import shlex

from edgecnn_runtime.errors import BackendMissingError

RUNTIME = "edgecnn-runtime"
CHECKOUT = {RUNTIME: "./runtime", "edgecnn": "."}
"""Where each distribution lies in a checkout."""


def install_command(extra: str = "", distribution: str = RUNTIME) -> str:
    """The command that installs the packages of an extra.

    Args:
        extra: Its name in ``pyproject.toml``, such as ``stream``; "" means what the distribution
            needs without any extra.
        distribution: Whose extra it is.

    Returns:
        One shell command. Where the installed metadata does not list the extra, it names the extra
        of a checkout instead.
    """
    packages = list(dict.fromkeys(_packages(extra, distribution)))
    if not packages:
        packages = [CHECKOUT[distribution] + (f"[{extra}]" if extra else "")]
    return shlex.join(["pip", "install", *packages])


def require_opencv() -> None:
    """Import OpenCV, which is installed by an extra or comes with the system.

    Raises:
        BackendMissingError: It is absent, or cannot be loaded.
    """
    try:
        import cv2  # noqa: F401  (imported to see whether it can be)
    except ModuleNotFoundError as error:
        if error.name != "cv2":
            raise
        raise BackendMissingError(
            f"OpenCV is not installed: {install_command('opencv')}, or take the system's "
            "(sudo apt install python3-opencv) in an environment made with "
            "`python3 -m venv --system-site-packages`"
        ) from None
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise BackendMissingError(
            f"OpenCV cannot be loaded ({reason}). A system's OpenCV needs the NumPy it was built "
            f"for: pip install 'numpy<2'. Pip's: {install_command('opencv')}"
        ) from error


def _packages(extra: str, distribution: str) -> list[str]:
    """Requirements such as ``av>=14``, with extras of our own distributions resolved."""
    from importlib import metadata  # 30 ms that importing the runtime need not take

    try:
        lines = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return []
    packages: list[str] = []
    for line in lines:
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        named = re.search(r"""extra == ['"]([\w.-]+)['"]""", marker)
        if (named[1] if named else "") != extra:
            continue
        own = re.fullmatch(r"(edgecnn(?:-runtime)?)(?:\[([\w,-]+)\])?", requirement)
        if own is None:
            packages.append(requirement)
        elif own[2]:
            packages += [each for name in own[2].split(",") for each in _packages(name, own[1])]
    return packages
