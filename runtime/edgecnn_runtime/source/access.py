"""Files that the user who runs this may not read."""

import os
from pathlib import Path


def forbidden(path: Path) -> str:
    """What to say of a file or folder that is there and may not be read."""
    user = f"uid {os.getuid()}" if hasattr(os, "getuid") else "this one"
    return (
        f"{path} may not be read by this user ({user}): "
        "change its owner or mode (chown, chmod), or run as a user who may read it"
    )
