"""The pages and what they are made of: files of this package, served from memory."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class StaticFile(NamedTuple):
    """A file as it is served.

    Attributes:
        content: Its bytes.
        media_type: By its ending.
        tag: Of its content, for a browser that has it already.
    """

    content: bytes
    media_type: str
    tag: str


def static_files() -> dict[str, StaticFile]:
    """Every file by its name: a name that is not among them leads nowhere."""
    folder = Path(__file__).with_name("static")
    return {file.name: _read(file) for file in folder.iterdir() if file.suffix in MEDIA_TYPES}


def static_response(file: StaticFile, request: Request) -> Response:
    """A file, or that the browser has it already."""
    headers = {"ETag": file.tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == file.tag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.media_type)


def _read(file: Path) -> StaticFile:
    content = file.read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    return StaticFile(content, MEDIA_TYPES[file.suffix], tag)
