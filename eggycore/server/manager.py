"""Starts and stops several servers together, outside of a runtime."""

from __future__ import annotations

import asyncio
from typing import Protocol

from eggycore.server.stopped import Stopped

__all__ = ["Server", "ServerManager"]


class Server(Protocol):
    """What HTTPServer and GRPCServer have in common."""

    async def start(self) -> None:
        """Listen and serve."""

    def begin_drain(self) -> None:
        """Still serve, and tell clients to go elsewhere."""

    async def stop(self, timeout: float) -> Stopped:
        """Take no more, finish what is in flight for at most `timeout` seconds, close."""


class ServerManager:
    """Starts servers one after another and stops them together.

    Example:
        >>> from eggycore.server import HTTPServer, ServerManager
        >>> manager = ServerManager()
        >>> manager.add(HTTPServer(host="127.0.0.1", port=0))
    """

    def __init__(self) -> None:
        self._servers: list[Server] = []
        self._started: list[Server] = []

    def add(self, server: Server) -> None:
        """Take this server in, before `start_all`."""
        self._servers.append(server)

    async def start_all(self) -> None:
        """Start the servers in the order in which they were added; if one fails, those before it are stopped.

        Raises:
            EggycoreError: What the first server that failed raised, for example PortTaken.
        """
        try:
            for server in self._servers:
                await server.start()
                self._started.append(server)
        except BaseException:
            await self.stop_all(0)
            raise

    def begin_drain(self) -> None:
        """Let every server still serve, and tell its clients to go elsewhere."""
        for server in self._started:
            server.begin_drain()

    async def stop_all(self, timeout: float) -> Stopped:
        """Stop all servers that were started, at the same time. Idempotent; legal before the start.

        Args:
            timeout: Seconds after which requests in flight are cut.

        Returns:
            The sums over all servers.
        """
        started, self._started = self._started, []
        stopped = await asyncio.gather(*(server.stop(timeout) for server in started))
        return Stopped(finished=sum(one.finished for one in stopped), cut=sum(one.cut for one in stopped))
