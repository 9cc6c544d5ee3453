"""One Redis server: what all callers of a tick want of it goes out in one write."""

from __future__ import annotations

import asyncio
import time
from asyncio import Future
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import hiredis
from redis.asyncio.connection import Connection

from eggycore.diagnostics import diagnose
from eggycore_cache.backend import NO_ANSWER, ServerStats
from eggycore_cache.breaker import Breaker
from eggycore_cache.outage_log import log_outages
from eggycore_cache.redis_connecting import Connect, Identity, identity_of
from eggycore_cache.redis_errors import RedisTrouble, trouble_of_connecting, trouble_of_reply
from eggycore_cache.redis_forgetting import BATCH, forget_prefix
from eggycore_cache.redis_link import Answer, RedisLink, Waiter
from eggycore_cache.redis_owed import Owed
from eggycore_cache.redis_protocol import Command, pack, redirection

if TYPE_CHECKING:
    from eggycore_cache.redis_routes import Cluster

__all__ = ["RedisServer"]

TOLD_FOR = 60.0
"""Seconds for which a trouble is told that the server otherwise works with."""

PROBE = "eggycore:probe"
"""A key that is never set. Deleting it shows whether the server takes changes."""


class RedisServer:
    """A server, or the primary of a group of them.

    It has one connection. Redis works off a connection in order, so a get that was asked after a confirmed or given-up
    set or delete never sees what was before; and one pipelined connection keeps it as busy as two do.

    Nothing here raises because the server is away: futures then hold NO_ANSWER, or its error reply.

    Args:
        name: Host and port, for people.
        connect: Makes a connection.
        timeout: Seconds that an answer may take, unless the call says otherwise.
        connect_timeout: Seconds for a connection, sign-in and what is owed included in each of their steps.
        namespace: What all keys of this cache begin with.
        cluster: The one it is a node of; a command then names one key, not several.
    """

    def __init__(
        self,
        name: str,
        connect: Connect,
        *,
        timeout: float,
        connect_timeout: float,
        namespace: str = "",
        cluster: Cluster | None = None,
    ) -> None:
        self.name = name
        self.owed = Owed(namespace)
        self._trouble: RedisTrouble | None = None
        self._trouble_at = 0.0
        self._connect = connect
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._cluster = cluster
        self._moved = cluster.moved if cluster is not None else None
        self._probe = f"{namespace}{PROBE}"
        self._breaker = Breaker()
        log_outages(name, self._breaker)
        self._link: RedisLink | None = None
        self._gone: Identity | None = None
        self._gets: list[tuple[str, Future[Answer]]] = []
        self._commands: list[tuple[Command, Future[Answer]]] = []
        self._longest = timeout
        self._scheduled = False
        self._closed = False
        self._errors = 0
        self._preparing: asyncio.Task[None] | None = None
        self._sweeping = False
        self._sweeps: set[asyncio.Task[bool]] = set()

    @property
    def available(self) -> bool:
        """Whether it may be asked now."""
        return self._breaker.ready

    @property
    def trouble(self) -> RedisTrouble | None:
        """What is the matter; a refusal that left the rest working is told for a minute."""
        trouble = self._trouble
        if trouble is None or trouble.fatal or time.monotonic() - self._trouble_at < TOLD_FOR:
            return trouble
        return None

    def stats(self) -> ServerStats:
        """How it is, as this process sees it."""
        trouble = self.trouble
        reason, action = (trouble.reason, diagnose(trouble).action) if trouble else ("", "")
        return ServerStats(
            server=self.name, state=self._breaker.state, errors=self._errors, reason=reason, action=action
        )

    async def open(self) -> None:
        """Connect, if that is possible now."""
        if self._link is None and self._breaker.allow():
            await asyncio.wait([self._prepare_soon()])

    def set_timeouts(self, *, answer: float, connect: float) -> None:
        """Wait from now on for so many seconds, as `timeout` and `connect_timeout` say."""
        self._timeout, self._connect_timeout = answer, connect
        self._longest = max(self._longest, answer) if self._scheduled else answer  # what waits keeps its time

    def get(self, key: str, timeout: float | None = None) -> Future[Answer]:
        """The value of a key."""
        loop = asyncio.get_running_loop()
        future: Future[Answer] = loop.create_future()
        if self._link is None and not self._may_wait():
            future.set_result(NO_ANSWER)
            return future
        self._gets.append((key, future))
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._flush)
        if timeout is not None or self._link is None:
            self._limit(future, timeout)
        return future

    def ask(self, command: Command, timeout: float | None = None) -> Future[Answer]:
        """The reply to a command. It is not sent when nobody waits for it any more."""
        return self.ask_all((command,), timeout)[0]

    def ask_all(self, commands: Sequence[Command], timeout: float | None = None) -> list[Future[Answer]]:
        """The replies to several commands, which are sent with no other in between."""
        loop = asyncio.get_running_loop()
        futures: list[Future[Answer]] = [loop.create_future() for _ in commands]
        if self._link is None and not self._may_wait():
            for future in futures:
                future.set_result(NO_ANSWER)
            return futures
        self._commands.extend(zip(commands, futures, strict=True))
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._flush)
        if timeout is not None or self._link is None:
            for future in futures:
                self._limit(future, timeout)
        return futures

    def owe(self, key: str) -> None:
        """Let the server forget a key: now, or before it is used again."""
        number = self.owed.add(key)
        if self._link is not None:
            future = self.ask(("UNLINK", key))
            future.add_done_callback(partial(self._settle_key, key, number))

    def owe_prefix(self, prefix: str) -> None:
        """Let the server forget every key that begins with this text before it is used again.

        That takes many commands, so a connection that stands is closed: on the next one it comes before all else.
        """
        self.owed.add_prefix(prefix)
        if self._link is not None:
            self._link.drop(None)

    def sweep(self, prefix: str) -> asyncio.Task[bool]:
        """Forget every key that begins with this text; whether that was confirmed. It is owed otherwise."""
        task = asyncio.get_running_loop().create_task(self._sweep(prefix), name=f"redis sweep {self.name}")
        self._sweeps.add(task)
        task.add_done_callback(self._sweeps.discard)
        return task

    def ping(self) -> Future[Answer]:
        """Whether it takes changes: a number, or in a cluster where to, when it does. A replica would still read."""
        return self.ask(("UNLINK", self._probe))

    async def close(self) -> None:
        """Let go of everything; who waits gets no answer."""
        self._closed = True
        tasks = [*self._sweeps, *([self._preparing] if self._preparing else [])]
        for task in tasks:
            task.cancel()
        if self._link is not None:
            self._link.drop(None)
        self._give_up()
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.sleep(0)  # the transport closes its socket in the next turn of the loop

    # What the link tells

    def answered(self, link: RedisLink) -> None:
        trouble = self._trouble
        if trouble is not None and trouble.fatal and link is self._link:
            self._breaker.succeeded()
            self._trouble = None

    def refused(self, link: RedisLink, error: hiredis.ReplyError) -> None:
        text = str(error)
        if link is not self._link or text.startswith(("MOVED ", "ASK ", "TRYAGAIN ")) or "WRONGTYPE" in text:
            return  # an answer to the caller, not trouble of the server's
        trouble = trouble_of_reply(self.name, text)
        if trouble.fatal:
            link.drop(trouble.kind)
        else:
            self._errors += 1
            self._note(trouble)

    def writable(self, link: RedisLink) -> None:
        if link is self._link:
            self._flush()

    def lost(self, link: RedisLink, trouble: RedisTrouble | None) -> None:
        if link is self._link:
            if link.unanswered:  # of one that was never used, nothing but deletes can come late
                self._gone = link.identity
                self._errors += link.unanswered
            self._link = None
            if trouble is not None:
                self._failed(trouble)
            self._give_up()

    # Sending

    def _may_wait(self) -> bool:
        """Whether a call may wait for a connection that is being made, or for a new one."""
        if self._closed:
            return False
        if self._preparing is not None:
            return self._breaker.state == "closed" and not self._sweeping
        if not self._breaker.allow():
            return False
        self._prepare_soon()
        return True

    def _flush(self) -> None:
        """Send what has come together, unless there is no connection or it is full: then it waits for that."""
        self._scheduled = False
        link = self._link
        if link is None or link.paused:
            return
        data, waiters = self._packed()
        if not waiters:
            return
        deadline = asyncio.get_running_loop().time() + self._longest
        self._longest = self._timeout
        link.send(data, waiters, deadline)

    def _packed(self) -> tuple[bytes, list[Waiter]]:
        """Everything that waits to be sent. Gets come last: they see what the others of their tick have done.

        What was given up meanwhile is not sent: a set that did not make it must not follow the delete that is owed.
        """
        commands = [item for item in self._commands if not item[1].done()]
        gets = [item for item in self._gets if not item[1].done()]
        self._commands, self._gets = [], []
        parts = [pack(command) for command, _ in commands]
        waiters: list[Waiter] = [future for _, future in commands]
        if self._cluster is None and len(gets) > 1:
            parts.append(pack(("MGET", *[key for key, _ in gets])))
            waiters.append([future for _, future in gets])
        else:
            parts.extend(pack(("GET", key)) for key, _ in gets)
            waiters.extend(future for _, future in gets)
        return b"".join(parts), waiters

    def _limit(self, future: Future[Answer], timeout: float | None) -> None:
        """Give a call a time of its own: it asked for one, or there is no connection yet to watch over it."""
        seconds = self._timeout if timeout is None else timeout
        self._longest = max(self._longest, seconds)
        timer = asyncio.get_running_loop().call_later(seconds, self._expire, future)
        future.add_done_callback(lambda _: timer.cancel())

    def _expire(self, future: Future[Answer]) -> None:
        if not future.done():
            self._errors += 1
            future.set_result(NO_ANSWER)

    def _give_up(self) -> None:
        """What has not been sent gets no answer."""
        waiting = [future for _, future in (*self._commands, *self._gets) if not future.done()]
        self._commands, self._gets = [], []
        for future in waiting:
            self._errors += 1
            future.set_result(NO_ANSWER)

    # Connecting

    def _prepare_soon(self) -> asyncio.Task[None]:
        if self._preparing is None:
            loop = asyncio.get_running_loop()
            self._preparing = loop.create_task(self._prepare(), name=f"redis connect {self.name}")
        return self._preparing

    async def _prepare(self) -> None:
        """Connect, deliver what is owed, and only then let anything else through."""
        link: RedisLink | None = None
        try:
            connection, identity = await self._connected()
            link = RedisLink(connection, identity, self)
            await self._introduce(link)
            while self.owed:
                await self._deliver(link)
            if not link.open:
                raise link.trouble or RedisTrouble(self.name, "closed")
            self._link, link = link, None
        except RedisTrouble as trouble:
            self._failed(trouble)
            self._give_up()
        finally:
            self._preparing = None
            self._sweeping = False
            if link is not None:
                link.drop(None)
        if self._link is not None:
            if self._breaker.state == "half-open":  # else real answers tell, not a connection that may hang again
                self._breaker.succeeded()
                self._trouble = None
            self._flush()

    async def _connected(self) -> tuple[Connection, Identity | None]:
        try:
            connection = await self._connect()
            return connection, await identity_of(connection)
        except RedisTrouble:
            raise
        except Exception as error:
            raise trouble_of_connecting(self.name, error) from error

    async def _introduce(self, link: RedisLink) -> None:
        """End the connection before this one, and see whether changes are taken.

        A connection that was given up may have left commands in the server's buffers. They must not be carried out
        after what comes now.
        """
        if self._gone is not None:
            link.ask(("CLIENT", "KILL", "ID", self._gone[0], "ADDR", self._gone[1]), self._connect_timeout)
        self._check(await link.ask(("UNLINK", self._probe), self._connect_timeout), link)
        self._gone = None

    async def _deliver(self, link: RedisLink) -> None:
        keys = list(self.owed.keys.items())[:BATCH]
        if keys:
            replies = [link.ask(("UNLINK", key), self._connect_timeout) for key, _ in keys]
            for (key, number), reply in zip(keys, replies, strict=True):
                answer = await reply
                self._check(answer, link)
                self._settle(key, number, answer)
        for prefix, number in list(self.owed.prefixes.items()):
            self._sweeping = True  # that may take long: who comes now need not wait for it
            ask = partial(link.ask, timeout=self._connect_timeout)
            answer = await forget_prefix(prefix, ask, self._moved)
            if not self._is_final(answer):
                self._check(answer, link)
            self.owed.settle_prefix(prefix, number)

    def _check(self, answer: Answer, link: RedisLink) -> None:
        """Go on with what was answered, and with what is no refusal of this server's own."""
        if answer is NO_ANSWER:
            raise link.trouble or RedisTrouble(self.name, "closed")
        if isinstance(answer, hiredis.ReplyError) and redirection(str(answer)) is None:
            raise trouble_of_reply(self.name, str(answer))

    def _failed(self, trouble: RedisTrouble) -> None:
        self._note(trouble)
        self._breaker.failed(trouble.reason)
        if self._cluster is not None and not self._closed:
            self._cluster.troubled()

    def _note(self, trouble: RedisTrouble) -> None:
        self._trouble = trouble
        self._trouble_at = time.monotonic()

    # Forgetting

    async def _sweep(self, prefix: str) -> bool:
        answer = await forget_prefix(prefix, self.ask, self._moved)
        if not self._is_final(answer) and not self._closed:
            self.owe_prefix(prefix)
        return isinstance(answer, list)

    def _is_final(self, answer: Answer) -> bool:
        """Whether it is done, or was refused for ever: that is told, and not tried again."""
        if not isinstance(answer, hiredis.ReplyError):
            return answer is not NO_ANSWER
        trouble = trouble_of_reply(self.name, str(answer))
        if not trouble.fatal:
            self._note(trouble)
        return not trouble.fatal

    def _settle_key(self, key: str, number: int, future: Future[Answer]) -> None:
        if not future.cancelled():
            self._settle(key, number, future.result())

    def _settle(self, key: str, number: int, answer: Answer) -> None:
        """The key is forgotten here, or another node is to forget it."""
        where = redirection(str(answer)) if isinstance(answer, hiredis.ReplyError) else None
        if where is not None and self._moved is not None:
            self._moved(key, where)
        if where is not None or isinstance(answer, int):
            self.owed.settle(key, number)
