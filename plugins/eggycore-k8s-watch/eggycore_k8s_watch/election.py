"""One contender for a Lease: what it has to do next, and whether it leads. Does nothing itself, and asks no network.

It follows client-go's leader election, and goes beyond it where that may have two leaders for a moment:

- A term is believed for two thirds of the Lease's duration from the moment BEFORE the last successful renewal was
  sent, by a local clock. Others wait the whole duration from the moment AFTER they first saw that renewal.
- Times that are written in the Lease are compared with nothing. A record counts as changed when its resourceVersion is.
- A write whose answer was lost may have been carried out, or be on its way: the Lease is read before the next one, and
  a record counts as one's own by what was written, not by the name in it.
- A Lease that was not there says nothing about who led the moment before: whoever makes it waits a whole duration
  before it leads. One that was emptied by hand is waited for like one that is held.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from eggycore_k8s_watch.leases import Lease
from eggycore_k8s_watch.terms import LeaseTerm, boot_clock

__all__ = ["Election", "Read", "Rest", "Step", "Write"]

POLL = 1.0
"""Seconds at most between two looks of a standby, so that one takes over within a second of a release."""

PATIENCE = 5.0
"""Seconds at most that one request may take."""


@dataclass(frozen=True)
class Rest:
    """Do nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Read:
    """Read the Lease; give up after so many seconds."""

    timeout: float


@dataclass(frozen=True)
class Write:
    """Write this Lease, which is made anew when it has no version; give up after so many seconds."""

    lease: Lease
    timeout: float


Step: TypeAlias = Rest | Read | Write


