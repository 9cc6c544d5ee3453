"""The cache on Memcached servers: which of them is asked for a key, and what the answers come to."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeVar

from eggycore_cache.backend import NO_ANSWER, BackendStats, NoAnswer, Reply, ServerStats
from eggycore_cache.errors import CacheClosed, CacheDown, NotANumber, ValueTooLarge
from eggycore_cache.hashing import Ring, wire_key
from eggycore_cache.memcached_requests import Count, Delete, Exists, Get, Look, Request, Store, Stored, Touch
from eggycore_cache.memcached_server import Options, Server
from eggycore_cache.memcached_space import Space

if TYPE_CHECKING:
    from eggycore_cache.access import Access
    from eggycore_cache.instruments import Instruments
    from eggycore_cache.settings import CacheSettings

__all__ = ["MemcachedBackend", "from_settings"]

Outcome = TypeVar("Outcome")

TRIES = 20
"""How often what depends on an unchanged value is tried: each try is one that another caller has won."""

LONGEST_RELATIVE = 60 * 60 * 24 * 30
"""Seconds. Memcached takes a longer time for a moment since 1970."""

LAST_MOMENT = (1 << 31) - 1
"""Memcached's clock has 32 bits."""

LIMIT_SETTING = "memcached -I"


def from_settings(settings: CacheSettings, instruments: Instruments | None = None) -> MemcachedBackend:
    """The backend on the servers that the settings name.

    Args:
        settings: Where they are and how they are talked to.
        instruments: Not used: what Memcached holds is told by `stats`.

    Raises:
        CacheUrlRefused: The URL cannot be used.
        TlsFileUnusable: A certificate or key file cannot be used.
    """
    target = settings.target
    options = Options(
        timeout=settings.timeout,
        connect_timeout=settings.connect_timeout,
        connections=settings.max_idle_conns,
        user=target.user,
        password=target.password,
        tls=target.tls.context() if target.tls else None,
    )
    return MemcachedBackend(target.hosts, namespace=settings.namespace, options=options)


