"""The application: pages, API, streams and metrics of one daemon, behind the guard."""

from functools import partial
from http import HTTPStatus
from typing import Annotated
from urllib.parse import parse_qs

import msgspec
from msgspec import Meta
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from edgecnn_runtime.web.api import ENDPOINTS
from edgecnn_runtime.web.auth import Authenticator
from edgecnn_runtime.web.endpoint import Call, Endpoint, check_access, read_body, respond
from edgecnn_runtime.web.event_feed import event_feed
from edgecnn_runtime.web.guard import DEFECT, Guard, is_local
from edgecnn_runtime.web.live import LiveHub, ViewSize
from edgecnn_runtime.web.metrics import Metrics
from edgecnn_runtime.web.openapi import openapi_document
from edgecnn_runtime.web.operations import EventId, Operations
from edgecnn_runtime.web.pages import StaticFile, static_files, static_response
from edgecnn_runtime.web.problem import HttpError, problem_response
from edgecnn_runtime.web.settings import WebSettings
from edgecnn_runtime.web.streams import Streams
from edgecnn_runtime.web.tokens import Tokens

LIVE_TYPE, FEED_TYPE = "application/octet-stream", "text/event-stream"


class LiveQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a live view shows.

    Attributes:
        camera: Names; all cameras without any.
        size: Of the pictures: "grid" is at most 640 pixels wide, "full" 1280.
        pipeline: The name of the pipeline whose results are shown; empty for each camera's first.
    """

    camera: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    size: ViewSize = "grid"
    pipeline: Annotated[str, Meta(max_length=4096)] = ""


class FeedQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events a stream begins with.

    Attributes:
        camera: Of this camera only.
        after: Committed after this one; new ones only without it. The header ``Last-Event-ID``,
            which browsers send by themselves, comes first.
    """

    camera: Annotated[str, Meta(max_length=200)] = ""
    after: EventId = ""


