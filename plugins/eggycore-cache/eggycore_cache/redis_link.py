"""One connection to a Redis server, on which every answer belongs to the oldest question."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from asyncio import Future
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Protocol, TypeAlias, cast

import hiredis
from redis.asyncio.connection import Connection

from eggycore_cache.backend import NO_ANSWER, NoAnswer
from eggycore_cache.redis_connecting import Identity
from eggycore_cache.redis_errors import RedisTrouble, TroubleKind
from eggycore_cache.redis_protocol import Command, pack

__all__ = ["Answer", "LinkOwner", "RedisLink", "Waiter"]

Answer: TypeAlias = bytes | int | list["Answer"] | hiredis.ReplyError | NoAnswer | None
"""What a command may come back with."""

Waiter: TypeAlias = Future[Answer] | list[Future[Answer]]
"""Who waits for one reply; a list waits for the items of an array."""

GRACE = 0.01
"""Seconds between noticing that a reply is overdue and acting on it: an event loop that was held up reads first."""

_CUT = struct.pack("ii", 1, 0)
"""SO_LINGER that throws away what was not sent: a set that was given up must not arrive after a later delete."""


class LinkOwner(Protocol):
    """Who is told about a link."""

    @property
    def name(self) -> str:
        """Of the server."""

    def answered(self, link: RedisLink) -> None:
        """Replies have come."""

    def refused(self, link: RedisLink, error: hiredis.ReplyError) -> None:
        """A reply was an error."""

    def writable(self, link: RedisLink) -> None:
        """More may be sent again."""

    def lost(self, link: RedisLink, trouble: RedisTrouble | None) -> None:
        """The connection is gone; None when nothing was asked at the time."""


class RedisLink(asyncio.Protocol):
    """A connection that redis-py has made (address, TLS, user, database), read and written at less cost per command.

    A reply that is overdue closes it: what comes later can then never be taken for the answer to another question.

    Args:
        connection: Connected; belongs to the link from here on.
        identity: What the server calls it.
        owner: Who is told.
    """

    def __init__(self, connection: Connection, identity: Identity | None, owner: LinkOwner) -> None:
        # redis-py has no public way to its transport. It is held to one major version, and the tests would see it go.
        writer = connection._writer
        assert writer is not None
        self._connection: Connection | None = connection
        self._owner = owner
        self._transport = cast("asyncio.Transport", writer.transport)
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=NO_ANSWER)
        self._waiting: deque[Waiter] = deque()
        self._deadlines: deque[tuple[int, float]] = deque()
        self._sent = 0
        self._answered = 0
        self._timer: asyncio.TimerHandle | None = None
        self._overdue = -1
        self.paused = False
        self.trouble: RedisTrouble | None = None
        """Why it was closed."""
        self.identity = identity
        self._transport.set_protocol(self)

    @property
    def open(self) -> bool:
        """Whether it stands, as far as is known."""
        return self._connection is not None

    @property
    def unanswered(self) -> int:
        """Replies that are still to come."""
        return self._sent - self._answered

    def send(self, data: bytes, waiters: Sequence[Waiter], deadline: float) -> None:
        """Send commands whose replies belong to these, in this order, and are due at a time of the loop's clock."""
        self._waiting.extend(waiters)
        self._sent += len(waiters)
        self._deadlines.append((self._sent, deadline))
        self._arm(deadline)
        self._transport.write(data)

    def ask(self, command: Command, timeout: float) -> Future[Answer]:
        """Send one command."""
        future: Future[Answer] = self._loop.create_future()
        if self._connection is None:
            future.set_result(NO_ANSWER)
        else:
            self.send(pack(command), (future,), self._loop.time() + timeout)
        return future

    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self._waiting
        refusals: list[hiredis.ReplyError] = []
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not NO_ANSWER:
                if not waiting:
                    raise hiredis.ProtocolError
                self._answered += 1
                _give(waiting.popleft(), reply)
                if type(reply) is hiredis.ReplyError:
                    refusals.append(reply)
        except hiredis.ProtocolError:
            self.drop("protocol")
            return
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= self._answered:
            deadlines.popleft()
        self._owner.answered(self)
        for error in refusals:
            self._owner.refused(self, error)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._owner.writable(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._let_go(RedisTrouble(self._owner.name, "closed") if self._waiting else None)

    def drop(self, kind: TroubleKind | None) -> None:
        """Close it at once; who waits gets no answer. None when nothing is the matter."""
        if self._connection is None:
            return
        with contextlib.suppress(OSError, AttributeError):  # a transport that is closing has no socket any more
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CUT)
        self._transport.abort()
        self._let_go(RedisTrouble(self._owner.name, kind) if kind else None)

    def _let_go(self, trouble: RedisTrouble | None) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        # Its own close would wait for a protocol that is no longer told anything; the transport is closing by now.
        connection._reader = connection._writer = None
        self.trouble = trouble
        if self._timer is not None:
            self._timer.cancel()
        self._owner.lost(self, trouble)
        for waiter in self._waiting:
            _give(waiter, NO_ANSWER)
        self._waiting.clear()

    def _arm(self, when: float) -> None:
        """Look at this time at the latest. One timer serves all requests, and is mostly armed already."""
        if self._timer is None or self._timer.when() > when:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        """See what is overdue: the oldest reply closes the connection, later ones wait behind somebody more patient."""
        self._timer = None
        if not self._deadlines:
            return
        batch, deadline = self._deadlines[0]
        now = self._loop.time()
        if deadline > now:
            self._give_up_behind(deadline, now)
            self._arm(min(when for _, when in self._deadlines))
        elif self._overdue == batch:
            self.drop("overdue")
        else:
            self._overdue = batch
            self._arm(now + GRACE)

    def _give_up_behind(self, patient: float, now: float) -> None:
        """Those whose time is up get no answer. Their replies are still awaited, as long as the one before them."""
        for index, (last, deadline) in enumerate(self._deadlines):
            if deadline <= now:
                first = self._deadlines[index - 1][0]
                for waiter in islice(self._waiting, first - self._answered, last - self._answered):
                    _give(waiter, NO_ANSWER)
                self._deadlines[index] = last, patient


def _give(waiter: Waiter, reply: Answer) -> None:
    """Answer those who still wait."""
    if type(waiter) is not list:
        future = cast("Future[Answer]", waiter)
        if not future.done():
            future.set_result(reply)
    elif type(reply) is list and len(reply) == len(waiter):
        for future, item in zip(waiter, reply, strict=True):
            if not future.done():
                future.set_result(item)
    else:
        for future in waiter:
            if not future.done():
                future.set_result(reply)