class MemcachedBackend:
    """Bytes by key on Memcached 1.6.12 or newer. It belongs to one event loop; `close` ends what it owns.

    Every key has a home among the servers (rendezvous hashing, the same as pymemcache's). While that is away another
    keeps it, as a guest. Whatever may have missed a change is cleared before it is read again: a server whose breaker
    was open, and all guests whenever a server goes.

    Memcached counts whole seconds: a ttl is rounded up, so 0.2 s becomes 1 s.

    Args:
        hosts: The servers: host and port.
        namespace: What all keys begin with, before a colon; "" when they do not.
        options: How servers are talked to.
    """

    def __init__(self, hosts: Sequence[tuple[str, int]], *, namespace: str, options: Options | None = None) -> None:
        options = options or Options()
        self._servers = [Server(host, port, options, self._server_opened) for host, port in hosts]
        self._homes = [Space(server, namespace, guest=False) for server in self._servers]
        self._guests = [Space(server, namespace, guest=True) for server in self._servers]
        self._prefix = f"{namespace}:" if namespace else ""
        self._order = Ring([f"{host}:{port}" for host, port in hosts]).order
        self._only = len(self._servers) == 1
        self._closed = False

    @property
    def kind(self) -> Literal["memcached"]:
        """As in Backend, like all that follows."""
        return "memcached"

    @property
    def available(self) -> bool:
        return not self._closed and any(server.breaker.ready for server in self._servers)

    async def open(self) -> None:
        self._check_open()
        await asyncio.gather(*[server.connected() for server in self._servers])

    async def get(self, key: str, *, timeout: float | None = None) -> Reply:
        wire = wire_key(key)
        if (space := self._space(wire)) is None:
            return NO_ANSWER
        return await space.ask(Get(key, space.mark + wire), timeout)

    async def get_many(self, keys: Sequence[str], *, timeout: float | None = None) -> list[Reply]:
        requests: list[Request[bytes | None]] = []
        for key in keys:
            wire = wire_key(key)
            space = self._space(wire)
            requests.append(_submitted(space, Get(key, _named(space, wire))))
        return await _outcomes(requests, timeout)

    async def set(self, key: str, value: bytes, ttl: float | None, *, timeout: float | None = None) -> bool:
        wire = wire_key(key)
        if (space := self._space(wire)) is None:
            return False
        if (limit := space.server.item_limit) is not None and len(value) > limit:
            raise await self._too_large(space, key, wire, value, timeout)
        end, until = _expiry(ttl), _deadline(timeout)
        for _ in range(TRIES):
            stored = await space.ask(Store(key, space.mark + wire, value, end), _left(until))
            if stored is Stored.TOO_LARGE:
                raise await self._too_large(space, key, wire, value, timeout)
            if stored is not Stored.OUTDATED:
                return stored is Stored.YES
        return False

    async def set_many(
        self, items: Mapping[str, bytes], ttl: float | None, *, timeout: float | None = None
    ) -> frozenset[str]:
        end, until = _expiry(ttl), _deadline(timeout)
        requests: list[Request[Stored]] = []
        for key, value in items.items():
            wire = wire_key(key)
            space = self._space(wire)
            requests.append(_submitted(space, Store(key, _named(space, wire), value, end)))
        outcomes = await _outcomes(requests, timeout)
        missed = {key for key, stored in zip(items, outcomes, strict=True) if stored is NO_ANSWER}
        # What a clear has overtaken is stored again; what is too large comes last, as that raises.
        again = [key for key, stored in zip(items, outcomes, strict=True) if stored is Stored.OUTDATED]
        again += [key for key, stored in zip(items, outcomes, strict=True) if stored is Stored.TOO_LARGE]
        for key in again:
            if not await self.set(key, items[key], ttl, timeout=_left(until)):
                missed.add(key)
        return frozenset(missed)

    async def add(self, key: str, value: bytes, ttl: float | None, *, timeout: float | None = None) -> bool | NoAnswer:
        wire = wire_key(key)
        if (space := self._space(wire)) is None:
            return NO_ANSWER
        end, until, name, condition = _expiry(ttl), _deadline(timeout), space.mark + wire, b" ME"
        for _ in range(TRIES):
            stored = await space.ask(Store(key, name, value, end, condition), _left(until))
            if stored is Stored.TOO_LARGE:
                raise await self._too_large(space, key, wire, value, timeout)
            if stored is Stored.YES:
                return True
            if stored is NO_ANSWER:
                return NO_ANSWER
            # Something is there. If it has been cleared it counts as nothing, and gives way.
            if (seen := await space.ask(Look(key, name), _left(until))) is NO_ANSWER:
                return NO_ANSWER
            if seen.value is not None:
                return False
            condition = seen.token
        return NO_ANSWER

    async def incr(self, key: str, amount: int, ttl: float | None, *, timeout: float | None = None) -> int | NoAnswer:
        wire = wire_key(key)
        if (space := self._space(wire)) is None:
            return NO_ANSWER
        end, until, name = _expiry(ttl), _deadline(timeout), space.mark + wire
        for _ in range(TRIES):
            if (seen := await space.ask(Look(key, name), _left(until))) is NO_ANSWER:
                return NO_ANSWER
            if seen.value is None:
                first = max(amount, 0)
                stored = await space.ask(Store(key, name, b"%d" % first, end, seen.token), _left(until))
                if stored is Stored.YES:
                    return first
                if stored is NO_ANSWER:
                    return NO_ANSWER
                continue
            if not seen.is_number:
                raise NotANumber(key)
            if (number := await space.ask(Count(key, name, amount), _left(until))) is not None:
                return number
        return NO_ANSWER

    async def touch(self, key: str, ttl: float | None, *, timeout: float | None = None) -> bool | NoAnswer:
        wire = wire_key(key)
        if (space := self._space(wire)) is None:
            return NO_ANSWER
        return await space.ask(Touch(key, space.mark + wire, _expiry(ttl)), timeout)

    async def delete(self, key: str, *, timeout: float | None = None) -> bool | NoAnswer:
        wire = wire_key(key)
        if (space := self._space(wire)) is None:
            return NO_ANSWER
        return await space.ask(Delete(key, space.mark + wire), timeout)

    async def delete_many(self, keys: Sequence[str], *, timeout: float | None = None) -> int | NoAnswer:
        requests: list[Request[bool]] = []
        for key in keys:
            wire = wire_key(key)
            space = self._space(wire)
            requests.append(_submitted(space, Delete(key, _named(space, wire))))
        existed = 0
        missed = False
        for outcome in await _outcomes(requests, timeout):
            if outcome is NO_ANSWER:
                missed = True
            elif outcome:
                existed += 1
        return NO_ANSWER if missed else existed

    async def exists(self, key: str, *, timeout: float | None = None) -> bool | NoAnswer:
        wire = wire_key(key)
        if (space := self._space(wire)) is None:
            return NO_ANSWER
        return await space.ask(Exists(key, space.mark + wire), timeout)

    async def clear_prefix(self, prefix: str, *, timeout: float | None = None) -> bool:
        self._check_open()
        if prefix == self._prefix:
            prefix = ""  # all of the namespace: the list of clears is short again
        return all(await asyncio.gather(*[space.clear(prefix, timeout) for space in [*self._homes, *self._guests]]))

    async def ping(self) -> None:
        self._check_open()
        for server, answers in zip(self._servers, await asyncio.gather(*map(_pinged, self._servers)), strict=True):
            if not answers:
                raise CacheDown(server.name, server.breaker.reason)

    async def stats(self) -> BackendStats:
        self._check_open()
        held = [counts for counts in await asyncio.gather(*map(_counts, self._servers)) if counts is not None]
        whole = bool(held) and not self._prefix  # Memcached does not tell namespaces apart
        return BackendStats(
            entries=sum(counts.get("curr_items", 0) for counts in held) if whole else None,
            bytes=sum(counts.get("bytes", 0) for counts in held) if whole else None,
            evictions=sum(counts.get("evictions", 0) for counts in held) if held else None,
            servers=tuple(
                ServerStats(server=s.name, state=s.breaker.state, errors=s.breaker.errors, reason=s.breaker.reason)
                for s in self._servers
            ),
        )

    def set_access(self, access: Access) -> None:
        tls = access.tls.context() if access.tls else None
        for server in self._servers:
            server.options = replace(
                server.options,
                user=access.user,
                password=access.password,
                tls=tls,
                timeout=access.timeout,
                connect_timeout=access.connect_timeout,
            )

    async def close(self) -> None:
        self._closed = True
        for space in [*self._homes, *self._guests]:
            await space.close()
        for server in self._servers:
            await server.close()

    def _check_open(self) -> None:
        if self._closed:
            raise CacheClosed

    def _space(self, wire: bytes) -> Space | None:
        """Who keeps a key now: its home, or the next in its order as a guest; None when nobody answers."""
        if self._closed:
            raise CacheClosed
        if self._only:
            return self._homes[0] if self._servers[0].usable else None
        spaces = self._homes
        for index in self._order(wire):
            if self._servers[index].usable:
                return spaces[index]
            spaces = self._guests
        return None

    def _server_opened(self, server: Server) -> None:
        """A server is left alone from now on: it misses changes, and others keep its keys in its place."""
        self._homes[self._servers.index(server)].owe("")
        for guest in self._guests:
            guest.owe("")

    async def _too_large(
        self, space: Space, key: str, wire: bytes, value: bytes, timeout: float | None
    ) -> ValueTooLarge:
        """The error; what the key had before is gone, as with every other value that is replaced."""
        await space.ask(Delete(key, space.mark + wire), timeout)
        return ValueTooLarge(key, len(value) + len(wire), space.server.item_limit or 0, LIMIT_SETTING)


