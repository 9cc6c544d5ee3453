"""One connection to a Memcached server: what goes out in one write, and the answers in the order of the questions."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from eggycore_cache.memcached_protocol import Answer, Garbled, Parser

__all__ = ["Batch", "Connection"]

CLOSED = "closed the connection"


@dataclass(eq=False, slots=True)
class Batch:
    """Commands that go out in one write.

    Args:
        payload: Their bytes.
        expected: How many answers they get.
        deadline: By when, in the loop's time.
        done: Called with all the answers. May raise ValueError when they make no sense.
        on_lost: Called once when nobody waits for the answers any more; `done` may be called all the same later.
        writes: Whether it changes something.
    """

    payload: bytes
    expected: int
    deadline: float
    done: Callable[[list[Answer]], None]
    on_lost: Callable[[], None]
    writes: bool = False
    answers: list[Answer] = field(default_factory=list)
    is_lost: bool = False

    def lose(self) -> None:
        """Wait for its answers no longer."""
        if not self.is_lost:
            self.is_lost = True
            self.on_lost()


class Connection(asyncio.Protocol):
    """Sends batches without waiting for the answers to those before.

    Nobody takes a batch back once it is sent: a caller who gives up leaves its place in the line, so that the answers
    of the others stay theirs.

    Args:
        answered: Called after every batch that was answered.
        ended: Called once when it is over, with the reason and whether answers were outstanding.
    """

    def __init__(self, answered: Callable[[], None], ended: Callable[[Connection, str, bool], None]) -> None:
        self._answered = answered
        self._ended = ended
        self._transport: asyncio.Transport | None = None
        self._parser = Parser()
        self._sent: deque[Batch] = deque()
        self._reason = CLOSED
        self._over = asyncio.get_running_loop().create_future()
        self.item_limit: int | None = None
        """Bytes that the server takes for one item, when it has said so."""
        self.writing = 0
        """Batches that change something and are not answered yet."""

    @property
    def sent(self) -> deque[Batch]:
        """The batches that wait for answers, the oldest first."""
        return self._sent

    def send(self, batch: Batch) -> None:
        """Write a batch, or lose it when the connection is over."""
        if self._transport is None or self._transport.is_closing():
            batch.lose()
            return
        self._sent.append(batch)
        self.writing += batch.writes
        self._transport.write(batch.payload)

    @property
    def is_over(self) -> bool:
        """Whether its socket is closed."""
        return self._over.done()

    def drop(self, reason: str) -> None:
        """End it now; batches without answers are lost."""
        if self._transport is not None and not self._transport.is_closing():
            self._reason = reason
            self._transport.abort()
        self._end()

    async def over(self) -> None:
        """Return when its socket is closed."""
        await asyncio.shield(self._over)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio.Protocol: it is there."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without being a subclass

    def data_received(self, data: bytes) -> None:
        """asyncio.Protocol: hand answers to those who wait, the oldest first."""
        try:
            answers = self._parser.feed(data)
            while answers:
                answers = self._deliver(answers)
        except Garbled as garbled:
            self.drop(str(garbled))
        except ValueError:
            self.drop("does not answer as Memcached does")

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio.Protocol: the socket is closed."""
        self._end()
        if not self._over.done():
            self._over.set_result(None)

    def _deliver(self, answers: list[Answer]) -> list[Answer]:
        """Give the oldest batch what it waits for; what is left is for the next."""
        if not self._sent:
            raise Garbled("said something that nobody asked for")
        batch = self._sent[0]
        missing = batch.expected - len(batch.answers)
        batch.answers += answers[:missing]
        if len(batch.answers) == batch.expected:
            batch.done(batch.answers)  # in line until it is done, so that it is lost and not forgotten if that raises
            self._sent.popleft()
            self.writing -= batch.writes
            self._answered()
        return answers[missing:]

    def _end(self) -> None:
        if self._transport is None:
            return
        self._transport = None
        lost, self._sent = self._sent, deque()
        self._ended(self, self._reason, bool(lost))
        for batch in lost:
            batch.lose()
