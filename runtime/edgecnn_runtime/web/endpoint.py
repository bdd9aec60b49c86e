"""One endpoint of the API as data: what serves it, and what its OpenAPI description says."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import inspect
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.web.auth import Identity
from edgecnn_runtime.web.operations import Operations
from edgecnn_runtime.web.problem import HttpError, http_error
from edgecnn_runtime.web.settings import MAX_BODY
from edgecnn_runtime.web.tokens import Role

Access: TypeAlias = Literal["open", "viewer", "operator"]
JSON = "application/json"
BODY_SECONDS = 10.0
"""Seconds that a body may take to arrive."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request for an endpoint, validated.

    Attributes:
        operations: The daemon.
        path: The parts of the path, by name.
        query: Of the endpoint's type; None where it takes none.
        body: The same.
        role: Who asks; None for a stranger.
        if_match: ETags of what may be replaced, without their quotes; empty for anything.
    """

    operations: Operations
    path: Mapping[str, str]
    query: Any
    body: Any
    role: Role | None
    if_match: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """What the API offers at a path.

    Attributes:
        method: The HTTP method.
        path: With the names of its parts in braces.
        summary: What it does, in one line.
        handle: Does it, in a thread of its own: the value that is returned as JSON, or a response.
        access: Who may.
        query: The Struct of its parameters.
        body: The Struct of its JSON body.
        returns: The type of the JSON that it returns, or the media type of anything else; None
            where it returns nothing (204).
        problems: The statuses that it may fail with, besides those that every endpoint has.
        status: Of success.
        if_match: Whether it takes the header If-Match.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    summary: str
    handle: Callable[[Call], Any]
    access: Access = "viewer"
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    returns: Any = None
    problems: tuple[int, ...] = ()
    status: int = 200
    if_match: bool = False


async def respond(endpoint: Endpoint, operations: Operations, request: Request) -> Response:
    """Answer a request.

    Raises:
        HttpError: It may not be answered, or cannot be right.
    """
    identity: Identity | None = request.scope["identity"]
    check_access(endpoint.access, identity)
    call = Call(
        operations=operations,
        path=request.path_params,
        query=_read_query(endpoint, request),
        body=await _read_body(endpoint, request),
        role=identity.role if identity else None,
        if_match=_read_if_match(request) if endpoint.if_match else frozenset(),
    )
    try:
        answer = await run_in_threadpool(endpoint.handle, call)
    except EdgecnnError as error:
        raise http_error(error) from None
    if isinstance(answer, Response):
        return answer
    if endpoint.returns is None:
        return Response(status_code=204)
    return Response(msgspec.json.encode(answer), endpoint.status, media_type=JSON)


def check_access(access: Access, identity: Identity | None) -> None:
    """Refuse who may not.

    Raises:
        HttpError: A stranger, or a viewer who wants to change something.
    """
    if access == "open":
        return
    if identity is None:
        raise HttpError(401, "send `Authorization: Bearer TOKEN`, or log in; see `edgecnn token`")
    if access == "operator" and identity.role != "operator":
        raise HttpError(403, "this needs the operator's token; see `edgecnn token`")


def _read_if_match(request: Request) -> frozenset[str]:
    """A proxy that compresses may have made weak ETags of ours, which name the same."""
    header = request.headers.get("if-match", "*").strip()
    tags = {each.strip().removeprefix("W/").strip('"') for each in header.split(",")}
    return frozenset() if header == "*" else frozenset(tags)


def _read_query(endpoint: Endpoint, request: Request) -> Any:
    parameters = request.query_params
    if endpoint.query is None:
        return None
    info = inspect.type_info(endpoint.query)
    assert isinstance(info, inspect.StructType)
    several = {
        each.encode_name for each in info.fields if isinstance(each.type, inspect.VarTupleType)
    }
    values = {
        name: parameters.getlist(name) if name in several else parameters[name]
        for name in parameters
    }
    try:
        return msgspec.convert(values, endpoint.query, strict=False)
    except msgspec.ValidationError as error:
        raise HttpError(422, f"the query cannot be right: {error}") from None


async def _read_body(endpoint: Endpoint, request: Request) -> Any:
    if endpoint.body is None:
        return None
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise HttpError(415, f"the body must be JSON: send Content-Type: {JSON}")
    try:
        return msgspec.json.decode(await read_body(request), type=endpoint.body)
    except msgspec.ValidationError as error:
        raise HttpError(422, f"the body cannot be right: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HttpError(400, f"the body is not JSON: {error}") from None


async def read_body(request: Request) -> bytes:
    """The body of a request.

    Raises:
        HttpError: It is longer than MAX_BODY, or takes longer than BODY_SECONDS; no more of it is
            read.
    """
    try:
        return await asyncio.wait_for(_read_all(request), BODY_SECONDS)
    except (TimeoutError, asyncio.TimeoutError):  # they are one from Python 3.11 on
        raise HttpError(408, f"the body did not come within {BODY_SECONDS:g} s") from None


async def _read_all(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise HttpError(413, f"the body is longer than {MAX_BODY} bytes")
    return bytes(body)