class WebApp:
    """Pages, API, streams and metrics; made and used in one event loop.

    Attributes:
        asgi: The application for the server.
        document: The OpenAPI document.
    """

    def __init__(
        self, operations: Operations, settings: WebSettings, tokens: Tokens | None
    ) -> None:
        """Prepare to serve.

        Args:
            operations: The daemon.
            settings: How it is served.
            tokens: None where no token is needed.
        """
        self._operations = operations
        self._settings = settings
        self._authenticator = Authenticator(tokens)
        self._files = static_files()
        self._streams = Streams(settings.streams)
        self._hub = LiveHub(operations)
        self._metrics = Metrics(operations, lambda: self._streams.open)
        endpoints = (*self._stream_endpoints(), *ENDPOINTS)
        self.document = openapi_document(endpoints)
        self._document = msgspec.json.encode(self.document)
        routes = [*self._page_routes(), *(self._route(each) for each in endpoints)]
        self._guard = Guard(self._application(routes), settings, self._authenticator)
        self.asgi: ASGIApp = self._guard

    def close(self) -> None:
        """End all streams."""
        self._streams.close()
        self._hub.close()

    def _application(self, routes: list[Route]) -> Starlette:
        async def no_route(_request: Request, error: Exception) -> Response:
            assert isinstance(error, HTTPException)
            words = {404: "there is nothing at this path", 405: "not with this method"}
            status = error.status_code
            detail = words.get(status, HTTPStatus(status).phrase)
            response = problem_response(HttpError(status, detail))
            response.headers.update(error.headers or {})
            return response

        async def problem(_request: Request, error: Exception) -> Response:
            return problem_response(error if isinstance(error, HttpError) else DEFECT)

        handlers = {HTTPException: no_route, HttpError: problem, Exception: problem}
        return Starlette(routes=routes, exception_handlers=handlers)

    def _route(self, endpoint: Endpoint) -> Route:
        answer = partial(respond, endpoint, self._operations)
        route = Route(endpoint.path, answer, methods=[endpoint.method])
        if endpoint.returns in {LIVE_TYPE, FEED_TYPE} and route.methods:
            route.methods.discard("HEAD")  # its end would never come
        return route

    def _stream_endpoints(self) -> tuple[Endpoint, ...]:
        def live(call: Call) -> Response:
            query: LiveQuery = call.query
            pipelines = {each.name: each.pipelines for each in self._operations.cameras()}
            names = query.camera or tuple(pipelines)
            if unknown := set(names) - set(pipelines):
                raise HttpError(404, f"there is no camera {min(unknown)}")
            if query.pipeline and any(query.pipeline not in pipelines[name] for name in names):
                raise HttpError(404, "not each of these cameras has a pipeline of this name")
            chunks = self._hub.watch(names, query.size, query.pipeline)
            return self._streams.response(chunks, LIVE_TYPE)

        def feed(call: Call) -> Response:
            chunks = event_feed(self._operations, call.query.after, call.query.camera)
            return self._streams.response(chunks, FEED_TYPE)

        return (
            Endpoint(
                method="GET", path="/api/live", handle=live, query=LiveQuery, returns=LIVE_TYPE,
                summary="Frames and their results, as they come", problems=(404, 503),
            ),
            Endpoint(
                method="GET", path="/api/events/stream", handle=feed, query=FeedQuery,
                returns=FEED_TYPE, summary="Events as they are committed", problems=(503,),
            ),
        )  # fmt: skip

    def _page_routes(self) -> list[Route]:
        return [
            Route("/", self._index),
            Route("/login", self._login_page, methods=["GET"]),
            Route("/login", self._login, methods=["POST"]),
            Route("/logout", self._logout, methods=["POST"]),
            Route("/static/{name}", self._static),
            Route("/api", self._api_page),
            Route("/api/openapi.json", self._openapi),
            Route("/metrics", self._metrics_text),
        ]

    async def _index(self, request: Request) -> Response:
        if request.scope["identity"] is None:
            return RedirectResponse("login", 303)
        return static_response(self._files["index.html"], request)

    async def _api_page(self, request: Request) -> Response:
        if request.scope["identity"] is None:
            return RedirectResponse("login", 303)
        return static_response(self._files["api.html"], request)

    async def _openapi(self, request: Request) -> Response:
        check_access("viewer", request.scope["identity"])
        return Response(self._document, media_type="application/json")

    async def _login_page(self, request: Request) -> Response:
        if request.scope["identity"] is not None:
            return RedirectResponse("./", 303)
        return static_response(self._files["login.html"], request)

    async def _login(self, request: Request) -> Response:
        """A right token begins a session; a wrong one is answered by the same page."""
        fields = parse_qs((await read_body(request)).decode("utf-8", "replace"), max_num_fields=4)
        role = self._authenticator.role_of(fields.get("token", [""])[0].strip())
        if role is None:
            self._guard.count_failure(request.scope)
            page = self._files["login.html"].content.replace(b"<form", b'<form data-failed="true"')
            return Response(page, 401, media_type="text/html; charset=utf-8")
        response = RedirectResponse("./", 303)
        session = self._authenticator.start_session(role)
        response.headers["Set-Cookie"] = self._guard.cookie(request.scope, session)
        return response

    async def _logout(self, request: Request) -> Response:
        response = RedirectResponse("login", 303)
        response.headers["Set-Cookie"] = self._guard.cookie(request.scope, "")
        return response

    async def _static(self, request: Request) -> Response:
        file: StaticFile | None = self._files.get(request.path_params["name"])
        if file is None:
            raise HttpError(404, "there is nothing at this path")
        return static_response(file, request)

    async def _metrics_text(self, request: Request) -> Response:
        if not (self._settings.metrics == "loopback" and is_local(request.scope)):
            check_access("viewer", request.scope["identity"])
        text, media_type = self._metrics.text(request.headers.get("accept", ""))
        return Response(text, media_type=None, headers={"Content-Type": media_type})
