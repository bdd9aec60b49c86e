"""The two tokens that open the pages and the API: made at first start, for their owner's eyes."""

import os
import secrets
import stat
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from edgecnn_runtime.bundle.atomic import atomic_file
from edgecnn_runtime.errors import UsageError

Role: TypeAlias = Literal["viewer", "operator"]
"""A viewer sees everything; an operator changes cameras and areas, too."""
ROLES: tuple[Role, ...] = ("viewer", "operator")
MIN_LENGTH = 24
"""Characters of a token, at least: so long that guessing is hopeless at any rate."""
SIZE_LIMIT = 4096


class Tokens(msgspec.Struct, frozen=True):
    """The tokens by role.

    Attributes:
        viewer: Of who may look.
        operator: Of who may change cameras and areas, too.
    """

    viewer: str
    operator: str

    def __repr__(self) -> str:
        return "Tokens(…)"  # they belong in no log


def token_file(state: Path, role: Role) -> Path:
    """Where the token of a role is stored, in the state directory."""
    return state / f"{role}.token"


def load_tokens(state: Path, *, rotate: bool = False) -> Tokens:
    """Read both tokens; make those that are missing.

    Args:
        state: The state directory.
        rotate: Make both anew, so that the old ones and all sessions end.

    Raises:
        UsageError: A file cannot be read or written, others can read it, or it holds no token.
    """
    values = {}
    for role in ROLES:
        path = token_file(state, role)
        try:
            if rotate or not path.exists():
                _write(path, secrets.token_urlsafe(32))
            values[role] = _read(path)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}: the token cannot be stored") from None
    if values["viewer"] == values["operator"]:
        raise UsageError(
            f"{token_file(state, 'operator')}: is the viewer's token, too: delete one of the two "
            "files, and the next start makes another token"
        )
    return Tokens(**values)


def _write(path: Path, token: str) -> None:
    """Whole or not at all, and never readable by others."""
    with atomic_file(path) as scratch:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(token + "\n")


def _read(path: Path) -> str:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        raw = file.read(SIZE_LIMIT)
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(
            f"{path}: others can read this token (mode {stat.S_IMODE(status.st_mode):04o}): "
            f"chmod 600 {path}, and delete it if somebody may have read it"
        )
    token = raw.decode("ascii", "replace").strip()
    if len(token) < MIN_LENGTH or not token.isprintable() or " " in token or "\ufffd" in token:
        raise UsageError(
            f"{path}: is no token: at least {MIN_LENGTH} ASCII characters without spaces. Delete "
            "the file, and the next start makes one"
        )
    return token
