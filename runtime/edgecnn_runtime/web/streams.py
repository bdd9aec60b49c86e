"""Responses without an end: live views and event streams, which end with viewer or daemon."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from edgecnn_runtime.web.problem import HttpError


class Streams:
    """All streams of one server: how many there are, and their end; lives in one event loop.

    Attributes:
        open: How many are open now.
    """

    def __init__(self, limit: int) -> None:
        """None are open yet.

        Args:
            limit: How many may be open at the same time.
        """
        self.open = 0
        self._limit = limit
        self._closed = asyncio.Event()

    def close(self) -> None:
        """End all streams, properly; new ones end at once."""
        self._closed.set()

    def response(self, chunks: AsyncGenerator[bytes, None], media_type: str) -> Response:
        """A response that sends what a generator yields, at the pace of its viewer.

        Args:
            chunks: Closed when viewer or server end the stream; waits while the viewer is slow.
            media_type: Of the whole.

        Raises:
            HttpError: Too many streams are open.
        """
        if self.open >= self._limit:
            raise HttpError(503, f"{self.open} streams are open already, and no more may be", 10.0)
        return _StreamResponse(self, chunks, media_type)

    async def run(self, *tasks: Coroutine[Any, Any, None]) -> None:
        """Until the first of them ends, or all streams are closed."""
        self.open += 1
        running = [asyncio.ensure_future(each) for each in (*tasks, self._wait_closed())]
        try:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.open -= 1
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _wait_closed(self) -> None:
        await self._closed.wait()


class _StreamResponse(Response):
    def __init__(
        self, streams: Streams, chunks: AsyncGenerator[bytes, None], media_type: str
    ) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx passes it on
        super().__init__(None, headers=headers, media_type=media_type)
        del self.headers["content-length"]
        self._streams = streams
        self._chunks = chunks

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        async def write(body: bytes, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": more})

        async def write_all() -> None:
            async for chunk in self._chunks:
                await write(chunk)

        async def wait_for_viewer() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        async with aclosing(self._chunks):
            await send(start)
            await self._streams.run(write_all(), wait_for_viewer())
        await write(b"", more=False)