class Election:
    """One contender. Ask for the `step`, take it, and tell what came of it: `saw`, `wrote`, `refused` or `failed`.

    Args:
        identity: A name that no other process has or will have.
        duration: The Lease's, in seconds, at least 2.
        clock: Seconds on a clock that never goes back, and that counts on while the process is stopped.
        wall: The time of day, written for people.
        rng: For jitter.
    """

    def __init__(
        self,
        identity: str,
        *,
        duration: float,
        clock: Callable[[], float] = boot_clock,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        rng: random.Random | None = None,
    ) -> None:
        self.identity = identity
        self.duration = duration
        self.term: LeaseTerm | None = None
        """The term that began last; it may be over."""
        self.is_held_off = False
        """Somebody still works in a term that is over: no other begins, and the Lease is left to expire."""
        self.clock = clock
        self._wall = wall
        self._rng = rng or random.Random()
        self._seen: Lease | None = None
        self._seen_at = -math.inf
        self._must_look = True
        self._wait_until = -math.inf
        self._look_at = -math.inf
        self._sent: dict[str, float] = {}
        """What may stand in the Lease because of us, and the moment before it was sent, by its `renewed`."""
        self._confirmed = ""
        self._renewed_at = -math.inf
        self._renew_at = -math.inf
        self._not_before = -math.inf
        self._last_promise = self._promise_before = math.ceil(duration)
        self._refusals = 0
        self._stamp = datetime.min.replace(tzinfo=UTC)

    @property
    def seen(self) -> Lease | None:
        """The Lease as it was seen last, None when there was none."""
        return self._seen

    @property
    def has_looked(self) -> bool:
        """Whether it has been told of the Lease, and nothing has failed or changed since."""
        return not self._must_look

    @property
    def holds(self) -> bool:
        """Whether the Lease was this process's own when it was seen last."""
        return self._seen is not None and self._is_own(self._seen)

    @property
    def leads(self) -> bool:
        """Whether it leads now; from any thread."""
        term = self.term
        return term is not None and term.lasts()

    # --- what to do

    def step(self) -> Step:
        """What to do now. Ends the term when it has not been renewed in time."""
        now = self.clock()
        term = self.term if self._look_after_term() else None
        if now < self._wait_until:
            return self._rest(self._wait_until)
        if self._must_look:
            return Read(self._patience())
        if self.holds:
            return self._step_of_holder(now, term)
        if self.is_held_off:
            return self._rest(now + POLL)
        if self._seen is None:
            return Write(self._claim(Lease()), self._patience())
        if self._seen.is_released or now >= self._free_at:
            return Write(self._claim(self._seen), self._patience())
        return self._rest(min(self._look_at, self._free_at)) if now < self._look_at else Read(self._patience())

    def _step_of_holder(self, now: float, term: LeaseTerm | None) -> Step:
        assert self._seen is not None
        if term is None and self.is_held_off:
            return self._rest(now + POLL)
        begin_at = math.inf if term is not None else self._not_before
        if now < (due := min(self._renew_at, max(begin_at, self._renewed_at))):
            return self._rest(due)
        return Write(self._claim(self._seen), self._patience())

    def release(self) -> Step | None:
        """What to do to give the Lease up when nobody works in the term any more, which ends; None: nothing more."""
        self.is_held_off = True
        if self.term is not None:
            self.term.lose("it was given up")
        if self._must_look and (self._sent or self.holds):
            return Read(self._patience())
        if self._seen is None or not self.holds or self.clock() < self._not_before:
            return None  # what is held without having led is left to expire: another may still lead
        return Write(self._seen.released(renewed=self._next_stamp()), self._patience())

    # --- what came of it

    def saw(self, lease: Lease | None) -> None:
        """The Lease was read."""
        has_appeared = self._note(lease)
        if lease is None:
            return
        if not self._is_own(lease):
            self._refusals = 0
            self._lose(f"the Lease is held by {lease.holder}" if lease.holder else "the Lease was emptied")
        elif lease.renewed != self._confirmed:  # a write whose answer was lost has been carried out
            self._confirm(lease, self._sent[lease.renewed], has_appeared=has_appeared)

    def wrote(self, lease: Lease, sent_at: float) -> None:
        """A write succeeded.

        Args:
            lease: The Lease as it is kept now.
            sent_at: The moment on the clock before it was sent.
        """
        has_appeared = self._note(lease)
        self._refusals = 0
        if lease.holder:
            self._confirm(lease, sent_at, has_appeared=has_appeared)
        else:
            self._confirmed = ""
            self._sent.clear()

    def refused(self, step: Write, sent_at: float) -> None:
        """A write was refused because the Lease has changed, appeared or gone: it has to be read."""
        self._must_look = True
        self._refusals += 1
        self._wait_until = self.clock() + self._rng.uniform(0.0, min(0.05 * 2**self._refusals, POLL))
        self._doubt(step, sent_at)  # a client that sends once more may be refused because of its own first try

    def failed(self, step: Step, sent_at: float, *, wait: float = 0.0) -> None:
        """A request failed. A write may have been carried out all the same, or be on its way still.

        Args:
            step: The request.
            sent_at: The moment on the clock before it was sent.
            wait: Seconds that the server wants to be left alone.
        """
        now = self.clock()
        self._must_look = True
        if isinstance(step, Write):
            self._doubt(step, sent_at)
        if (term := self.term) is not None and term.lasts():
            wait = min(wait, (term.until - now) / 2)
            pause = self._jittered(max(self.duration / 20, 0.3))
        else:
            pause = self._jittered(POLL)
        self._wait_until = now + max(pause, wait)

    # --- how it knows

    def _is_own(self, lease: Lease) -> bool:
        """Whether this process has written it. Its name alone says nothing: anybody can write that into the Lease."""
        known = lease.renewed == self._confirmed or lease.renewed in self._sent
        return lease.holder == self.identity and bool(lease.renewed) and known

    @property
    def _free_at(self) -> float:
        """The moment from which a Lease that is not renewed may be taken; its holder's promise counts, not ours."""
        return self._seen_at + self._last_promise

    def _note(self, lease: Lease | None) -> bool:
        """The Lease is this, or is not there; whether it was not there before."""
        now = self.clock()
        self._must_look = False
        self._look_at = now + self._jittered(min(POLL, self.duration / 5))
        has_appeared = self._seen is None
        self._promise_before = self._last_promise
        if lease is None or self._seen is None or lease.version != self._seen.version:
            self._seen, self._seen_at = lease, now
        if lease is not None and not lease.is_released:
            self._last_promise = lease.seconds or math.ceil(self.duration)
        return has_appeared

    def _doubt(self, step: Write, sent_at: float) -> None:
        if step.lease.holder:
            self._sent.setdefault(step.lease.renewed, sent_at)

    def _confirm(self, lease: Lease, sent_at: float, *, has_appeared: bool) -> None:
        """The Lease is ours by a write that was sent after this moment."""
        now = self.clock()
        if has_appeared and not self.leads:
            self._not_before = now + max(self._promise_before, math.ceil(self.duration))
        self._confirmed = lease.renewed
        self._sent.clear()  # what is on its way with an older resourceVersion is refused from now on
        self._renewed_at = sent_at
        self._renew_at = sent_at + self._jittered(self.duration / 5)
        if self._look_after_term():
            assert self.term is not None
            self.term.renew(sent_at)
        elif now >= self._not_before and not self.is_held_off:
            term = LeaseTerm(int(lease.version), renewed_at=sent_at, duration=self.duration, clock=self.clock)
            if term.lasts():
                self.term = term

    def _look_after_term(self) -> bool:
        """Whether the term goes on; one that was not renewed in time ends here, and never begins again."""
        if self.term is None:
            return False
        if not self.term.lasts():
            self.term.lose("the Lease could not be renewed in time")
            return False
        return True

    def _lose(self, reason: str) -> None:
        self._confirmed = ""
        if self.term is not None:
            self.term.lose(reason)

    def _claim(self, lease: Lease) -> Lease:
        """The Lease as this process's own, renewed now."""
        stamp = self._next_stamp()
        seconds = math.ceil(self.duration)
        if lease.version and self._is_own(lease):
            return replace(lease, renewed=stamp, seconds=seconds)
        transitions = lease.transitions + 1 if lease.version else 0
        return replace(
            lease, holder=self.identity, seconds=seconds, transitions=transitions, acquired=stamp, renewed=stamp
        )

    def _next_stamp(self) -> str:
        """The wall clock's time in microseconds, but never the same twice, however that clock is set."""
        self._stamp = max(self._wall().astimezone(UTC), self._stamp + timedelta(microseconds=1))
        return f"{self._stamp:%Y-%m-%dT%H:%M:%S.%f}Z"

    def _patience(self) -> float:
        """Seconds that a request may take: a few of them fit into what is left of the term."""
        if (term := self.term) is not None and term.lasts():
            return max(0.05, min(max(self.duration / 5, 0.5), PATIENCE, term.until - self.clock()))
        return min(max(self.duration / 3, 0.5), PATIENCE)

    def _rest(self, until: float) -> Rest:
        """Rest until this moment, or until the term has to be looked after."""
        if (term := self.term) is not None and term.lasts():
            until = min(until, term.until)
        return Rest(max(0.0, until - self.clock()))

    def _jittered(self, seconds: float) -> float:
        return seconds * self._rng.uniform(0.6, 1.0)
