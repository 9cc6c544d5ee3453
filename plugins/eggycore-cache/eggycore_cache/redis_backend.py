"""`RedisBackend`: values in Redis, alone, behind sentinels, or as a cluster."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from hiredis import ReplyError

from eggycore_cache.backend import NO_ANSWER, BackendStats, NoAnswer, Reply
from eggycore_cache.errors import CacheClosed, NotANumber, ValueTooLarge
from eggycore_cache.redis_connecting import Connect, Connector, Credentials, SentinelConnector
from eggycore_cache.redis_errors import RedisTrouble
from eggycore_cache.redis_link import Answer
from eggycore_cache.redis_protocol import (
    INCREMENT,
    MAX_VALUE,
    Command,
    milliseconds,
    redirection,
)
from eggycore_cache.redis_routes import Cluster, ClusterRoute, OneServer, Route, shown
from eggycore_cache.redis_server import RedisServer

if TYPE_CHECKING:
    from eggycore_cache.access import Access
    from eggycore_cache.instruments import Instruments
    from eggycore_cache.settings import CacheSettings
    from eggycore_cache.targets import CacheTarget, Host

__all__ = ["RedisBackend", "from_settings"]

MAX_REDIRECTIONS = 5
OK = b"OK"


def from_settings(settings: CacheSettings, instruments: Instruments | None = None) -> RedisBackend:
    """The backend that the settings describe. One connection to each server: CACHE_MAX_IDLE_CONNS is for Memcached.

    Raises:
        TlsFileUnusable: A certificate or key file cannot be used.
    """
    return RedisBackend(
        settings.target,
        namespace=settings.namespace,
        timeout=settings.timeout,
        connect_timeout=settings.connect_timeout,
    )


class RedisBackend:
    """A cache in Redis 6.2 or later. Belongs to the event loop that uses it.

    What all callers want within one turn of the event loop goes out in one write, and comes back in one read. A delete,
    set or clear that a server has not confirmed is made good by deleting, before that server is used again.

    Args:
        target: Where it is.
        namespace: What keys begin with, without the ":" after it; "" for none.
        timeout: Seconds that an answer may take, unless the call says otherwise.
        connect_timeout: Seconds that a connection may take, and each answer while it is made.

    Raises:
        TlsFileUnusable: A certificate or key file cannot be used.
    """

    kind: Literal["redis"] = "redis"

    def __init__(
        self, target: CacheTarget, *, namespace: str = "", timeout: float = 0.5, connect_timeout: float = 1.0
    ) -> None:
        if target.tls is not None:
            target.tls.context()  # so that a file that cannot be used is told now, not as a server that is down
        self._namespace = f"{namespace}:" if namespace else ""
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._credentials = Credentials(target.user, target.password)
        self._connector = Connector(self._credentials, db=target.db, tls=target.tls, timeout=connect_timeout)
        self._sentinels = self._sentinels_of(target) if target.sentinel_master else None
        self._route: Route = self._route_of(target)
        self._server_of = self._route.server_of
        self._closed = False

    @property
    def available(self) -> bool:
        """Whether at least one server may be asked now."""
        return any(server.available for server in self._route.servers)

    @property
    def troubles(self) -> tuple[RedisTrouble, ...]:
        """What is the matter now, each with a diagnosis; nothing when all is well."""
        found = (self._route.trouble, *(server.trouble for server in self._route.servers))
        return tuple(trouble for trouble in found if trouble is not None)

    def set_access(self, access: Access) -> None:
        """Reach the servers like this from now on; connections that stand stay. Each new one reads its TLS files."""
        self._credentials.user = access.user
        self._credentials.password = access.password
        self._timeout, self._connect_timeout = access.timeout, access.connect_timeout
        self._connector.timeout = access.connect_timeout
        if self._sentinels is not None:
            self._sentinels.set_timeout(access.connect_timeout)
        for server in self._route.servers:
            server.set_timeouts(answer=access.timeout, connect=access.connect_timeout)

    async def open(self) -> None:
        """Connect, as far as that is possible now."""
        self._check_open()
        await self._route.open()

    async def get(self, key: str, *, timeout: float | None = None) -> Reply:
        """The value."""
        if self._closed:
            raise CacheClosed
        server = self._server_of(key)
        if server is not None:
            answer = await server.get(key, timeout)
            if answer is None or type(answer) is bytes:
                return answer
            if answer is NO_ANSWER:
                return NO_ANSWER
        return _value(await self._ask(key, ("GET", key), timeout))

    async def get_many(self, keys: Sequence[str], *, timeout: float | None = None) -> list[Reply]:
        """The values, in the order of the keys."""
        self._check_open()
        if not keys:
            return []
        if self._route.several:
            answer = await self._ask(keys[0], ("MGET", *keys), timeout)
            return [_value(each) for each in answer] if isinstance(answer, list) else [NO_ANSWER] * len(keys)
        answers = await self._ask_each([(key, ("GET", key)) for key in keys], timeout)
        return [_value(answer) for answer in answers]

    async def set(self, key: str, value: bytes, ttl: float | None, *, timeout: float | None = None) -> bool:
        """Keep a value; whether the server has confirmed that."""
        self._check_open()
        command = _set_command(key, value, ttl)
        with self._owing(key):
            if await self._ask(key, command, timeout) == OK:
                return True
        self._owe(key)
        return False

    async def set_many(
        self, items: Mapping[str, bytes], ttl: float | None, *, timeout: float | None = None
    ) -> frozenset[str]:
        """Keep several values; the keys that were not confirmed."""
        self._check_open()
        commands = [(key, _set_command(key, value, ttl)) for key, value in items.items()]
        with self._owing(*items):
            answers = await self._ask_each(commands, timeout)
        failed = [key for key, answer in zip(items, answers, strict=True) if answer != OK]
        self._owe(*failed)
        return frozenset(failed)

    async def add(self, key: str, value: bytes, ttl: float | None, *, timeout: float | None = None) -> bool | NoAnswer:
        """Keep a value unless there is one; whether it was kept."""
        self._check_open()
        answer = await self._ask(key, (*_set_command(key, value, ttl), "NX"), timeout)
        return answer == OK if answer is None or answer == OK else NO_ANSWER

    async def incr(self, key: str, amount: int, ttl: float | None, *, timeout: float | None = None) -> int | NoAnswer:
        """Add to a whole number; the sum. It is limited to 64 bits.

        Raises:
            NotANumber: What is kept is no whole number, or the sum is beyond 2**63 - 1.
        """
        self._check_open()
        until = "" if ttl is None else milliseconds(ttl)
        answer = await self._ask(key, ("EVAL", INCREMENT, 1, key, amount, until), timeout)
        if answer is None or (isinstance(answer, ReplyError) and "WRONGTYPE" in str(answer)):
            raise NotANumber(key)
        return int(answer) if isinstance(answer, bytes) else NO_ANSWER

    async def touch(self, key: str, ttl: float | None, *, timeout: float | None = None) -> bool | NoAnswer:
        """Give a value another time to live, from now; whether there is one."""
        self._check_open()
        if ttl is not None:
            return _truth(await self._ask(key, ("PEXPIRE", key, milliseconds(ttl)), timeout))
        # PERSIST says 0 of a value that has no end already.
        persisted, exists = await self._ask_each([(key, ("PERSIST", key)), (key, ("EXISTS", key))], timeout)
        return _truth(exists) if isinstance(persisted, int) else NO_ANSWER

    async def delete(self, key: str, *, timeout: float | None = None) -> bool | NoAnswer:
        """Forget a value; whether there was one."""
        self._check_open()
        with self._owing(key):
            answer = await self._ask(key, ("UNLINK", key), timeout)
        if isinstance(answer, int):
            return answer > 0
        self._owe(key)
        return NO_ANSWER

    async def delete_many(self, keys: Sequence[str], *, timeout: float | None = None) -> int | NoAnswer:
        """Forget several values; how many there were, NO_ANSWER when a server did not answer."""
        self._check_open()
        if not keys:
            return 0
        with self._owing(*keys):
            if self._route.several:
                answers = [await self._ask(keys[0], ("UNLINK", *keys), timeout)]
            else:
                answers = await self._ask_each([(key, ("UNLINK", key)) for key in keys], timeout)
        counts = [answer for answer in answers if isinstance(answer, int)]
        if len(counts) == len(answers):
            return sum(counts)
        self._owe(*keys)
        return NO_ANSWER

    async def exists(self, key: str, *, timeout: float | None = None) -> bool | NoAnswer:
        """Whether there is a value."""
        self._check_open()
        return _truth(await self._ask(key, ("EXISTS", key), timeout))

    async def clear_prefix(self, prefix: str, *, timeout: float | None = None) -> bool:
        """Forget every value whose key begins with this text; whether all servers have confirmed that.

        It goes on as long as they answer, and after `timeout` without the caller.
        """
        self._check_open()
        await self._find_servers(timeout)
        sweeps = [server.sweep(prefix) for server in self._route.servers]
        if not sweeps:
            self._route.owe_prefix(prefix)
            return False
        done, waiting = await asyncio.wait(sweeps, timeout=timeout)
        return not waiting and all(not sweep.cancelled() and sweep.result() for sweep in done)

    async def ping(self) -> None:
        """Return when every server takes changes.

        Raises:
            RedisTrouble: A server does not answer; says which and why.
        """
        self._check_open()
        await self._find_servers(None)
        if not self._route.servers:
            raise self._route.trouble or RedisTrouble("the cluster", "no-cluster")
        for server, future in [(server, server.ping()) for server in self._route.servers]:
            answer = await future
            if answer is NO_ANSWER or (isinstance(answer, ReplyError) and redirection(str(answer)) is None):
                raise server.trouble or RedisTrouble(server.name, "overdue")

    async def stats(self) -> BackendStats:
        """What the servers hold. Bytes and evictions are of whole servers; entries too, so without namespace only."""
        self._check_open()
        servers = self._route.servers
        infos = [_info(await future) for future in [server.ask(("INFO",)) for server in servers]]
        sizes = [] if self._namespace else [await future for future in [server.ask(("DBSIZE",)) for server in servers]]
        return BackendStats(
            entries=_total(sizes),
            bytes=_total([info.get("used_memory") for info in infos]),
            evictions=_total([info.get("evicted_keys") for info in infos]),
            servers=tuple(server.stats() for server in servers),
        )

    async def close(self) -> None:
        """Let go of everything. Idempotent."""
        self._closed = True
        await self._route.close()
        if self._sentinels is not None:
            await self._sentinels.close()

    # Asking

    def _check_open(self) -> None:
        if self._closed:
            raise CacheClosed

    async def _ask(self, key: str, command: Command, timeout: float | None) -> Answer:
        server = self._server_of(key) or await self._found(key, timeout)
        if server is None:
            return NO_ANSWER
        answer = await server.ask(command, timeout)
        return await self._followed(key, command, answer, timeout) if isinstance(answer, ReplyError) else answer

    async def _ask_each(self, commands: Sequence[tuple[str, Command]], timeout: float | None) -> list[Answer]:
        """The answers to several commands, sent together, each with the key that says where."""
        await self._find_servers(timeout)
        asked: list[Future[Answer] | None] = []
        for key, command in commands:
            server = self._server_of(key)
            asked.append(server.ask(command, timeout) if server is not None else None)
        answers: list[Answer] = []
        for (key, command), future in zip(commands, asked, strict=True):
            answer: Answer = NO_ANSWER if future is None else await future
            if isinstance(answer, ReplyError):
                answer = await self._followed(key, command, answer, timeout)
            answers.append(answer)
        return answers

    async def _followed(self, key: str, command: Command, answer: Answer, timeout: float | None) -> Answer:
        """The answer of the node that has the key, after others have pointed there."""
        for _ in range(MAX_REDIRECTIONS):
            where = redirection(str(answer)) if isinstance(answer, ReplyError) else None
            if where is None:
                return answer
            server = self._route.redirected(key, where)
            if where.lasting:
                answer = await server.ask(command, timeout)
            else:
                answer = await server.ask_all((("ASKING",), command), timeout)[1]
        return NO_ANSWER

    async def _find_servers(self, timeout: float | None) -> None:
        if not self._route.servers:
            await self._route.find(self._timeout if timeout is None else timeout)

    async def _found(self, key: str, timeout: float | None) -> RedisServer | None:
        await self._route.find(self._timeout if timeout is None else timeout)
        return self._server_of(key)

    # Owing

    @contextmanager
    def _owing(self, *keys: str) -> Iterator[None]:
        """Somebody who gives up does not learn whether it was done: then it is to be made good."""
        try:
            yield
        except asyncio.CancelledError:
            self._owe(*keys)
            raise

    def _owe(self, *keys: str) -> None:
        for key in keys:
            self._route.owe(key)

    # Making

    def _sentinels_of(self, target: CacheTarget) -> SentinelConnector:
        return SentinelConnector(
            self._connector,
            target.hosts,
            target.sentinel_master,
            credentials=Credentials(target.sentinel_user, target.sentinel_password),
            tls=target.tls,
            timeout=self._connect_timeout,
        )

    def _route_of(self, target: CacheTarget) -> Route:
        if target.cluster:
            return ClusterRoute(target.hosts, self._connector, self._node, self._namespace)
        if self._sentinels is not None:
            return OneServer(self._server(target.sentinel_master, self._sentinels.connect))
        host = target.hosts[0]
        return OneServer(self._server(shown(host), lambda: self._connector.connect(host)))

    def _node(self, host: Host, cluster: Cluster) -> RedisServer:
        return self._server(shown(host), lambda: self._connector.connect(host), cluster)

    def _server(self, name: str, connect: Connect, cluster: Cluster | None = None) -> RedisServer:
        return RedisServer(
            name,
            connect,
            timeout=self._timeout,
            connect_timeout=self._connect_timeout,
            namespace=self._namespace,
            cluster=cluster,
        )


def _set_command(key: str, value: bytes, ttl: float | None) -> Command:
    if len(value) > MAX_VALUE:
        raise ValueTooLarge(key, len(value) + len(key.encode()), MAX_VALUE, "proto-max-bulk-len of Redis")
    return ("SET", key, value) if ttl is None else ("SET", key, value, "PX", milliseconds(ttl))


def _value(answer: Answer) -> Reply:
    """What a get has found. Something that is no text was not put there by a cache: a miss."""
    if answer is None or isinstance(answer, bytes):
        return answer
    return None if isinstance(answer, ReplyError) and str(answer).startswith("WRONGTYPE") else NO_ANSWER


def _truth(answer: Answer) -> bool | NoAnswer:
    return answer > 0 if isinstance(answer, int) else NO_ANSWER


def _info(answer: Answer) -> dict[str, int]:
    """The whole numbers in the answer to INFO."""
    text = answer.decode(errors="replace") if isinstance(answer, bytes) else ""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: int(value) for name, _, value in pairs if value.isdecimal()}


def _total(numbers: Sequence[Answer]) -> int | None:
    """Their sum, None unless every server has told."""
    known = [number for number in numbers if isinstance(number, int)]
    return sum(known) if numbers and len(known) == len(numbers) else None
