"""The web server of a site: started anew where it has ended, or has to be another one."""

import logging
from pathlib import Path
from urllib.parse import urlsplit

from edgecnn_runtime.daemon.models import file_stamp
from edgecnn_runtime.daemon.site import SiteFile
from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.web.operations import Operations
from edgecnn_runtime.web.server import WebServer
from edgecnn_runtime.web.settings import WebSettings
from edgecnn_runtime.web.tokens import ROLES, load_tokens, token_file

log = logging.getLogger(__name__)


class Page:
    """Serves pages, API and metrics of a daemon; used by one thread at a time.

    Attributes:
        problem: Why it is not served; empty where it is, or nobody wants it.
    """

    def __init__(self, operations: Operations, state: Path) -> None:
        """Serve nothing yet.

        Args:
            operations: The daemon.
            state: Its state folder, which holds the tokens.
        """
        self.problem = ""
        self._operations, self._state = operations, state
        self._server: WebServer | None = None
        self._stale = False
        self._port = 0
        self._stamps: list[tuple[int, int, int] | None] = []

    @property
    def address(self) -> str:
        """Where it is; empty where there is none."""
        return self._server.address if self._server is not None else ""

    def start(self, file: SiteFile) -> None:
        """Serve it as a site asks.

        Raises:
            EdgecnnError: It cannot be served.
        """
        self._server = self._open(file)
        if self._server is not None:
            self._server.start()

    def close(self) -> None:
        """End it; idempotent."""
        if self._server is not None:
            self._port = urlsplit(self._server.address).port or 0
            self._server.stop()
            self._server = None

    def renew(self) -> None:
        """Start it anew at the next ``look``; any thread may call this, one of its own, too."""
        self._stale = True

    def look(self, file: SiteFile) -> None:
        """Start it anew where it ended, has to be another one, or has other tokens."""
        died = self._server is not None and not self._server.alive
        if not (died or self._stale or self._stamps != self._token_stamps()):
            return
        self.close()
        try:
            self.start(file)
        except EdgecnnError as error:
            if str(error) != self.problem:
                log.error("the page cannot be served, and is tried again: %s", error)
            self.problem, self._stale = str(error), True
        else:
            self.problem, self._stale = "", False
            log.info("the page was started anew: %s", self.address or "none")

    def _open(self, file: SiteFile) -> WebServer | None:
        http = file.site.http
        self._stamps = self._token_stamps()
        if not http.listen:
            return None
        host, port = http.address
        if port == 0:  # the page stays where it was when it is started anew
            port, self._port = self._port, 0
        settings = WebSettings(
            host=host,
            port=port,
            certificate=file.resolve(http.certificate) if http.certificate else None,
            key=file.resolve(http.key) if http.key else None,
            path=http.path,
            hosts=http.hosts,
            proxies=http.proxies,
            streams=http.streams,
            auth=http.auth,
            metrics=http.metrics,
        )
        tokens = load_tokens(self._state) if http.auth else None
        self._stamps = self._token_stamps()  # which may have been made just now
        return WebServer(self._operations, settings, tokens)

    def _token_stamps(self) -> list[tuple[int, int, int] | None]:
        return [file_stamp(token_file(self._state, role)) for role in ROLES]
