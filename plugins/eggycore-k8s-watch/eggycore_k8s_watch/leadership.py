"""`Leadership` by a Lease: takes the steps of the election, and lets services in and out of terms."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

from eggycore import log
from eggycore.diagnostics import diagnose
from eggycore.errors import Degraded, EggycoreError, NotLeader
from eggycore.types import Control, Leadership, Term
from eggycore_k8s_watch.election import Election, Read, Rest, Step, Write
from eggycore_k8s_watch.errors import ApiError, ApiRefused, Conflict, Forbidden, NotFound
from eggycore_k8s_watch.leases import LeaseStore
from eggycore_k8s_watch.terms import LeaseTerm

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from eggycore.metrics import Registry

__all__ = ["LeaseLeadership"]

RELEASE_TIMEOUT = 2.0
"""Seconds that giving the Lease up may take; after that it is left to expire."""

RELEASE_STEPS = 6
"""Requests for it: three times looking and writing, where something comes in between."""

DENIED_WAIT = 5.0
"""Seconds between two requests that no Role allows."""

BRIEF = 10.0
"""Seconds for which the API server may be away without a word: it is restarted, and nothing is lost by it."""

IDLE = 60.0
"""Seconds after which leadership that nobody uses is given up, so that another replica does what this one does not."""

FOREIGN = 4
"""A Lease whose holder promises to keep it for so many times our duration is worth a word."""


class LeaseLeadership(Leadership):
    """Contends for a Lease from the moment on that somebody asks who leads. Used on one event loop.

    Once nobody works or waits in `lead()` any more, as when the only leader-only service has crashed for good, it gives
    the Lease up until somebody asks again. Where `is_leader` or `token` is read outside of a term it never does.

    `is_leader` and `token` may be read from any thread.

    Args:
        open_store: Opens the way to the Lease.
        election: What decides.
        metrics: Where it is measured.
    """

    def __init__(
        self,
        open_store: Callable[[], AbstractAsyncContextManager[LeaseStore]],
        election: Election,
        *,
        metrics: Registry,
    ) -> None:
        self._open_store = open_store
        self._election = election
        self._store: LeaseStore | None = None
        self._open = AsyncExitStack()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked = asyncio.Event()
        self._wake = asyncio.Event()
        self._begun = asyncio.Event()
        self._inside = 0
        self._users = 0
        self._used_at = math.inf
        self._is_read = False
        self._is_leaving = False
        self._trouble: Exception | None = None
        self._trouble_since = 0.0
        self._said: LeaseTerm | None = None
        self._transitions = metrics.counter(
            "leadership_transitions_total", "How often this process began to lead, or ceased to."
        )
        metrics.gauge("leadership_is_leader", "Whether this process leads: 1, else 0.", callback=lambda: election.leads)
        metrics.gauge("leadership_token", "The token of its term, 0 when it does not lead.", callback=self._shown_token)

    # --- what apps use

    @property
    def identity(self) -> str:
        """The name of this process in the Lease."""
        return self._election.identity

    @property
    def is_leader(self) -> bool:
        """Whether this process leads now, by the clock; contends from the first question on."""
        self._read()
        return self._election.leads

    @property
    def token(self) -> int:
        """The token of the term that lasts: the resourceVersion of the write by which it began.

        Raises:
            NotLeader: This process does not lead.
        """
        self._read()
        term = self._election.term
        if term is None or not term.lasts():
            raise NotLeader
        return term.token

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[Term]:
        """Wait until this process leads; inside the block it does."""
        self._users += 1
        self._ask()
        try:
            term = await self._next_term()
            self._inside += 1
            try:
                yield term
            finally:
                self._inside -= 1
                self._wake.set()
        finally:
            self._users -= 1
            self._used_at = self._election.clock()

    async def _next_term(self) -> LeaseTerm:
        while True:
            term = self._election.term
            if term is not None and term.lasts() and not term.over.is_set():
                return term
            self._begun.clear()
            await self._begun.wait()

    def _read(self) -> None:
        self._is_read |= not self._inside  # who reads it outside of a term decides by it, and may do so again
        self._ask()

    def _ask(self) -> None:
        if not self._asked.is_set() and self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody contends any more
                self._loop.call_soon_threadsafe(self._asked.set)

    # --- what the plugin uses

    @asynccontextmanager
    async def opened(self, *, wanted: bool) -> AsyncIterator[LeaseLeadership]:
        """Open it for the length of the block.

        Args:
            wanted: Somebody is known to ask who leads: the API server has to have answered, and it contends from the
                start.

        Raises:
            ApiError: The API server does not answer, or does not let this process do what it has to.
        """
        self._loop = asyncio.get_running_loop()
        async with AsyncExitStack() as self._open:
            self._store = None
            if wanted:
                store = await self._opened_store()
                self._election.saw(await store.read(timeout=self._election.duration))
                self._asked.set()
            yield self

    async def run(self, control: Control) -> None:
        """Contend while the process runs, as a service; at the drain, give the Lease up once nobody works in it."""
        control.started()
        watching = asyncio.create_task(self._leave_at(control), name="eggycore leadership drain")
        try:
            while not self._is_leaving:
                await self._asked_or_done(watching)
                if self._asked.is_set():
                    await self._contend()
            await control.stopping.wait()
        finally:
            if (term := self._election.term) is not None:
                term.lose("nothing renews the Lease any more")
            watching.cancel()
            await asyncio.wait({watching})

    async def _asked_or_done(self, watching: asyncio.Task[None]) -> None:
        asked = asyncio.create_task(self._asked.wait(), name="eggycore leadership question")
        try:
            await asyncio.wait({asked, watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
            await asyncio.wait({asked})

    async def check(self) -> None:
        """The health check.

        Raises:
            Degraded: The API server does not let it contend.
        """
        trouble, seconds = self._trouble, self._election.clock() - self._trouble_since
        if trouble is not None and (seconds >= BRIEF or not isinstance(trouble, ApiError)):
            raise Degraded(f"the Lease cannot be renewed or watched for {seconds:.0f} s: {trouble}")
        seen = self._election.seen
        if seen is not None and not self._election.holds and seen.seconds > FOREIGN * self._election.duration:
            raise Degraded(f"{seen.holder or 'nobody'} holds the Lease, by its own word for {seen.seconds} s at a time")

    # --- how it contends

    async def _leave_at(self, control: Control) -> None:
        ends = {asyncio.create_task(event.wait()) for event in (control.draining, control.stopping)}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        self._is_leaving = True
        if (term := self._election.term) is not None:
            term.wind_up("the process stops")
        self._wake.set()

    async def _contend(self) -> None:
        election = self._election
        while not (self._is_leaving and self._may_go()) and not self._is_idle():
            self._hold_off()
            step = election.step()
            self._say()
            await self._take(step)
        if not self._is_leaving:
            self._contend_no_more()
        await self._give_up()
        self._say()

    def _is_idle(self) -> bool:
        """Whether nobody here works as the leader any more, wants to, or asks who it is."""
        return not self._users and not self._is_read and self._election.clock() - self._used_at >= IDLE

    def _contend_no_more(self) -> None:
        log.warn(
            "leadership is left to other replicas: nothing in this process uses it",
            identity=self.identity,
            action="Look why the leader-only service has ended, and restart the process once that is mended.",
        )
        self._trouble = None
        self._asked.clear()
        if self._is_read:  # another thread has asked at this moment
            self._asked.set()

    def _hold_off(self) -> None:
        """No term begins in a process that leaves, or while somebody works in the last one."""
        term = self._election.term
        is_over = term is not None and (term.over.is_set() or not term.lasts())
        self._election.is_held_off = self._is_leaving or (is_over and self._inside > 0)

    def _may_go(self) -> bool:
        """Whether nobody works in a term any more, or the term is so over that it makes no difference."""
        return self._inside == 0 or not self._election.leads

    async def _take(self, step: Step) -> None:
        if isinstance(step, Rest):
            self._wake.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), step.seconds)
            return
        clock, election = self._election.clock, self._election
        sent_at = clock()
        try:
            store = await self._opened_store()
            if isinstance(step, Read):
                found = await store.read(timeout=step.timeout)
                self._hold_off()  # the process may have been stopped meanwhile
                election.saw(found)
            else:
                kept = await store.write(step.lease, timeout=step.timeout)
                self._hold_off()
                election.wrote(kept, sent_at)
        except (Conflict, NotFound) as refusal:
            assert isinstance(step, Write)
            if isinstance(refusal, NotFound) and not step.lease.version:
                election.failed(step, sent_at, wait=DENIED_WAIT)  # there is no such namespace
                self._note(refusal)
            else:
                election.refused(step, sent_at)
        except EggycoreError as error:  # all that can be wrong with the way there; some of it mends itself
            wait = (error.retry_after or 0.0) if isinstance(error, ApiRefused) else 0.0
            election.failed(step, sent_at, wait=DENIED_WAIT if isinstance(error, Forbidden) else wait)
            self._note(error)
        else:
            if isinstance(step, Write) or not self._waits_for_a_write():
                self._note(None)

    def _waits_for_a_write(self) -> bool:
        """Whether what is in the way is in the way of a write only, which reading the Lease does not end."""
        refusal, seen = self._trouble, self._election.seen
        held_by_other = seen is not None and bool(seen.holder) and not self._election.holds
        return isinstance(refusal, ApiRefused) and refusal.verb != "get" and not held_by_other

    async def _give_up(self) -> None:
        """Give the Lease up, so that a standby need not wait until it expires."""
        if self._inside:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(RELEASE_TIMEOUT):
                for _ in range(RELEASE_STEPS):
                    if (step := self._election.release()) is None:
                        return
                    await self._take(step)

    async def _opened_store(self) -> LeaseStore:
        if self._store is None:
            self._store = await self._open.enter_async_context(self._open_store())
        return self._store

    # --- what it says

    def _note(self, trouble: Exception | None) -> None:
        before, self._trouble = self._trouble, trouble
        if trouble is None:
            if before is not None:
                log.info("the Lease is renewed and watched again")
            return
        if before is None:
            self._trouble_since = self._election.clock()
        if type(before) is not type(trouble):
            told = diagnose(trouble)
            log.warn(
                "the Lease cannot be renewed or watched", reason=told.description, cause=told.cause, action=told.action
            )

    def _say(self) -> None:
        """Say that leading has begun or ended, and let in who waits. The field is no `token`: those are masked."""
        term = self._election.term
        said = self._said
        if said is not None and (term is not said or not said.lasts()):
            say = log.info if self._is_leaving else log.warn
            say("no longer leading", term=said.token, identity=self.identity, reason=said.reason)
            self._transitions.inc()
            self._said = None
        if term is not None and term.lasts() and term is not self._said:
            log.info("leading", term=term.token, identity=self.identity)
            self._transitions.inc()
            self._said = term
            self._begun.set()

    def _shown_token(self) -> float:
        term = self._election.term
        return float(term.token) if term is not None and term.lasts() else 0.0