def _named(space: Space | None, wire: bytes) -> bytes:
    return space.mark + wire if space else wire


def _submitted(space: Space | None, request: Request[Outcome]) -> Request[Outcome]:
    """The request, on its way or answered with NO_ANSWER already."""
    if space is None:
        request.finish(NO_ANSWER)
    else:
        space.submit(request)
    return request


async def _outcomes(requests: Sequence[Request[Outcome]], timeout: float | None) -> list[Outcome | NoAnswer]:
    """What comes of requests that are on their way, in their order."""
    if timeout is None:
        return [await request.future for request in requests]

    def give_up() -> None:
        for request in requests:
            request.finish(NO_ANSWER)

    timer = asyncio.get_running_loop().call_later(timeout, give_up)
    try:
        return [await request.future for request in requests]
    finally:
        timer.cancel()


async def _pinged(server: Server) -> bool:
    return await server.connected() and bool(await server.ask(b"mn\r\n", 1))


async def _counts(server: Server) -> dict[str, int] | None:
    """What a server counts; None when it does not answer."""
    if not server.usable or not (answers := await server.ask(b"stats\r\n", 1)):
        return None
    lines = [line.partition(b" ") for line in (answers[0][2] or b"").split(b"\n")]
    return {name.decode(): int(value) for name, _, value in lines if value.isdigit()}


def _expiry(ttl: float | None) -> bytes:
    """A ttl as the protocol has it: whole seconds from now, or a moment when it is long."""
    if ttl is None:
        return b"0"
    seconds = math.ceil(ttl)
    if seconds > LONGEST_RELATIVE:
        seconds = min(int(time.time()) + seconds, LAST_MOMENT)
    return b"%d" % seconds


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else asyncio.get_running_loop().time() + timeout


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - asyncio.get_running_loop().time())
