"""How the pages and the API are served."""

from pathlib import Path
from typing import Literal

import msgspec

MAX_BODY = 64 * 1024
"""Bytes of a request's body: zones, lines and a camera are a few hundred."""


class WebSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the pages and the API are served; validated by whoever reads it from a file.

    Attributes:
        host: The address that is listened on.
        port: The port; 0 takes any free one.
        certificate: PEM file with the certificate and its chain; HTTPS where it is given.
        key: PEM file with its private key, without a password.
        path: Path under which a reverse proxy serves the pages, such as ``/cameras``.
        hosts: Names by which this machine is reached, besides its addresses, its host name and
            ``localhost``; other names are refused (DNS rebinding).
        proxies: Addresses of reverse proxies whose ``X-Forwarded-For`` and ``X-Forwarded-Proto``
            are believed.
        auth: Whether a token is needed.
        metrics: Who may read /metrics: "token", or "loopback" for programs of this machine without
            a token, too.
        streams: Live views and event streams that are open at the same time, at most.
    """

    host: str = "127.0.0.1"
    port: int = 8090
    certificate: Path | None = None
    key: Path | None = None
    path: str = ""
    hosts: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    auth: bool = True
    metrics: Literal["token", "loopback"] = "loopback"
    streams: int = 16
