"""What callers get when a server does not answer: counted, and an error for those who asked for one."""

from __future__ import annotations

from typing import TypeVar

from eggycore_cache.backend import NO_ANSWER, NoAnswer, Reply
from eggycore_cache.errors import CacheDown
from eggycore_cache.instruments import Instruments

__all__ = ["Outcomes"]

T = TypeVar("T")


class Outcomes:
    """Turns replies of a backend into what its callers get.

    Args:
        instruments: Where they are counted.
        strict: Whether no answer is an error for calls that do not say it themselves.
    """

    def __init__(self, instruments: Instruments, *, strict: bool) -> None:
        self._hit = instruments.hit
        self._miss = instruments.miss
        self._error = instruments.error
        self._strict = strict

    def counted(self, reply: Reply, strict: bool | None) -> bytes | None:
        """The value; None for a miss, and for no answer.

        Raises:
            CacheDown: There was no answer, and that is to be an error.
        """
        if reply is None:
            self._miss()
            return None
        if reply is NO_ANSWER:
            self._not_answered(strict)
            return None
        self._hit()
        return reply

    def answered(self, reply: T | NoAnswer, strict: bool | None, otherwise: T) -> T:
        """The answer, or what stands for none.

        Raises:
            CacheDown: There was none, and that is to be an error.
        """
        if isinstance(reply, NoAnswer):
            self._not_answered(strict)
            return otherwise
        return reply

    def told(self, outcome: bool, *, failed: bool, strict: bool | None) -> bool:
        """The outcome of a change that a server may have failed to confirm.

        Raises:
            CacheDown: It failed, and that is to be an error.
        """
        if failed:
            self._not_answered(strict)
        return outcome

    def _not_answered(self, strict: bool | None) -> None:
        self._error()
        if self._strict if strict is None else strict:
            raise CacheDown(reason="no answer in time, or not asked because it has just failed several times")
