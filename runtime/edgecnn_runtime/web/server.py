"""The HTTP server: a thread with an event loop of its own, on a socket that is bound at once."""

import asyncio
import errno
import logging
import resource
import socket
import sys
import threading
from importlib.util import find_spec
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from edgecnn_runtime.errors import BackendMissingError, UsageError
from edgecnn_runtime.requirements import install_command
from edgecnn_runtime.web.operations import Operations
from edgecnn_runtime.web.settings import WebSettings
from edgecnn_runtime.web.tls import tls_context
from edgecnn_runtime.web.tokens import Tokens

if TYPE_CHECKING:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    from edgecnn_runtime.web.app import WebApp

log = logging.getLogger(__name__)

STOP_SECONDS = 1
"""How long requests may take to end when the server stops."""
UNSENT_BYTES = 128 * 1024
"""What the kernel may hold unsent for a connection: a slow viewer is then behind by a frame or two
and not by the megabytes that the kernel would buffer."""


GONE_MS = 20_000
"""Milliseconds after which a viewer who acknowledges nothing is gone, such as a phone that lost its
network: without it the kernel would try for a quarter of an hour, and the stream would count."""
SILENT_SECONDS = 10.0
"""A connection that has sent no whole request for so long, or twice as long, is closed."""
CONNECTIONS = 200
"""Open at the same time, at most, and half as many of one address. Each is a file of this process,
which may have 1024 where nobody gave it more, and without one left no event is stored."""
BACKLOG = 64
"""Connections that wait to be accepted, or are accepted before the first one is looked at."""


class WebServer:
    """Serves the pages and the API of a daemon: ``with WebServer(…) as server: …``.

    Attributes:
        address: Where the page is: ``http://127.0.0.1:8090/``.
    """

    def __init__(
        self, operations: Operations, settings: WebSettings, tokens: Tokens | None
    ) -> None:
        """Bind the port; nothing is answered yet.

        Args:
            operations: The daemon.
            settings: How it is served.
            tokens: None where ``settings.auth`` is off.

        Raises:
            BackendMissingError: The extra is not installed.
            UsageError: The port is in use or not allowed, or the certificate cannot be used.
        """
        for name in ("prometheus_client", "starlette", "uvicorn"):
            if find_spec(name) is None:
                raise BackendMissingError(
                    f"the page needs {name}, which is not installed: {install_command('serve')}"
                )
        if settings.auth != (tokens is not None):
            raise ValueError("tokens are for settings with auth, and needed there")
        self._operations = operations
        self._settings = settings
        self._tokens = tokens
        if settings.certificate and settings.key:
            tls_context(
                settings.certificate, settings.key
            )  # uvicorn's own words would be OpenSSL's
        self._socket = listen(settings.host, settings.port)
        self.address = self._address()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._app: WebApp | None = None
        self._server: uvicorn.Server | None = None
        self._error: Exception | None = None

    def __enter__(self) -> "WebServer":
        self.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self.stop()

    @property
    def alive(self) -> bool:
        """Whether it answers."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Answer requests from now on.

        Raises:
            Exception: A defect that keeps it from starting.
        """
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End all streams and requests; idempotent. Takes a second at most, or so."""
        loop, app, server = self._loop, self._app, self._server
        if loop is not None and app is not None and server is not None and self.alive:
            server.should_exit = True
            loop.call_soon_threadsafe(app.close)
            self._thread.join(STOP_SECONDS + 2)
        self._socket.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # a defect: for whoever started it, and the log
            self._error = error
            log.exception("the web server ended")
        finally:
            self._started.set()

    async def _serve(self) -> None:
        import uvicorn

        from edgecnn_runtime.web.app import WebApp

        settings = self._settings
        self._loop = asyncio.get_running_loop()
        self._app = WebApp(self._operations, settings, self._tokens)
        config = uvicorn.Config(
            self._app.asgi,
            http=_limited_protocol(), backlog=BACKLOG, ws="none", lifespan="off", interface="asgi3",
            log_config=None, log_level="warning", access_log=False, server_header=False,
            proxy_headers=bool(settings.proxies), forwarded_allow_ips=list(settings.proxies),
            timeout_graceful_shutdown=STOP_SECONDS, timeout_keep_alive=20,
            ssl_certfile=settings.certificate, ssl_keyfile=settings.key,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._loop.call_soon(self._started.set)
        watch = asyncio.create_task(_close_silent(self._server))
        await self._server.serve(sockets=[self._socket])
        watch.cancel()

    def _address(self) -> str:
        host, port = self._socket.getsockname()[:2]
        shown = socket.gethostname() if ip_address(host).is_unspecified else host
        scheme = "https" if self._settings.certificate else "http"
        return f"{scheme}://{f'[{shown}]' if ':' in shown else shown}:{port}/"


def _limited_protocol() -> "type[H11Protocol]":
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class LimitedProtocol(H11Protocol):
        """Closes a connection at once where too many are open."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
            super().connection_made(transport)
            host = self.client and self.client[0]
            others = [each for each in self.connections if isinstance(each, H11Protocol)]
            same = sum(each.client is not None and each.client[0] == host for each in others)
            if len(others) > CONNECTIONS or same > CONNECTIONS // 2:
                transport.abort()

    return LimitedProtocol


async def _close_silent(server: "uvicorn.Server") -> None:
    """Close connections without a request; uvicorn waits for the first one without an end."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    silent: set[H11Protocol] = set()
    while True:
        await asyncio.sleep(SILENT_SECONDS)
        connections = [
            each
            for each in server.server_state.connections
            if isinstance(each, H11Protocol)
            and not (each.cycle and not each.cycle.response_complete)
        ]
        for connection in connections:
            if connection in silent:
                connection.transport.close()
        silent = set(connections)


class _Listener(socket.socket):
    """Takes no connection once half of the files that this process may open are taken.

    One that never ends its TLS handshake is none for uvicorn, and counts nowhere else.
    """

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        if connection.fileno() > resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2:
            connection.close()
            raise ConnectionAbortedError
        return connection, address


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, bound before anything else is begun.

    Args:
        host: An address.
        port: 0 takes any free one.

    Raises:
        UsageError: The port is in use or not allowed, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = _Listener(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform == "linux":  # accepted connections inherit both
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_MS)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        advice = {
            errno.EADDRINUSE: "another program listens there: stop it, or choose another port",
            errno.EACCES: "ports below 1024 are for root: choose one above, such as 8090",
            errno.EADDRNOTAVAIL: "this is no address of this machine: `ip addr` lists them",
            socket.EAI_NONAME: "there is no such address",
        }.get(error.errno or 0) or error.strerror
        raise UsageError(f"{host}:{port} cannot be listened on: {advice}") from None
    listener.setblocking(False)
    return listener
