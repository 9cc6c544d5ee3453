"""Elections in a world that loses, delays and reorders: at most one leads at any instant, and tokens grow."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

world = import_module("plugins.eggycore-k8s-watch.tests.election_world")

CONTENDERS = 4
SOME = st.integers(0, CONTENDERS - 1)
TIMES = st.sampled_from((1.0, 6.0, 14.0, 25.0))
PARTS = st.sampled_from((0.0, 0.1, 0.4, 0.8))


class Contending(RuleBasedStateMachine):
    """Requests are lost or late; processes stop, go on, are cut off, die and come; people edit and delete the Lease.

    What must hold is asserted by the world at every instant at which anything happens.
    """

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.world = world.World(seed)
        for _ in range(CONTENDERS):
            self.join()

    def join(self) -> None:
        draw = self.world.rng.uniform
        joined = self.world.join(offset=draw(0, 1e6), rate=draw(0.97, 1.03), wall_skew=draw(-1e6, 1e6))
        joined.finishes_late = self.world.rng.random() < 0.6

    @rule(seconds=st.sampled_from((3.0, 16.0, 40.0)))
    def everything_works(self, seconds: float) -> None:
        self.world.storm(seconds, lost=0.0, late=0.0)

    @rule(seconds=st.sampled_from((5.0, 20.0, 60.0)), lost=PARTS, late=PARTS)
    def the_network_is_bad(self, seconds: float, lost: float, late: float) -> None:
        self.world.storm(seconds, lost=lost, late=late)

    @rule(seconds=TIMES)
    def the_leader_is_stopped(self, seconds: float) -> None:
        if (leader := self.world.leader) is not None:
            leader.stopped_until = self.world.now + seconds

    @rule(seconds=TIMES)
    def the_leader_is_cut_off(self, seconds: float) -> None:
        if (leader := self.world.leader) is not None:
            leader.cut_off_until = self.world.now + seconds

    @rule(which=SOME, seconds=TIMES)
    def one_is_cut_off(self, which: int, seconds: float) -> None:
        self.world.contenders[which].cut_off_until = self.world.now + seconds

    @rule(which=SOME)
    def one_dies_and_another_comes(self, which: int) -> None:
        self.world.dead.append(self.world.contenders.pop(which))
        self.join()

    @rule()
    def the_leader_leaves(self) -> None:
        if (leader := self.world.leader) is not None:
            leader.leave()
            leader.releases = True

    @rule()
    def the_lease_is_deleted(self) -> None:
        self.world.delete()

    @rule(change=st.sampled_from(({}, {"holder": "bob"}, {"holder": ""}, {"renewed": ""}, {"seconds": 0})))
    def somebody_edits_the_lease(self, change: dict[str, Any]) -> None:
        self.world.edit(**change)

    @rule(which=SOME)
    def somebody_writes_a_name_into_the_lease(self, which: int) -> None:
        self.world.edit(holder=self.world.contenders[which].name)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            for contender in self.world.contenders:
                contender.leave()
                contender.releases = False
            self.world.run(4 * world.DURATION, until_led=True)
            assert self.world.leader is not None, "nobody leads although everything works"


Contending.TestCase.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
TestContending = Contending.TestCase
