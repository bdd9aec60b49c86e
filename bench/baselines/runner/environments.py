"""An environment for each peer, from its requirements.txt, made again when that changes."""

import hashlib
import re
import subprocess
import sys
import venv
from pathlib import Path

BASELINES = Path(__file__).parents[1]
ENVIRONMENTS = BASELINES.parents[1] / ".baselines"
PINNED = re.compile(r"^(?P<name>[A-Za-z0-9_.\-]+)==(?P<version>[A-Za-z0-9_.]+)\s+# (?P<why>.+)$")
STAMP = "made-from"


def ensure(name: str) -> Path:
    """The peer's python, its environment made now if there is none of these requirements.

    Nothing is resolved: a requirements.txt is complete, and installed as it stands. Raises
    CalledProcessError where pip cannot.
    """
    wanted = BASELINES / name / "requirements.txt"
    folder = ENVIRONMENTS / name
    python, stamp = folder / "bin" / "python", folder / STAMP
    digest = hashlib.sha256(wanted.read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != digest:
        print(f"making {folder} from {wanted.relative_to(BASELINES.parents[1])}", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=False)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps"]
        subprocess.run([*pip, "-r", str(wanted)], check=True, stdout=2)
        stamp.write_text(digest)
    return python


def requirements(name: str) -> dict[str, str]:
    """The versions a peer is pinned to. Raises ValueError for a line without version or reason."""
    found = {}
    for line in (BASELINES / name / "requirements.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            match = PINNED.match(line)
            if match is None:
                raise ValueError(f"{name}/requirements.txt: neither pinned nor reasoned: {line}")
            found[match["name"]] = match["version"]
    return found
