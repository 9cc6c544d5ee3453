"""A space of keys on one Memcached server, with the generations that say which of its values are valid."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, TypeVar

from eggycore_cache import memcached_protocol as protocol
from eggycore_cache.backend import NO_ANSWER, NoAnswer
from eggycore_cache.hashing import MARK
from eggycore_cache.memcached_connection import Batch
from eggycore_cache.memcached_generations import Generations
from eggycore_cache.memcached_protocol import Answer
from eggycore_cache.memcached_requests import Request, Store, Stored
from eggycore_cache.memcached_server import Server

__all__ = ["Space"]

Outcome = TypeVar("Outcome")

MOST_OWED = 16
"""Keys whose last change may have been missed; with more of them the whole space is cleared."""

MOST_CLEARS = 64
"""Clears that were asked for; with more of them the whole space is cleared."""

LONGEST_PREFIX = 250
"""Characters of a cleared prefix: the list of clears is read with every batch."""

MOST_AT_ONCE = 512
"""Requests in one batch."""

TRIES = 50
"""How often a clear is tried when other processes clear at the same time: each try is one that another has won."""


class Space:
    """Collects what all callers ask in one tick of the loop, and sends it as one batch.

    Every batch begins by reading the state item, so it knows all clears of other processes that came before it.
    What may have been missed is owed to the space: it is cleared before the space is used again.

    Args:
        server: Where it is.
        namespace: Of the keys.
        guest: Whether it is for keys whose home is away; it is then another space under other names.
    """

    def __init__(self, server: Server, namespace: str, *, guest: bool) -> None:
        self.server = server
        self.mark = MARK.encode() if guest else b""
        self._state = self.mark + f"{namespace}:{MARK}state".encode()
        self._generations: Generations | None = None
        self._pending: list[Request[Any]] = []  # of any outcome: only their own methods meet it
        self._since = 0.0
        self._flushing = False
        self._owed: set[str] = set()
        self._settling: asyncio.Task[bool] | None = None
        self._closed = False

    async def ask(self, request: Request[Outcome], timeout: float | None = None) -> Outcome | NoAnswer:
        """Send a request with all others of this tick, and wait for what comes of it.

        Args:
            request: What to ask.
            timeout: Seconds, the server's own when None.
        """
        if timeout is None:
            self.submit(request)
            return await request.future
        loop = asyncio.get_running_loop()
        if timeout > self.server.options.timeout:
            self._flush()  # what was asked before must not come after it
        if timeout > self.server.options.timeout and self._is_ready():
            self._send([request], loop.time() + timeout)  # by itself, so that no other request waits as long
        else:
            self.submit(request)
        timer = loop.call_later(timeout, request.finish, NO_ANSWER)
        try:
            return await request.future
        finally:
            timer.cancel()

    def submit(self, request: Request[Outcome]) -> None:
        """Send a request with all others of this tick; its future has what comes of it."""
        if not self._pending:
            self._since = asyncio.get_running_loop().time()
        self._pending.append(request)
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    async def clear(self, prefix: str, timeout: float | None = None) -> bool:
        """Make every value invalid whose key begins with this; whether the server has confirmed that.

        When it has not, that is done before the space is used again.

        Raises:
            UnicodeEncodeError: The prefix has no UTF-8.
        """
        prefix.encode()
        self.owe(prefix, most=MOST_CLEARS)
        self._leave_out(prefix)
        if self._closed or not self.server.usable:
            return False
        done, _ = await asyncio.wait([self._settle()], timeout=timeout)
        return all(not task.cancelled() and task.result() for task in done) and bool(done)

    def owe(self, prefix: str, *, most: int = MOST_OWED) -> None:
        """Clear this prefix before the space is used again.

        Args:
            prefix: The beginning of keys, "" for all. Of a long one the head is enough: that clears a little more.
            most: With more than so many, all is cleared.
        """
        if "" not in self._owed:
            self._owed.add(prefix[:LONGEST_PREFIX])
            if not prefix or len(self._owed) > most:
                self._owed = {""}

    def _leave_out(self, prefix: str) -> None:
        """Do not send what is about to be cleared: it would come after the clear, with the generation of then.

        What its caller has given up on is forgotten. A value that is to be kept counts as kept, and as cleared.
        """
        staying = []
        for request in self._pending:
            if isinstance(request, Store) and not request.condition and request.key.startswith(prefix):
                request.finish(Stored.YES)
            elif not (request.future.done() and request.key.startswith(prefix)):
                staying.append(request)
        self._pending = staying

    async def close(self) -> None:
        """Answer nobody any more. Idempotent."""
        self._closed = True
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.wait([self._settling])
        self._lose_pending()

    def _flush(self) -> None:
        self._flushing = False
        if self._closed:
            self._lose_pending()
        elif self._pending and self._is_ready():
            pending, self._pending = self._pending, []
            deadline = self._since + self.server.options.timeout
            for start in range(0, len(pending), MOST_AT_ONCE):
                self._send(pending[start : start + MOST_AT_ONCE], deadline)

    def _is_ready(self) -> bool:
        """Whether nothing is owed; if something is, that is settled first, and what is pending is sent after it."""
        if self._owed or self._settling is not None:
            self._settle()
            return False
        return True

    def _send(self, requests: list[Request[Any]], deadline: float) -> None:
        before, head = 1, protocol.get(self._state)
        if (generations := self._generations) is None:  # the first time, or the server has lost it
            generations = Generations.first()
            before, head = 2, protocol.store(self._state, generations.raw, condition=b" ME") + head
        newest = generations.newest
        try:
            payload = b"".join([head, *[request.encode(newest) for request in requests]])
        except TypeError:  # a value that is not bytes: whoever shares the tick with that mistake must not wait for ever
            self._lost(requests)
            raise
        expected = before + sum([request.expected for request in requests])
        done = partial(self._done, requests, before)
        writes = any(request.writes for request in requests)
        self.server.send(Batch(payload, expected, deadline, done, partial(self._lost, requests), writes))

    def _done(self, requests: list[Request[Any]], at: int, answers: list[Answer]) -> None:
        generations = self._read_state(answers[at - 1])
        for request in requests:
            request.finish(request.read(answers, at, generations))
            at += request.expected

    def _read_state(self, answer: Answer) -> Generations | None:
        raw = answer[2]
        if self._generations is None or raw != self._generations.raw:
            self._generations = None if raw is None else Generations.parse(raw)
            if self._generations is None and raw is not None:  # somebody else's: settling replaces it
                self.owe("")
        return self._generations

    def _lost(self, requests: list[Request[Any]]) -> None:
        for request in requests:
            # It may be carried out yet, even after what is sent later over another connection.
            if request.changes:
                self.owe(request.key)
            request.finish(NO_ANSWER)

    def _lose_pending(self) -> None:
        lost, self._pending = self._pending, []
        self._lost(lost)

    def _settle(self) -> asyncio.Task[bool]:
        if self._settling is None:
            name = f"cache generations of {self.server.name}"
            self._settling = asyncio.get_running_loop().create_task(self._settling_now(), name=name)
        return self._settling

    async def _settling_now(self) -> bool:
        settled = False
        try:
            async with asyncio.timeout(self.server.options.timeout):
                settled = await self._pay()
        except TimeoutError:
            pass
        finally:
            self._settling = None
            if settled:
                self._flush()
            else:
                self._lose_pending()
        return settled

    async def _pay(self) -> bool:
        """Clear what is owed, until nothing is."""
        for _ in range(TRIES):
            if not self._owed:
                return True
            owed, self._owed = self._owed, set()
            paid: bool | None = None
            try:
                paid = await self._cleared(owed)
            finally:
                if not paid:
                    for prefix in owed:
                        self.owe(prefix, most=MOST_CLEARS)
            if paid is None:
                return False
        return not self._owed

    async def _cleared(self, prefixes: set[str]) -> bool | None:
        """Add the clears to the state item; False when another process did so at the same time, None for no answer."""
        if (seen := await self.server.ask(protocol.look(self._state), 1)) is NO_ANSWER:
            return None
        _, rest, raw = seen[0]
        condition = b" ME" if raw is None else b" C" + rest.partition(b" c")[2]
        current = Generations.parse(raw) if raw is not None else None
        generations = current.cleared(prefixes) if current else Generations.first()
        stored = await self.server.ask(protocol.store(self._state, generations.raw, condition=condition), 1)
        if stored is NO_ANSWER or stored[0][0] == b"SERVER_ERROR":
            return None
        if stored[0][0] != b"HD":
            return False
        self._generations = generations
        return True
