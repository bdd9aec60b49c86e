"""The API's own description (OpenAPI 3.1), from the endpoints and their types."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from edgecnn_runtime import __version__
from edgecnn_runtime.web.auth import COOKIE
from edgecnn_runtime.web.endpoint import JSON, Endpoint
from edgecnn_runtime.web.guard import CSRF_HEADER
from edgecnn_runtime.web.problem import MEDIA_TYPE, Problem

REFERENCE = "#/components/schemas/{name}"
COMMON_PROBLEMS = (400, 421, 429)
"""Statuses that every endpoint may fail with: no HTTP, a foreign host name, too many requests."""
PROBLEMS = {
    400: "The request is malformed.",
    401: "No token, or a wrong one.",
    403: "The role may not do this, or the request comes from a foreign page.",
    404: "There is none of this name.",
    408: "The body did not come in time.",
    409: "It cannot be done now.",
    412: "It is not what If-Match says any more.",
    413: "The body is too long.",
    415: "The body is not JSON.",
    421: "The host name is not one of this machine's.",
    422: "A value cannot be right.",
    429: "Too many requests, or too many wrong tokens.",
    503: "Not ready, or too many streams are open.",
}


def openapi_document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The document that describes these endpoints."""
    types: list[Any] = [Problem]
    for endpoint in endpoints:
        kinds = (endpoint.query, endpoint.body, endpoint.returns)
        types += [kind for kind in kinds if kind is not None and not isinstance(kind, str)]
    schemas, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    schema_of = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        description = _operation(endpoint, schema_of, components)
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = description
    queries = {endpoint.query.__name__ for endpoint in endpoints if endpoint.query}
    return {
        "openapi": "3.1.0",
        "info": {"title": "edgecnn", "version": __version__, "description": DESCRIPTION},
        "servers": [{"url": ".."}],  # relative to this document, so right behind any proxy
        "paths": paths,
        "components": {
            "schemas": {name: it for name, it in components.items() if name not in queries},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            },
        },
    }


DESCRIPTION = f"""\
The cameras of one daemon, and its events. `edgecnn token` shows the tokens of a viewer and of an
operator; send one as `Authorization: Bearer TOKEN`. A page that is logged in has a session instead,
and sends `{CSRF_HEADER}: 1` with every change. Errors are problems (RFC 9457).
"""


def _operation(
    endpoint: Endpoint, schema_of: dict[int, Any], components: dict[str, Any]
) -> dict[str, Any]:
    problems = {*COMMON_PROBLEMS, *endpoint.problems}
    problems |= {401} if endpoint.access == "viewer" else set()
    problems |= {401, 403} if endpoint.access == "operator" else set()
    problems |= {422} if endpoint.query else set()
    problems |= {408, 413, 415, 422} if endpoint.body else set()
    description: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": f"{endpoint.method.lower()}{re.sub(r'[^a-z]+', '_', endpoint.path)}",
        "tags": [_tag(endpoint)],
        "parameters": list(_parameters(endpoint, components)),
        "responses": {
            **_success(endpoint, schema_of),
            **{str(status): _problem(status) for status in sorted(problems)},
        },
        "security": [] if endpoint.access == "open" else [{"token": []}, {"session": []}],
        "x-access": endpoint.access,
    }
    if endpoint.body:
        schema = schema_of[id(endpoint.body)]
        description["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    return description


def _tag(endpoint: Endpoint) -> str:
    parts = endpoint.path.split("/")
    return parts[2] if parts[1] == "api" and parts[2] in {"cameras", "events"} else "daemon"


def _parameters(endpoint: Endpoint, components: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", endpoint.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    if endpoint.if_match:
        words = "The ETag of what is replaced; without it, whatever is there is."
        schema = {"type": "string"}
        yield {"name": "If-Match", "in": "header", "description": words, "schema": schema}
    if endpoint.query:
        properties = components[endpoint.query.__name__]["properties"]
        for name, schema in properties.items():
            yield {"name": name, "in": "query", "schema": schema}


def _success(endpoint: Endpoint, schema_of: dict[int, Any]) -> dict[str, Any]:
    if endpoint.returns is None:
        return {"204": {"description": "Done."}}
    if isinstance(endpoint.returns, str):
        content: dict[str, Any] = {endpoint.returns: {}}
    else:
        content = {JSON: {"schema": schema_of[id(endpoint.returns)]}}
    return {str(endpoint.status): {"description": "Done.", "content": content}}


def _problem(status: int) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": {"$ref": REFERENCE.format(name="Problem")}}}
    return {"description": PROBLEMS[status], "content": content}
