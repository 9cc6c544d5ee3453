"""A TCP proxy that a test puts before a server, to take the network away from it."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import ExitStack, suppress
from types import TracebackType

from tests.servers.ports import HOST, reserved_port

PIECE = 65536
"""Bytes that are read at once."""

_RESET = struct.pack("ii", 1, 0)
"""Linger for no time: closing sends a reset, as a killed peer or a firewall does."""


class Proxy:
    """A proxy on a port of its own, for the time of an `async with` block. Used from its event loop only.

    Clients may be in any thread, but not block the loop that the proxy lives in.

    Args:
        host: Of the server behind it.
        port: Of the server behind it.
    """

    host = HOST

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._resources = ExitStack()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._delay = 0.0
        self.port = 0
        self.accepted = 0

    async def __aenter__(self) -> Proxy:
        self.port = self._resources.enter_context(reserved_port())
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.refuse()
        finally:
            self._resources.close()

    @property
    def address(self) -> str:
        """host:port of the proxy."""
        return f"{self.host}:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many clients are connected now."""
        return len(self._connections)

    async def forward(self) -> None:
        """Let everything through, without delay: how it begins. What a black hole held back goes on its way."""
        self._delay = 0.0
        self._flowing.set()
        await self._listen()

    async def refuse(self) -> None:
        """Refuse new connections and reset those that are open, as a server that has died does."""
        if self._server is not None:
            self._server.close()
        await self.cut()
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    async def cut(self) -> None:
        """Reset the connections that are open, once."""
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def black_hole(self) -> None:
        """Deliver nothing any more, in either direction, and reset nothing: packets are lost.

        New connections are taken and never answered. As with TCP, what was sent arrives late if `forward` is called
        before somebody gives up; call `cut` first for a network that forgot its connections.
        """
        self._flowing.clear()
        await self._listen()

    async def delay(self, seconds: float) -> None:
        """From now on each piece of up to 64 kB waits this long, in each direction."""
        self._delay = seconds

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, self.host, self.port)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.get_running_loop().create_task(self._carry(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        task.add_done_callback(lambda _: _reset(writer))  # one that is cancelled before it begins has no `finally`

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until both sides have closed it or one has reset it."""
        writers = [writer]
        try:
            await self._flowing.wait()
            their_reader, their_writer = await asyncio.open_connection(*self._target)
            writers.append(their_writer)
            async with asyncio.TaskGroup() as directions:
                directions.create_task(self._pump(reader, their_writer))
                directions.create_task(self._pump(their_reader, writer))
            for each in writers:
                each.close()  # what is still in its buffer goes out first
                await each.wait_closed()
        except* OSError:  # the server is not there, or one side has reset the connection: the other one is told below
            pass
        finally:
            for each in writers:
                _reset(each)
            for each in writers:
                with suppress(OSError):
                    await each.wait_closed()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(PIECE):
            if self._delay:
                await asyncio.sleep(self._delay)
            await self._flowing.wait()
            writer.write(piece)
            await writer.drain()
        await self._flowing.wait()
        if writer.can_write_eof():
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None and not writer.transport.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
