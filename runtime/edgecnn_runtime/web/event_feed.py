"""Events as they are committed, as server-sent events: each viewer is told of each, in order."""

import asyncio
from collections.abc import AsyncGenerator

import msgspec
from starlette.concurrency import run_in_threadpool

from edgecnn_runtime.sinks.serialize import event_record
from edgecnn_runtime.types import Event
from edgecnn_runtime.web.operations import EventQuery, Operations

HEARTBEAT = 10.0
"""Seconds of silence after which a comment says that the connection lives."""
BACKLOG = 200
"""Events that a viewer who was away is told of at most: the newest ones."""


async def event_feed(
    operations: Operations, after: str, camera: str
) -> AsyncGenerator[bytes, None]:
    """Events from now on, or from where the browser lost its connection.

    Args:
        operations: The daemon.
        after: The id of the last event that the viewer knows; empty for a new viewer.
        camera: Only of this camera; empty for all.

    Yields:
        Lines of an event stream.
    """
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(changed.set)

    async def events(**query: object) -> list[Event]:
        asked = EventQuery(camera=camera, **query)  # type: ignore[arg-type] # the callers below
        return list(await run_in_threadpool(operations.events, asked))

    unsubscribe = operations.subscribe_events(wake)
    try:
        if after:
            changed.set()
        else:
            latest = await events(limit=1)
            after = latest[0].id if latest else ""
        yield b"retry: 2000\n\n"  # and whoever has read this misses nothing
        while True:
            heartbeat = loop.call_later(HEARTBEAT, changed.set)
            await changed.wait()
            heartbeat.cancel()
            changed.clear()
            news = await events(after=after, limit=BACKLOG)
            if not news:
                yield b": still here\n\n"
            for event in reversed(news):
                after, data = event.id, msgspec.json.encode(event_record(event))
                yield b"id: %b\nevent: event\ndata: %b\n\n" % (after.encode(), data)
    finally:
        unsubscribe()
