"""What stands before every request: host, rate, size, identity, forgery; and after it: headers.

Each check refuses with a problem. The order is the order of the functions below.
"""

import ipaddress
import logging
import socket
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgecnn_runtime.web.auth import (
    COOKIE,
    FAILURES,
    RECOVERY,
    SESSION_SECONDS,
    Authenticator,
    Identity,
    Throttle,
)
from edgecnn_runtime.web.problem import HttpError, problem_response
from edgecnn_runtime.web.settings import MAX_BODY, WebSettings

log = logging.getLogger(__name__)

BURST, EVERY = 300, 0.02
"""Requests at once from one address, and the seconds per request after that: a page with a hundred
thumbnails is a burst, and 50 a second are more than any person or program here needs."""
UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}
CSRF_HEADER = "x-edgecnn"
"""A header that no form and no foreign page can send without asking first (CORS), which is never
answered; browsers that send no ``Sec-Fetch-Site`` are held off by it and by ``Origin``."""
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # "no-referrer" would make Origin null
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
DEFECT = HttpError(500, "a defect of edgecnn; the daemon's log has the details")
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


class Guard:
    """An ASGI application around another one."""

    def __init__(self, app: ASGIApp, settings: WebSettings, authenticator: Authenticator) -> None:
        """Stand before an application.

        Args:
            app: It finds the identity of who asks in ``scope["identity"]``, None for a stranger.
            settings: How it is served.
            authenticator: Tells who asks.
        """
        self._app = app
        self._path = settings.path
        self._proxied = {name.lower() for name in settings.hosts}
        self._hosts = _own_names() | self._proxied
        self._authenticator = authenticator
        self._requests = Throttle(BURST, EVERY)
        self._failures = Throttle(FAILURES, RECOVERY)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers, started, finished = Headers(scope=scope), False, False
        identity: Identity | None = None

        async def respond(message: Message) -> None:
            nonlocal started, finished
            if message["type"] == "http.response.start":
                started = True
                self._add_headers(message, scope, identity)
            finished = message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        try:
            self._check_host(headers)
            self._check_rate(scope)
            _check_size(headers)
            identity = self._identify(scope, headers)
            self._check_forgery(scope, headers, identity)
            if self._path and scope["path"] == self._path:  # links on the page need its slash
                await RedirectResponse(f"{self._path}/", 308)(scope, receive, respond)
                return
            inner = {**scope, "path": self._inner_path(scope["path"]), "root_path": ""}
            inner["identity"] = identity
            await self._app(inner, receive, respond)
        except HttpError as error:
            await problem_response(error)(scope, receive, respond)
        except Exception:
            log.exception("%s %s: a defect", scope["method"], scope["path"])
            if not started:
                await problem_response(DEFECT)(scope, receive, respond)
            elif not finished:
                raise  # the connection is closed, so that nobody takes a part for the whole

    def _check_host(self, headers: Headers) -> None:
        """The name must be this machine's: a foreign one that leads here is DNS rebinding."""
        hosts = headers.getlist("host")
        name = _host_name(hosts[0]) if len(hosts) == 1 else None
        if name is None or not (_is_address(name) or name in self._hosts):
            raise HttpError(
                421,
                "this name is not one of this machine's: use its address, or add the name to "
                "http: hosts in site.yaml",
            )

    def _check_rate(self, scope: Scope) -> None:
        if wait := self._requests.wait(client_address(scope)):
            raise HttpError(429, "too many requests from this address", wait)

    def _identify(self, scope: Scope, headers: Headers) -> Identity | None:
        authorization = headers.get("authorization", "")
        identity = self._authenticator.identify(authorization, _session_cookie(headers))
        if authorization and identity is None:
            self.count_failure(scope)
            raise HttpError(401, "the token is wrong: `edgecnn token` shows both of this daemon")
        return identity

    def count_failure(self, scope: Scope) -> None:
        """Count a wrong token.

        Raises:
            HttpError: There were too many from this address.
        """
        if wait := self._failures.wait(client_address(scope)):
            raise HttpError(429, "too many wrong tokens from this address", wait)
        log.warning("a wrong token from %s", client_address(scope))

    def _check_forgery(self, scope: Scope, headers: Headers, identity: Identity | None) -> None:
        """A change that a browser sends by itself must come from a page of this daemon."""
        if scope["method"] not in UNSAFE or (identity is not None and identity.by == "token"):
            return
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        foreign = origin is not None and not self._is_own(origin, headers["host"])
        if site not in {None, "same-origin"} or foreign:
            raise HttpError(403, "this request comes from a foreign page")
        form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        if form and (site or origin):
            return  # the login form, which has no scripts
        if CSRF_HEADER not in headers:
            raise HttpError(403, f"a change needs the header {CSRF_HEADER}: 1, or a bearer token")

    def _is_own(self, origin: str, host: str) -> bool:
        """Whether an origin is a page of this daemon, or of a proxy by a configured name."""
        place = urlsplit(origin).netloc
        return place.lower() == host.lower() or _host_name(place) in self._proxied

    def _inner_path(self, path: str) -> str:
        """The path below the one of the reverse proxy, whether that removes its own or not."""
        prefix = self._path
        return (path[len(prefix) :] or "/") if f"{path}/".startswith(f"{prefix}/") else path

    def _add_headers(self, message: Message, scope: Scope, identity: Identity | None) -> None:
        headers = MutableHeaders(scope=message)
        for name, value in SECURITY_HEADERS.items():
            headers.setdefault(name, value)
        headers.setdefault("Cache-Control", "no-store")
        if identity is not None and identity.renew and "set-cookie" not in headers:
            session = self._authenticator.start_session(identity.role)
            headers.append("Set-Cookie", self.cookie(scope, session))

    def cookie(self, scope: Scope, session: str) -> str:
        """The header ``Set-Cookie`` that stores a session; an empty one ends it."""
        parts = [
            f"{COOKIE}={session}", f"Path={self._path}/", "HttpOnly", "SameSite=Strict",
            f"Max-Age={int(SESSION_SECONDS) if session else 0}",
        ]  # fmt: skip
        return "; ".join([*parts, "Secure"] if scope["scheme"] == "https" else parts)


def client_address(scope: Scope) -> str:
    """The address that a request comes from; empty where it has none."""
    client = scope.get("client")
    return client[0] if client else ""


def is_local(scope: Scope) -> bool:
    """Whether a program of this machine asks; not a reverse proxy of it for somebody else."""
    headers = Headers(scope=scope)
    address = client_address(scope)
    return (
        _is_address(address)
        and ipaddress.ip_address(address).is_loopback
        and not any(name in headers for name in FORWARDED)
    )


def _check_size(headers: Headers) -> None:
    """A longer body is refused unread; one of unknown length where it is read."""
    length = headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 12 or int(length) > MAX_BODY:
        raise HttpError(413, f"the body is longer than {MAX_BODY} bytes")


def _session_cookie(headers: Headers) -> str:
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def _own_names() -> set[str]:
    own = socket.gethostname().lower()
    return {"localhost", own, f"{own}.local"}


def _host_name(host: str) -> str | None:
    """The name or address in ``NAME:PORT``; None where it is neither."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises where it is no number
    except ValueError:
        return None
    if parts.username is not None or parts.path or not parts.hostname:
        return None
    return parts.hostname.rstrip(".").lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
