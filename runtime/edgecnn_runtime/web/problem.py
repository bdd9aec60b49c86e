"""Errors as ``application/problem+json`` (RFC 9457): never a traceback, never a secret."""

from http import HTTPStatus

import msgspec
from starlette.responses import Response

from edgecnn_runtime.errors import (
    ConfigError,
    EdgecnnError,
    EditConflictError,
    OutboxError,
    UnknownCameraError,
    UsageError,
)

MEDIA_TYPE = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What a failed request is answered with.

    Attributes:
        title: The words of the status.
        status: The HTTP status.
        detail: What happened, and what to do.
    """

    title: str
    status: int
    detail: str


class HttpError(Exception):
    """Ends a request with a problem."""

    def __init__(self, status: int, detail: str, retry_after: float | None = None) -> None:
        """Describe the answer.

        Args:
            status: The HTTP status.
            detail: What happened, and what to do.
            retry_after: Seconds after which it may work.
        """
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.retry_after = retry_after


def problem_response(error: HttpError) -> Response:
    """The answer."""
    title = HTTPStatus(error.status).phrase
    problem = Problem(title=title, status=error.status, detail=error.detail)
    headers = {"Cache-Control": "no-store"}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="edgecnn"'
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    content = msgspec.json.encode(problem)
    return Response(content, error.status, headers, media_type=MEDIA_TYPE)


def http_error(error: EdgecnnError) -> HttpError:
    """What an error of the daemon is over HTTP."""
    for kind, status in (
        (UnknownCameraError, 404),
        (EditConflictError, 412),
        (ConfigError, 422),
        (UsageError, 409),
        (OutboxError, 503),
    ):
        if isinstance(error, kind):
            return HttpError(status, str(error))
    return HttpError(500, str(error))
