"""One election, step by step."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore.testing import FakeClock
from eggycore_k8s_watch.election import Election, Read, Rest, Write
from eggycore_k8s_watch.leases import Lease, VersionUnusable

BOB = Lease(holder="bob", seconds=15, transitions=3, acquired="then", renewed="then", version="7")


class Contending:
    """An election with a clock of the test's, and a wall clock that stands still."""

    def __init__(self) -> None:
        self.clock = FakeClock(500.0)
        self.election = Election(
            "ann", duration=15.0, clock=self.clock, wall=lambda: datetime(2026, 1, 1, tzinfo=UTC), rng=random.Random(1)
        )
        self.version = 100

    def write(self, *, takes: float = 0.0) -> Lease:
        """Have the write that is due succeed after so many seconds."""
        step = self.election.step()
        assert isinstance(step, Write), step
        sent_at = self.clock()
        self.clock.advance(takes)
        lease = self.kept(step)
        self.election.wrote(lease, sent_at)
        return lease

    def kept(self, step: Write) -> Lease:
        self.version += 1
        return replace(step.lease, version=str(self.version))

    def rest(self) -> float:
        """Rest as long as is due."""
        step = self.election.step()
        assert isinstance(step, Rest), step
        self.clock.advance(step.seconds)
        return step.seconds


@pytest.fixture
def one() -> Contending:
    return Contending()


@pytest.fixture
def leader() -> Contending:
    """One that has just taken over a Lease that was given up."""
    one = Contending()
    one.election.saw(replace(BOB, holder="", seconds=1))
    one.write()
    assert one.election.leads
    return one


def test_it_looks_first(one: Contending):
    assert one.election.step() == Read(5.0)
    assert not one.election.has_looked


def test_a_lease_that_another_holds_is_taken_when_it_has_not_changed_for_its_own_duration(one: Contending):
    one.election.saw(replace(BOB, seconds=20))
    began = one.clock()
    while not isinstance(one.election.step(), Write):
        if isinstance(one.election.step(), Read):
            one.election.saw(replace(BOB, seconds=20))
        else:
            assert one.rest() <= 1.0
    assert one.clock() - began == pytest.approx(20.0)
    lease = one.write()
    assert (lease.holder, lease.seconds, lease.transitions) == ("ann", 15, 4)
    assert one.election.term is not None
    assert one.election.term.token == 101


def test_every_change_of_the_record_is_a_sign_of_life_whatever_its_times_say(one: Contending):
    one.election.saw(BOB)
    one.clock.advance(14.9)
    one.election.saw(replace(BOB, version="8"))
    one.clock.advance(14.9)
    assert not isinstance(one.election.step(), Write)


def test_a_lease_that_was_given_up_is_taken_at_once_and_one_that_was_emptied_is_not(one: Contending):
    one.election.saw(replace(BOB, holder="", seconds=15))
    assert not isinstance(one.election.step(), Write)
    one.election.saw(replace(BOB, holder="", seconds=1, version="8"))
    assert isinstance(one.election.step(), Write)


def test_it_believes_from_before_the_write_was_sent(one: Contending):
    one.election.saw(replace(BOB, holder="", seconds=1))
    one.write(takes=4.0)
    term = one.election.term
    assert term is not None
    assert term.seconds_left() == pytest.approx(0.9 * 15 - 4)
    one.clock.advance(5.9)
    assert one.election.leads
    one.clock.advance(0.2)
    assert not one.election.leads
    assert term.seconds_left() > 0
    assert not term.over.is_set()  # nobody has looked yet
    one.election.step()
    assert term.over.is_set()
    assert term.reason == "the Lease could not be renewed in time"


def test_a_write_that_took_longer_than_the_term_begins_none(one: Contending):
    one.election.saw(replace(BOB, holder="", seconds=1))
    one.write(takes=10.1)
    assert not one.election.leads


def test_it_renews_every_fifth_of_the_duration_and_the_term_goes_on(leader: Contending):
    term = leader.election.term
    for _ in range(20):
        assert 0.6 * 3 <= leader.rest() <= 3.0
        lease = leader.write()
    assert leader.election.term is term
    assert leader.election.leads
    assert lease.transitions == 4
    assert lease.acquired < lease.renewed


def test_what_is_written_differs_each_time_although_the_wall_clock_stands_still(leader: Contending):
    leader.rest()
    first = leader.write()
    leader.rest()
    assert leader.write().renewed > first.renewed


def test_a_renewal_whose_answer_was_lost_counts_from_when_it_was_sent(leader: Contending):
    leader.rest()
    step, sent_at = leader.election.step(), leader.clock()
    assert isinstance(step, Write)
    leader.clock.advance(3.0)
    leader.election.failed(step, sent_at)
    assert isinstance(leader.election.step(), Rest)
    leader.rest()
    assert isinstance(leader.election.step(), Read)
    leader.election.saw(leader.kept(step))
    assert leader.election.term is not None
    assert leader.election.term.until == pytest.approx(sent_at + 10)


