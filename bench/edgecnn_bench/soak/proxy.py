"""A TCP proxy between a camera and the daemon, which does to the connection what networks do."""

import asyncio
import random
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Literal, TypeAlias, TypeVar

T = TypeVar("T")
CHUNK = 1 << 16
GARBAGE_EVERY = 2000
"""Bytes of a stream, on average, of which one is wrong while there is garbage."""

LinkFault: TypeAlias = Literal["stall", "offline", "garbage"]
"""Nothing is passed on though nobody hangs up; nobody answers; bytes are wrong."""


class FaultyLink:
    """Passes on what a camera sends until told otherwise; runs in the loop of ``LinkGroup``.

    Attributes:
        port: Where it listens, on loopback.
        connections: How often somebody has connected.
    """

    def __init__(self, group: "LinkGroup", target: int, seed: int) -> None:
        """Listen.

        Args:
            group: Whose loop it runs in.
            target: The camera's port, on loopback.
            seed: Of the garbage.
        """
        self._group, self._target = group, target
        self._random = random.Random(seed)  # noqa: S311  (garbage, no secret)
        self._fault: LinkFault | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._transports: set[asyncio.WriteTransport] = set()
        self.connections = 0
        self.port = group.call(self._listen())

    def set_fault(self, fault: LinkFault | None) -> None:
        """Begin a fault, or end it with None. "offline" also hangs up on who is connected."""
        self._group.call(self._set_fault(fault))

    def hang_up(self) -> None:
        """End every connection; new ones are taken."""
        self._group.call(self._hang_up())

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _set_fault(self, fault: LinkFault | None) -> None:
        self._fault = fault
        if fault == "stall":
            self._flowing.clear()
        else:
            self._flowing.set()
        if fault == "offline":
            await self._hang_up()

    async def _hang_up(self) -> None:
        for transport in self._transports:
            transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writers = [writer]
        try:
            if self._fault == "offline":
                return
            upstream, to_camera = await asyncio.open_connection("127.0.0.1", self._target)
            writers.append(to_camera)
            self._transports |= {each.transport for each in writers}
            pumps = [
                asyncio.ensure_future(self._pump(reader, to_camera, spoil=False)),
                asyncio.ensure_future(self._pump(upstream, writer, spoil=True)),
            ]
            _, going = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in going:
                pump.cancel()
        except OSError:  # the camera is gone: hang up, as it would
            pass
        finally:
            for each in writers:
                self._transports.discard(each.transport)
                each.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, spoil: bool
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._flowing.wait()
                spoiled = spoil and self._fault == "garbage"
                writer.write(self._garbage(data) if spoiled else data)
                await writer.drain()

    def _garbage(self, data: bytes) -> bytes:
        wrong = bytearray(data)
        for _ in range(-(-len(data) // GARBAGE_EVERY)):
            wrong[self._random.randrange(len(wrong))] ^= 1 << self._random.randrange(8)
        return bytes(wrong)


class LinkGroup:
    """The thread in which links run: ``with LinkGroup() as group: link = FaultyLink(group, …)``."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "LinkGroup":
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self.call(_cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run in the loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
