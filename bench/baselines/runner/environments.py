"""An environment for each baseline, made from its requirements.txt, and again when that changes."""

import hashlib
import re
import subprocess
import sys
import venv
from pathlib import Path

BASELINES = Path(__file__).parents[1]
ENVIRONMENTS = BASELINES.parents[1] / ".baselines"
PINNED = re.compile(r"^(?P<name>[A-Za-z0-9_.\-]+)==(?P<version>[A-Za-z0-9_.]+)\s+# (?P<why>.+)$")
STAMP = "requirements.sha256"


def ensure(name: str, folders: Path = BASELINES) -> Path:
    """The baseline's python; its environment is made if there is none of these requirements.

    Nothing is resolved: a requirements.txt is complete, and installed as it stands.

    Args:
        name: Of its folder.
        folders: What the folder lies in.

    Raises:
        subprocess.CalledProcessError: pip could not install it.
    """
    file = folders / name / "requirements.txt"
    folder = ENVIRONMENTS / name
    python, stamp = folder / "bin" / "python", folder / STAMP
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != digest:
        print(f"making {folder} from {file.relative_to(BASELINES.parents[1])}", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=False)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps"]
        subprocess.run([*pip, "-r", str(file)], check=True, stdout=2)
        stamp.write_text(digest)
    return python


def requirements(name: str, folders: Path = BASELINES) -> dict[str, str]:
    """The versions a baseline is pinned to; the arguments are those of ``ensure``.

    Raises:
        ValueError: A line lacks its version or its reason.
    """
    versions = {}
    for line in (folders / name / "requirements.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            match = PINNED.match(line)
            if match is None:
                raise ValueError(
                    f"{name}/requirements.txt: a line without version or reason: {line}"
                )
            versions[match["name"]] = match["version"]
    return versions