def test_a_renewal_that_failed_does_not_make_the_term_longer(leader: Contending):
    assert leader.election.term is not None
    until, seen = leader.election.term.until, leader.election.seen
    leader.rest()
    step = leader.election.step()
    leader.election.failed(step, leader.clock())
    leader.rest()
    assert isinstance(leader.election.step(), Read)
    leader.election.saw(seen)
    assert leader.election.term.until == until
    assert isinstance(leader.election.step(), Write)


def test_requests_of_a_leader_end_with_its_term(leader: Contending):
    leader.clock.advance(9.5)
    step = leader.election.step()
    assert isinstance(step, Write)
    assert step.timeout == pytest.approx(0.5)


def test_a_server_that_wants_to_be_left_alone_is_but_not_at_the_cost_of_the_term(leader: Contending):
    leader.rest()
    left = leader.election.term.until - leader.clock() if leader.election.term else 0.0
    leader.election.failed(leader.election.step(), leader.clock(), wait=60.0)
    assert leader.rest() == pytest.approx(left / 2)


def test_a_standby_leaves_the_server_alone_for_as_long_as_it_wants(one: Contending):
    one.election.failed(one.election.step(), one.clock(), wait=7.0)
    assert one.rest() == pytest.approx(7.0)


def test_one_s_own_name_in_the_lease_is_no_proof(leader: Contending):
    leader.rest()
    step = leader.election.step()
    assert isinstance(step, Write)
    leader.election.refused(step, leader.clock())
    leader.rest()
    leader.election.saw(replace(BOB, holder="ann", renewed="by hand", version="200"))
    assert not leader.election.leads
    assert not leader.election.holds


def test_a_label_that_is_changed_meanwhile_is_no_loss(leader: Contending):
    seen = leader.election.seen
    assert seen is not None
    leader.rest()
    step = leader.election.step()
    assert isinstance(step, Write)
    leader.election.refused(step, leader.clock())
    leader.rest()
    leader.election.saw(replace(seen, version="200"))
    assert leader.election.leads
    step = leader.election.step()
    assert isinstance(step, Write)
    assert step.lease.version == "200"


def test_a_term_that_is_over_does_not_begin_again_and_the_next_has_a_greater_token(leader: Contending):
    old = leader.election.term
    assert old is not None
    leader.clock.advance(11.0)
    leader.write()
    assert leader.election.term is not old
    assert not old.lasts()
    assert leader.election.term is not None
    assert leader.election.term.token > old.token


def test_no_term_begins_while_somebody_works_in_the_last_and_the_lease_is_left_to_expire(leader: Contending):
    leader.rest()
    step, sent_at = leader.election.step(), leader.clock()
    assert isinstance(step, Write)
    leader.clock.advance(11.0)
    leader.election.is_held_off = True
    leader.election.wrote(leader.kept(step), sent_at + 5)  # on its way when the term ended
    assert not leader.election.leads
    assert isinstance(leader.election.step(), Rest)
    leader.election.is_held_off = False
    leader.write()
    assert leader.election.leads


def test_giving_it_up_ends_the_term_before_anything_is_sent(leader: Contending):
    step = leader.election.release()
    assert isinstance(step, Write)
    assert not leader.election.leads
    assert step.lease.is_released
    assert step.lease.transitions == 4
    leader.election.wrote(leader.kept(step), leader.clock())
    assert leader.election.release() is None


def test_what_it_does_not_hold_it_does_not_give_up(one: Contending):
    one.election.saw(BOB)
    assert one.election.release() is None


def test_whoever_made_the_lease_leads_after_a_whole_duration_and_keeps_it_meanwhile(one: Contending):
    one.election.saw(None)
    began = one.clock()
    one.write()
    while not one.election.leads:
        one.rest()
        one.write()
    assert one.clock() - began == pytest.approx(15.0)


def test_who_has_not_led_yet_does_not_give_up_what_another_may_still_lead_by(one: Contending):
    one.election.saw(None)
    one.write()
    assert one.election.release() is None


def test_the_message_of_a_version_of_which_no_token_can_be_made():
    assert render(diagnose(VersionUnusable("forms", "shop", "v1:abc"))) == (
        "The Lease forms in namespace shop has the resourceVersion 'v1:abc'.\n"
        "  cause:  A leader's token is the resourceVersion of its Lease, which every Kubernetes API server counts up as"
        " a whole number; this one does not.\n"
        "  action: Look what answers for the API server, or set K8S_LEADERSHIP=alone where a single replica runs."
    )
