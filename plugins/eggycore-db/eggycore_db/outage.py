"""Whether a pool's server can be reached, and when connecting is tried again."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from eggycore import log
from eggycore.diagnostics import diagnose
from eggycore_db.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from eggycore_db.pool import Pool

__all__ = ["Outage"]

BACKOFF, BACKOFF_MAX = 0.2, 5.0
"""Seconds: bounds of the delay, doubled each time with full jitter, after a connection could not be made."""

SAY_AFTER = 3
"""Failures in a row before a warning that no connection can be added to those that are open."""

SAY_EVERY = 60.0
"""Seconds between such warnings."""


class Outage:
    """The outages of one pool's server. For the event loop only, but for what it shows.

    Args:
        pool: The pool.

    Attributes:
        error: Why the server cannot be reached now; None while it can, or nobody knows otherwise.
        failures: How many attempts to connect have failed in a row.
        retry_at: When the next connection may be tried, on `time.monotonic`.
    """

    def __init__(self, pool: Pool) -> None:
        self.error: DatabaseUnavailable | None = None
        self.failures = 0
        self.retry_at = 0.0
        self._pool = pool
        self._since = 0.0
        self._was_up = False  # before that, who opens it says why it cannot be used
        self._said_at = -SAY_EVERY
        self._retry: asyncio.Handle | None = None

    def connected(self) -> None:
        """A connection could be made."""
        self.failures = 0
        self.retry_at = 0.0
        if self.error is not None and self._was_up and not self._pool.is_closed:
            seconds = round(time.monotonic() - self._since, 3)
            log.info("the database can be used again", location=self._pool.engine.location, seconds=seconds)
        was_down, self.error = self.error is not None, None
        self._was_up = True
        if was_down and self._pool.changed is not None:
            self._pool.changed()

    def not_connected(self, error: BaseException) -> None:
        """A connection could not be made."""
        if self._pool.is_closed:
            return
        self.failures += 1
        delay = random.uniform(0, min(BACKOFF_MAX, BACKOFF * 2 ** min(self.failures, 10)))  # jitter
        self.retry_at = time.monotonic() + delay
        with self._pool.lock:
            alive = sum(worker.broken is None for worker in self._pool.workers) - self._pool.starting
        if alive > 0 and self.error is None:
            self._say_no_more(error)
            return
        if isinstance(error, DatabaseUnavailable):
            self.begin(error)
        else:
            self._pool.refuse_all(error)

    def _say_no_more(self, error: BaseException) -> None:
        now = time.monotonic()
        if self.failures >= SAY_AFTER and now - self._said_at >= SAY_EVERY:
            self._said_at = now
            reason = diagnose(error).cause or type(error).__name__
            log.warn("no more connections to the database, those that are open go on", reason=reason)

    def begin(self, error: DatabaseUnavailable) -> None:
        """Nothing can be done from now on: refuse what waits, and try to connect in the background."""
        was_up, self.error = self.error is None, error
        if was_up:
            self._since = time.monotonic()
            if self._was_up and not self._pool.is_closed:
                location, reason = self._pool.engine.location, diagnose(error).cause
                log.warn("the database cannot be used, work is refused", location=location, reason=reason)
        if was_up and self._pool.changed is not None:
            self._pool.changed()
        self._pool.refuse_all(error)
        if self._retry is not None:
            self._retry.cancel()
        self._retry = self._pool.mail.loop.call_later(max(0.0, self.retry_at - time.monotonic()), self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        if self.error is not None and not self._pool.is_closed and not self._pool.starting:
            self._pool.start_worker()

    def try_now(self) -> None:
        """Connect without delay, as the reason why that failed may be gone."""
        self.failures, self.retry_at = 0, 0.0
        if self._retry is not None:
            self._retry.cancel()
            self._retry = self._pool.mail.loop.call_soon(self._try_again)

    def close(self) -> None:
        """Try no more."""
        if self._retry is not None:
            self._retry.cancel()
