"""A world in which elections contend without a clock or a network of their own: both do what a test wants."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from eggycore_k8s_watch.election import Election, Read, Rest, Step, Write
from eggycore_k8s_watch.leases import Lease
from eggycore_k8s_watch.terms import LeaseTerm

DURATION = 15.0
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Contender:
    """A process with a clock of its own that contends."""

    def __init__(self, world: World, name: str, *, offset: float, rate: float, wall_skew: float) -> None:
        self.world = world
        self.name = name
        self.offset, self.rate, self.wall_skew = offset, rate, wall_skew
        self.election = Election(
            name, duration=DURATION, clock=self.clock, wall=self.wall, rng=random.Random(world.rng.random())
        )
        self.waits_for: Request | None = None
        self.rests_until = 0.0
        self.works_in: LeaseTerm | None = None
        self.finishes_late = False
        self.releases = False
        self.stopped_until = 0.0
        self.cut_off_until = 0.0

    def clock(self) -> float:
        return self.offset + self.rate * self.world.now

    def wall(self) -> datetime:
        return EPOCH + timedelta(seconds=round(self.world.now + self.wall_skew))

    def act(self) -> None:
        """Take the next step, unless one is under way or it rests."""
        self.give_up_what_takes_too_long()
        if self.waits_for is not None:
            return
        if self.works_in is not None:
            self.election.is_held_off = self.works_in.over.is_set()
        if self.clock() < self.rests_until and not self.releases:
            return
        step: Step | None = self.election.release() if self.releases else self.election.step()
        if isinstance(step, Rest):
            self.rests_until = self.clock() + step.seconds
        elif step is not None:
            self.waits_for = Request(self, step, self.clock())
            self.world.requests.append(self.waits_for)

    def give_up_what_takes_too_long(self) -> None:
        request = self.waits_for
        if request is not None and self.clock() >= request.sent_at + request.step.timeout:
            self.fail()

    def fail(self) -> None:
        request, self.waits_for = self.waits_for, None
        assert request is not None
        self.election.failed(request.step, request.sent_at)

    def work(self) -> None:
        """Enter the term that lasts, if one does."""
        term = self.election.term
        if not self.releases and self.works_in is None and term is not None and term.lasts():
            self.works_in = term

    def work_or_leave(self, rng: random.Random) -> None:
        """Work while the term lasts, and leave once it is over: soon, or only when nobody may work any more."""
        self.work()
        term = self.works_in
        lingers = self.finishes_late or rng.random() < 0.5
        if term is not None and not term.lasts() and (term.seconds_left() <= 0 or not lingers):
            self.leave()

    def leave(self) -> None:
        self.works_in = None
        self.rests_until = 0.0
        self.election.is_held_off = False


@dataclass(eq=False)
class Request:
    """A request on its way, and what became of it."""

    contender: Contender
    step: Read | Write
    sent_at: float
    answer: list[Lease | str | None] = field(default_factory=list)
    serve_at: float = 0.0
    deliver_at: float = 0.0


class World:
    """An API server with one Lease, and those that contend for it."""

    def __init__(self, seed: int = 0) -> None:
        self.now = 1000.0
        self.rng = random.Random(seed)
        self.lease: Lease | None = None
        self.version = 100
        self.contenders: list[Contender] = []
        self.dead: list[Contender] = []
        self.requests: list[Request] = []
        self.tokens: dict[int, str] = {}
        self._terms: set[int] = set()
        self._kept: list[LeaseTerm] = []

    def join(self, *, offset: float = 0.0, rate: float = 1.0, wall_skew: float = 0.0) -> Contender:
        name = f"forms-{len(self.contenders) + len(self.dead)}"
        contender = Contender(self, name, offset=offset, rate=rate, wall_skew=wall_skew)
        self.contenders.append(contender)
        return contender

    # --- the server

    def next_version(self) -> str:
        self.version += self.rng.randint(1, 3)  # other objects are written, too
        return str(self.version)

    def serve(self, request: Request) -> None:
        """Carry a request out, and have an answer on its way."""
        step = request.step
        if isinstance(step, Read):
            request.answer.append(self.lease)
        elif isinstance(step, Write):
            have = self.lease.version if self.lease is not None else ""
            if step.lease.version != have:
                request.answer.append("refused")
                return
            self.lease = replace(step.lease, version=self.next_version())
            request.answer.append(self.lease)

    def edit(self, **changes: object) -> None:
        """What somebody does by hand; without changes, to a label."""
        if self.lease is not None:
            self.lease = replace(self.lease, version=self.next_version(), **changes)  # type: ignore[arg-type]  # what a test changes

    def delete(self) -> None:
        self.lease = None
        self.next_version()

    # --- the network

    def deliver(self, request: Request) -> None:
        """Bring the contender the answer, if it still waits for it."""
        contender = request.contender
        contender.give_up_what_takes_too_long()
        if contender.waits_for is not request or not request.answer:
            return
        contender.waits_for = None
        answer, step, election = request.answer[0], request.step, contender.election
        if isinstance(step, Read):
            assert not isinstance(answer, str)
            election.saw(answer)
        elif isinstance(step, Write):
            if isinstance(answer, Lease):
                election.wrote(answer, request.sent_at)
            else:
                election.refused(step, request.sent_at)
        self.check()

    # --- what must always hold

    def check(self) -> None:
        leaders = [one for one in self.contenders if one.election.leads]
        assert len(leaders) <= 1, f"{[one.name for one in leaders]} lead at {self.now}"
        for leader in leaders:
            for other in self.contenders:
                term = other.election.term
                if other is not leader and term is not None and other.works_in is term:
                    assert term.seconds_left() <= 0, f"{other.name} may still work while {leader.name} leads"
        for contender in self.contenders:
            term = contender.election.term
            if term is not None and id(term) not in self._terms:
                assert not self.tokens or term.token > max(self.tokens), f"token {term.token} after {self.tokens}"
                self.tokens[term.token] = contender.name
                self._terms.add(id(term))
                self._kept.append(term)

    # --- when little works

    def storm(self, seconds: float, *, lost: float, late: float, pace: float = 0.25) -> None:
        """Let time pass while requests and answers are lost or late, in any order.

        Args:
            seconds: How long.
            lost: The part of the requests, and of the answers, that never arrive.
            late: The part of them that takes up to half a minute.
            pace: Seconds between two looks at who does what.
        """
        end = self.now + seconds
        while self.now < end:
            for contender in self.rng.sample(self.contenders, len(self.contenders)):
                if self.now < contender.stopped_until:
                    continue
                before = contender.waits_for
                contender.act()
                if (request := contender.waits_for) is not None and request is not before:
                    self._send(request, lost, late)
                contender.work_or_leave(self.rng)
                self.check()
            for request in sorted(self.requests, key=lambda one: one.serve_at):
                if not request.answer and request.serve_at <= self.now:
                    self.serve(request)
            for request in sorted(self.requests, key=lambda one: one.deliver_at):
                if request.deliver_at <= self.now and self.now >= request.contender.stopped_until:
                    self.requests.remove(request)
                    self.deliver(request)
            self.now += self.rng.uniform(0.1, 1.9) * pace

    def _send(self, request: Request, lost: float, late: float) -> None:
        draw = self.rng.random
        if self.now < request.contender.cut_off_until:
            lost = 1.0

        def delay() -> float:
            if draw() < lost:
                return float("inf")
            return 30 * draw() ** 2 if draw() < late else 0.01

        request.serve_at = self.now + delay()
        request.deliver_at = request.serve_at + delay()

    # --- when everything works

    def run(self, seconds: float, *, step: float = 0.05, until_led: bool = False) -> None:
        """Let time pass with a network that brings everything at once."""
        end = self.now + seconds
        for contender in self.contenders:
            if contender.waits_for is not None:
                contender.fail()
        self.requests.clear()
        while self.now < end:
            for contender in self.contenders:
                contender.act()
            for request in self.requests:
                self.serve(request)
                self.deliver(request)
            self.requests.clear()
            self.check()
            if until_led and any(one.election.leads for one in self.contenders):
                return
            self.now += step

    @property
    def leader(self) -> Contender | None:
        return next((one for one in self.contenders if one.election.leads), None)
