"""Events posted to an HTTP server, signed, as JSON.

    POST /path
    Content-Type: application/json
    X-Edgecnn-Signature: t=1764230400,v1=5257a869…

    {"events": [{"id": …}, …]}

The signature is HMAC-SHA256 with the secret over the time stamp, a dot and the body; whoever checks
it also refuses time stamps that are minutes old. Any 2xx answer means that all events were taken.
"""

import hashlib
import hmac
import http.client
import io
import re
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from edgecnn_runtime.errors import ConfigError, SinkDownError
from edgecnn_runtime.sinks.events.base import EventSinkKind, SinkContext, SinkSettings
from edgecnn_runtime.sinks.events.tls import Tls, tls_context
from edgecnn_runtime.sinks.serialize import event_record
from edgecnn_runtime.types import Event

URL = re.compile("[!-~]+")
"""Printable ASCII without spaces; anything else is to be percent-encoded."""
ANSWER_LIMIT = 1 << 16
"""Bytes of an answer that are read, so that its connection can be used again."""


class WebhookSettings(SinkSettings, frozen=True, kw_only=True, tag_field="kind", tag="webhook"):
    """Settings of an HTTP server.

    Attributes:
        url: https:// or http://.
        secret: Signs what is posted; nothing is signed without one.
        headers: Sent with each request, such as Authorization.
        tls: Certificates, where the system's authorities are not enough.
        timeout: Seconds to connect, and again for the whole answer.
    """

    url: str
    secret: str = ""
    headers: Mapping[str, str] = {}
    tls: Tls = Tls()
    timeout: Annotated[float, Meta(gt=0, le=120)] = 10.0


class Webhook:
    """Event sink that posts batches, on one connection while it lasts."""

    def __init__(self, settings: WebhookSettings, context: SinkContext) -> None:
        key = f"sinks.{context.name}.url"
        try:
            url = urlsplit(settings.url)
            host, port = url.hostname, url.port
        except ValueError:
            url, host, port = urlsplit(""), None, None
        if url.scheme not in {"http", "https"} or not host or not URL.fullmatch(settings.url):
            raise ConfigError(f"{key}: not an address such as https://example.org/events")
        if url.username is not None:
            raise ConfigError(f"{key}: name and password belong in headers.Authorization")
        self._where = f"{url.scheme}://{host}" + (f":{port}" if port else "")
        self._target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._secret = settings.secret.encode()
        self._headers = {"Content-Type": "application/json", "User-Agent": "edgecnn"}
        for name, value in settings.headers.items():
            self._headers[name] = _header(name, value, key)
        self._connection: http.client.HTTPConnection
        if url.scheme == "https":
            tls = tls_context(settings.tls, context)
            self._connection = http.client.HTTPSConnection(
                host, port, timeout=settings.timeout, context=tls
            )
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=settings.timeout)
        self._connection.response_class = _TimedResponse

    def start(self) -> None:
        """Nothing takes time: the first events open the connection."""

    def deliver(self, events: Sequence[Event], /) -> None:
        """Post events in one request.

        Raises:
            SinkDownError: The server cannot be reached, or does not answer with 2xx.
        """
        body = msgspec.json.encode({"events": [event_record(event) for event in events]})
        headers = {**self._headers, **signature(self._secret, body)}
        try:
            # A server may have closed a connection that was not used for a while.
            for attempt in (1, 2):
                reused = self._connection.sock is not None
                if reused:  # whose last answer may have taken most of its time
                    self._connection.sock.settimeout(self._connection.timeout)
                try:
                    self._connection.request("POST", self._target, body, headers)
                    answer = self._connection.getresponse()
                    break
                except (ConnectionError, http.client.BadStatusLine):
                    self._connection.close()
                    if attempt == 2 or not reused:
                        raise
            answer.read(ANSWER_LIMIT)
            if not answer.isclosed():
                self._connection.close()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            reason = _reason(error)
            raise SinkDownError(f"{self._where}: {reason}") from None
        if 300 <= answer.status < 400:
            raise SinkDownError(f"{self._where}: a redirect; set url to where it leads")
        if not 200 <= answer.status < 300:
            words = http.client.responses.get(answer.status, "")  # not what the server wrote
            raise SinkDownError(f"{self._where}: answered {answer.status} {words}".rstrip())

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class _TimedResponse(http.client.HTTPResponse):
    """An answer that is there as a whole in time, however little of it the server sends at once."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_TimedReader(self.fp, sock))


class _TimedReader(io.RawIOBase):
    """Reads from a socket until its time-out has passed, counted from now on."""

    def __init__(self, file: io.BufferedIOBase, sock: socket.socket) -> None:
        timeout = sock.gettimeout()
        assert timeout is not None
        self._raw, self._sock = file.detach(), sock
        self._end = time.monotonic() + timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        remaining = self._end - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        self._sock.settimeout(remaining)
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def signature(secret: bytes, body: bytes, at: float | None = None) -> dict[str, str]:
    """The header that proves who posts a body; empty without a secret.

    Args:
        secret: Shared with the server.
        body: What is posted.
        at: Seconds since 1970; now, if None.
    """
    if not secret:
        return {}
    stamp = int(time.time() if at is None else at)
    digest = hmac.new(secret, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Edgecnn-Signature": f"t={stamp},v1={digest}"}


def _header(name: str, value: str, key: str) -> str:
    if any(ord(c) < 32 or ord(c) > 255 for c in name + value):
        raise ConfigError(f"{key.rpartition('.')[0]}.headers.{name!a}: not text for a header")
    return value


def _reason(error: Exception) -> str:
    """In words, without what the server wrote."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"not an HTTP answer ({type(error).__name__})"


KIND = EventSinkKind(settings=WebhookSettings, open=Webhook)
