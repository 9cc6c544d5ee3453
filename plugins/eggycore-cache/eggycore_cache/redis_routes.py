"""Which Redis server has a key: the only one, or in a cluster the primary of its slot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from eggycore_cache.redis_connecting import Connector
from eggycore_cache.redis_errors import RedisTrouble
from eggycore_cache.redis_owed import Owed
from eggycore_cache.redis_protocol import Redirection, slot_of
from eggycore_cache.redis_server import RedisServer
from eggycore_cache.targets import Host

__all__ = ["Cluster", "ClusterRoute", "OneServer", "Route", "shown"]

SLOTS = 16384
BETWEEN_LOOKS = 1.0
"""Seconds between two looks at which node serves what."""


class Route(Protocol):
    """Where keys are."""

    @property
    def several(self) -> bool:
        """Whether one command may name several keys."""

    @property
    def servers(self) -> Sequence[RedisServer]:
        """Every server that has keys, as far as is known."""

    @property
    def trouble(self) -> RedisTrouble | None:
        """Why the servers are not known, None when they are."""

    def server_of(self, key: str) -> RedisServer | None:
        """The server that has a key; None when that is not known."""

    async def open(self) -> None:
        """Find the servers and connect, as far as that is possible now."""

    async def find(self, timeout: float | None) -> None:
        """Look for the servers, unless somebody has just done so. Waits no longer than this many seconds."""

    def owe(self, key: str) -> None:
        """Let the server of a key forget it, now or before it is used again."""

    def owe_prefix(self, prefix: str) -> None:
        """Let all servers forget what begins with this text, now or before they are used again."""

    def redirected(self, key: str, where: Redirection) -> RedisServer:
        """The server that another one has named for a key."""

    async def close(self) -> None:
        """Let go of everything."""


class Cluster(Protocol):
    """What a node tells the cluster that it belongs to."""

    def troubled(self) -> None:
        """It does not answer: somebody else may have taken its place."""

    def moved(self, key: str, where: Redirection) -> None:
        """Another node has a key that was to be forgotten."""


class OneServer:
    """The only server."""

    several = True
    trouble: RedisTrouble | None = None

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self.servers = (server,)

    def server_of(self, key: str) -> RedisServer:
        return self._server

    async def open(self) -> None:
        await self._server.open()

    async def find(self, timeout: float | None) -> None:
        """It is known."""

    def owe(self, key: str) -> None:
        self._server.owe(key)

    def owe_prefix(self, prefix: str) -> None:
        self._server.owe_prefix(prefix)

    def redirected(self, key: str, where: Redirection) -> RedisServer:
        """A server that redirects is a node of a cluster, and the URL does not say so; it is asked no further."""
        return self._server

    async def close(self) -> None:
        await self._server.close()


class ClusterRoute:
    """The primaries of a Redis Cluster. Looks again when one of them is in trouble or names another.

    What an old primary still has to forget, the new one is told before it is used.

    Args:
        seeds: Some nodes of the cluster.
        connector: Makes connections to nodes.
        make: Makes the server of a node of this cluster.
        namespace: What all keys of this cache begin with.
    """

    several = False

    def __init__(
        self,
        seeds: Sequence[Host],
        connector: Connector,
        make: Callable[[Host, Cluster], RedisServer],
        namespace: str = "",
    ) -> None:
        self.trouble: RedisTrouble | None = None
        self._homeless = Owed(namespace)
        self._seeds = seeds
        self._connector = connector
        self._make = make
        self._servers: dict[Host, RedisServer] = {}
        self._slots: list[RedisServer | None] = [None] * SLOTS
        self._looked = float("-inf")
        self._looking: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def servers(self) -> Sequence[RedisServer]:
        return tuple(self._servers.values())

    def server_of(self, key: str) -> RedisServer | None:
        return self._slots[slot_of(key)]

    async def open(self) -> None:
        await self.find(None)
        for server in self.servers:
            await server.open()

    async def find(self, timeout: float | None) -> None:
        loop = asyncio.get_running_loop()
        if self._looking is None and not self._closed and loop.time() - self._looked >= BETWEEN_LOOKS:
            self._look()
        if self._looking is not None:
            await asyncio.wait([self._looking], timeout=timeout)

    def owe(self, key: str) -> None:
        server = self.server_of(key)
        if server is not None:
            server.owe(key)
        else:
            self._homeless.add(key)

    def owe_prefix(self, prefix: str) -> None:
        for server in self.servers:
            server.owe_prefix(prefix)
        if not self.servers:
            self._homeless.add_prefix(prefix)

    def redirected(self, key: str, where: Redirection) -> RedisServer:
        current = self.server_of(key)
        host = where.host or (current.name.rpartition(":")[0] if current else "")
        server = self._server_at((host, where.port))
        if where.lasting:
            self._slots[slot_of(key)] = server
            self._look_soon()
        return server

    def troubled(self) -> None:
        """A node does not answer: somebody else may have taken its place."""
        self._look_soon()

    def moved(self, key: str, where: Redirection) -> None:
        """Another node has a key that was to be forgotten."""
        server = self.redirected(key, where)
        if where.lasting:
            server.owe(key)
        else:
            server.ask_all((("ASKING",), ("UNLINK", key)))

    async def close(self) -> None:
        self._closed = True
        if self._later is not None:
            self._later.cancel()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        for server in self.servers:
            await server.close()

    def _server_at(self, host: Host) -> RedisServer:
        if (server := self._servers.get(host)) is None:
            server = self._servers[host] = self._make(host, self)
        return server

    def _look_soon(self) -> None:
        """Now, or when the last look is long enough ago."""
        if self._closed or self._looking is not None or self._later is not None:
            return
        loop = asyncio.get_running_loop()
        wait = self._looked + BETWEEN_LOOKS - loop.time()
        if wait <= 0:
            self._look()
        else:
            self._later = loop.call_later(wait, self._look)

    def _look(self) -> None:
        self._later = None
        loop = asyncio.get_running_loop()
        self._looked = loop.time()
        if self._looking is None and not self._closed:
            self._looking = loop.create_task(self._learn(), name="redis cluster slots")

    async def _learn(self) -> None:
        try:
            ranges = await self._connector.slots(self._nodes())
        except RedisTrouble as trouble:
            self.trouble = trouble
            return
        finally:
            self._looking = None
        self.trouble = None
        slots: list[RedisServer | None] = [None] * SLOTS
        for each in ranges:
            slots[each.first : each.last + 1] = [self._server_at(each.primary)] * (each.last + 1 - each.first)
        self._slots = slots
        used = {id(server) for server in slots}
        gone = [host for host, server in self._servers.items() if id(server) not in used]
        left = [self._servers.pop(host) for host in gone]
        self._pass_on(left)
        for server in left:
            await server.close()

    def _nodes(self) -> Iterable[Host]:
        """Whom to ask: those that answer first."""
        known = sorted(self._servers, key=lambda host: not self._servers[host].available)
        return dict.fromkeys([*known, *self._seeds])

    def _pass_on(self, gone: Sequence[RedisServer]) -> None:
        """Let whoever has a key now forget what the one before had to."""
        for server in (*gone, *self.servers):
            for key, number in list(server.owed.keys.items()):
                owner = self.server_of(key)
                if owner is not None and owner is not server:
                    server.owed.settle(key, number)
                    owner.owe(key)
        for server in gone:
            for prefix in list(server.owed.prefixes):
                self.owe_prefix(prefix)
        keys, prefixes = self._homeless.take()
        for key in keys:
            self.owe(key)
        for prefix in prefixes:
            self.owe_prefix(prefix)


def shown(host: Host) -> str:
    """Host and port, for people."""
    name, port = host
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
