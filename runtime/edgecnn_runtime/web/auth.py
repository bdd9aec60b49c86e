"""Who asks: a bearer token for programs, a signed session cookie for browsers.

A session is ``ROLE.EXPIRY.NONCE.SIGNATURE``. Its key is derived from the role's token, so nothing
about sessions is stored, they survive a restart, and a new token ends them.
"""

import base64
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edgecnn_runtime.web.tokens import ROLES, Role, Tokens

COOKIE = "edgecnn-session"
SESSION_SECONDS = 30 * 24 * 3600.0
"""How long a session lasts after its last use: the page on the wall stays open for months."""
RENEW_SECONDS = 24 * 3600.0
"""A session older than this is renewed when it is used."""
FAILURES, RECOVERY = 8, 5.0
"""Wrong tokens at once from one address before they are answered with 429, and the seconds after
which one more is let through. A right token is always let in: it cannot be guessed, and whoever
shares an address with a guesser would be locked out."""


@dataclass(frozen=True)
class Identity:
    """Who asks.

    Attributes:
        role: What may be done.
        by: How that is known. A token is sent on purpose; a session, or the switched-off
            authentication, would also serve a request that a foreign page makes a browser send.
        renew: Whether the session should be renewed.
    """

    role: Role
    by: Literal["token", "session", "open"]
    renew: bool = False


class Throttle:
    """Allows so many events at once per address, and then one more every so often.

    Used by one thread.
    """

    ADDRESSES = 1024
    """Addresses that are remembered; the one that was quiet the longest is forgotten."""

    def __init__(
        self, burst: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing has happened yet.

        Args:
            burst: Events at once.
            seconds: After which one more is allowed.
            clock: In seconds.
        """
        self._burst = float(burst)
        self._seconds = seconds
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Count an event; the seconds after which it would be allowed, 0.0 if it is."""
        now = self._clock()
        level, last = self._levels.pop(address, (self._burst, now))
        level = min(self._burst, level + (now - last) / self._seconds)
        allowed = level >= 1.0
        self._levels[address] = (level - 1.0 if allowed else level, now)
        if len(self._levels) > self.ADDRESSES:
            self._levels.popitem(last=False)
        return 0.0 if allowed else (1.0 - level) * self._seconds


class Authenticator:
    """Tells who asks from what a request carries; makes and checks sessions."""

    def __init__(self, tokens: Tokens | None, clock: Callable[[], float] = time.time) -> None:
        """Check against these tokens.

        Args:
            tokens: None where no token is needed: everyone is an operator.
            clock: Seconds since 1970; sessions expire by it.
        """
        self._tokens = tokens
        self._clock = clock

    def role_of(self, token: str) -> Role | None:
        """The role that a token opens; takes the same time whatever the token is."""
        if self._tokens is None:
            return None
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        matches = [
            role
            for role in ROLES
            if hmac.compare_digest(digest, hashlib.sha256(self._token(role).encode()).digest())
        ]
        return matches[0] if matches else None

    def identify(self, authorization: str, session: str) -> Identity | None:
        """Who asks; None for a stranger.

        Args:
            authorization: The header ``Authorization``; where it is given, it alone counts.
            session: The value of the session cookie.
        """
        if self._tokens is None:
            return Identity("operator", "open")
        if authorization:
            scheme, _, token = authorization.partition(" ")
            role = self.role_of(token.strip()) if scheme.lower() == "bearer" else None
            return Identity(role, "token") if role else None
        return self._session(session) if session else None

    def start_session(self, role: Role) -> str:
        """The value of the cookie of a new session."""
        expiry = int(self._clock() + SESSION_SECONDS)
        claim = f"{role}.{expiry}.{secrets.token_urlsafe(12)}"
        return f"{claim}.{self._sign(role, claim)}"

    def _session(self, value: str) -> Identity | None:
        claim, _, signature = value.rpartition(".")
        role = next((role for role in ROLES if claim.startswith(f"{role}.")), None)
        if role is None or not _same(signature, self._sign(role, claim)):
            return None
        expiry = float(claim.split(".")[1])  # signed, so it is what start_session wrote
        now = self._clock()
        if now > expiry:
            return None
        return Identity(role, "session", renew=expiry - now < SESSION_SECONDS - RENEW_SECONDS)

    def _token(self, role: Role) -> str:
        assert self._tokens is not None
        return self._tokens.operator if role == "operator" else self._tokens.viewer

    def _sign(self, role: Role, claim: str) -> str:
        key = hashlib.sha256(b"edgecnn session\0" + self._token(role).encode()).digest()
        digest = hmac.new(key, claim.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _same(signature: str, expected: str) -> bool:
    try:
        return hmac.compare_digest(signature.encode("ascii"), expected.encode("ascii"))
    except UnicodeEncodeError:
        return False
