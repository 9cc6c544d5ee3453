"""What is asked about one key: the command, and what its answer means under the generations of that moment."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import ClassVar, Generic, NamedTuple, TypeVar

from eggycore_cache import memcached_protocol as protocol
from eggycore_cache.backend import NO_ANSWER, NoAnswer, Reply
from eggycore_cache.memcached_generations import Generations
from eggycore_cache.memcached_protocol import Answer

__all__ = ["Count", "Delete", "Exists", "Get", "Look", "Request", "Seen", "Store", "Stored", "Touch"]

Outcome = TypeVar("Outcome")

LARGEST_NUMBER = (1 << 64) - 1
"""What Memcached counts to."""

LONGEST_NUMBER = 20
"""Its digits."""


class Stored(Enum):
    """What became of a value that was to be kept."""

    YES = "stored"
    NO = "the condition did not hold"
    OUTDATED = "stored, and cleared by a clear that its writer did not know of"
    TOO_LARGE = "larger than the server takes"


class Seen(NamedTuple):
    """A key as `Look` saw it.

    Args:
        value: Its value, None when there is none that is valid.
        token: For `Store`: the condition that this has not changed since.
        is_number: Whether it can be counted.
    """

    value: bytes | None
    token: bytes
    is_number: bool


class Request(Generic[Outcome]):
    """One question and its answer. Subclasses say what is sent and what comes back.

    Args:
        key: The key as the caller knows it.
        wire: What it is called on the server.
    """

    __slots__ = ("future", "key", "wire")

    expected: ClassVar[int] = 1
    """Answers."""

    writes: ClassVar[bool] = False
    """Whether the order matters in which it is carried out."""

    changes: ClassVar[bool] = False
    """Whether an older value may live on when it is not known to have been done."""

    def __init__(self, key: str, wire: bytes) -> None:
        self.key = key
        self.wire = wire
        self.future: asyncio.Future[Outcome | NoAnswer] = asyncio.get_running_loop().create_future()

    def encode(self, newest: int) -> bytes:
        """The command. `newest` is the generation that a new value gets."""
        raise NotImplementedError

    def read(self, answers: list[Answer], at: int, generations: Generations | None) -> Outcome | NoAnswer:
        """What the answers from `at` on mean; nothing is valid without generations."""
        raise NotImplementedError

    def finish(self, outcome: Outcome | NoAnswer) -> None:
        """Tell the caller, unless they gave up."""
        if not self.future.done():
            self.future.set_result(outcome)


class Get(Request[bytes | None]):
    """The value."""

    __slots__ = ()

    def encode(self, newest: int) -> bytes:
        return b"mg %b f v\r\n" % self.wire

    def read(self, answers: list[Answer], at: int, generations: Generations | None) -> Reply:
        code, rest, value = answers[at]
        if value is None:
            return None if code == b"EN" else NO_ANSWER
        flags = int(rest[1:])
        if generations is None or not generations.holds(flags >> 1, self.key):
            return None
        return value.rstrip(b" ") if flags & 1 else value


class Look(Request[Seen]):
    """The value and what it takes to replace just that."""

    __slots__ = ()

    def encode(self, newest: int) -> bytes:
        return protocol.look(self.wire)

    def read(self, answers: list[Answer], at: int, generations: Generations | None) -> Seen | NoAnswer:
        code, rest, value = answers[at]
        if value is None:
            return Seen(None, b" ME", False) if code == b"EN" else NO_ANSWER
        flags, _, token = rest.partition(b" c")
        valid, is_number = _read_flags(flags, self.key, generations)
        return Seen(value if valid else None, b" C" + token, is_number and int(value) <= LARGEST_NUMBER)


class Store(Request[Stored]):
    """Keep a value.

    Args:
        key: The key as the caller knows it.
        wire: What it is called on the server.
        value: The value.
        expiry: When it ends, as the protocol has it.
        condition: As the protocol has it.
    """

    __slots__ = ("condition", "expiry", "generation", "value")

    writes = True
    changes = True

    def __init__(self, key: str, wire: bytes, value: bytes, expiry: bytes, condition: bytes = b"") -> None:
        super().__init__(key, wire)
        self.value = value
        self.expiry = expiry
        self.condition = condition
        self.generation = 0

    def encode(self, newest: int) -> bytes:
        self.generation = newest
        # Memcached leaves spaces behind a number that loses a digit: values that it may count are marked as numbers.
        flags = newest << 1 | (len(self.value) <= LONGEST_NUMBER and self.value.isdigit())
        return protocol.store(self.wire, self.value, flags=flags, expiry=self.expiry, condition=self.condition)

    def read(self, answers: list[Answer], at: int, generations: Generations | None) -> Stored | NoAnswer:
        code, rest, _ = answers[at]
        if code == b"HD":
            holds = generations is not None and generations.holds(self.generation, self.key)
            return Stored.YES if holds else Stored.OUTDATED
        if code in (b"NS", b"EX", b"NF"):
            return Stored.NO
        return Stored.TOO_LARGE if rest.startswith(b"object too large") else NO_ANSWER


class Count(Request[int | None]):
    """Add to a number that is there; None when there is none any more.

    Args:
        key: The key as the caller knows it.
        wire: What it is called on the server.
        amount: What to add.
    """

    __slots__ = ("amount",)

    writes = True

    def __init__(self, key: str, wire: bytes, amount: int) -> None:
        super().__init__(key, wire)
        self.amount = amount

    def encode(self, newest: int) -> bytes:
        return protocol.count(self.wire, self.amount)

    def read(self, answers: list[Answer], at: int, generations: Generations | None) -> int | NoAnswer | None:
        code, _, value = answers[at]
        if value is not None:
            return int(value)
        return None if code in (b"NF", b"CLIENT_ERROR") else NO_ANSWER


class _AboutFlags(Request[bool]):
    """Whether there is a valid value, from an answer that carries its flags and not the value."""

    __slots__ = ()

    def read(self, answers: list[Answer], at: int, generations: Generations | None) -> bool | NoAnswer:
        code, rest, _ = answers[at]
        if code == b"HD":
            return _read_flags(rest, self.key, generations)[0]
        return False if code == b"EN" else NO_ANSWER


class Exists(_AboutFlags):
    """Whether there is a value."""

    __slots__ = ()

    def encode(self, newest: int) -> bytes:
        return protocol.exists(self.wire)


class Touch(_AboutFlags):
    """Give a value another end; whether there is one."""

    __slots__ = ("expiry",)

    writes = True

    def __init__(self, key: str, wire: bytes, expiry: bytes) -> None:
        super().__init__(key, wire)
        self.expiry = expiry

    def encode(self, newest: int) -> bytes:
        return protocol.touch(self.wire, self.expiry)


class Delete(_AboutFlags):
    """Forget a value; whether there was one."""

    __slots__ = ()

    expected = 2
    writes = True
    changes = True

    def encode(self, newest: int) -> bytes:
        return protocol.exists(self.wire) + protocol.delete(self.wire)

    def read(self, answers: list[Answer], at: int, generations: Generations | None) -> bool | NoAnswer:
        if answers[at + 1][0] not in (b"HD", b"NF"):
            return NO_ANSWER
        return super().read(answers, at, generations)


def _read_flags(text: bytes, key: str, generations: Generations | None) -> tuple[bool, bool]:
    """Whether the value is valid, and whether it is a number, from b"f<flags>"."""
    flags = int(text[1:])
    return generations is not None and generations.holds(flags >> 1, key), bool(flags & 1)
