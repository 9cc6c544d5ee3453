"""What is done to an electorate, at random: everything that happens to processes and networks, for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

from tests.soak.electorate import Electorate, overlaps

STARTING = 30.0
"""Seconds for so many processes to start on a busy machine."""

TAKEOVER = 2.0
"""Seconds beyond the Lease's duration within which somebody leads after the leader's death, while the API answers."""


class Trial:
    """A time of trouble for an electorate.

    Args:
        electorate: Who contends.
    """

    def __init__(self, electorate: Electorate) -> None:
        self._all = electorate
        self._rng = electorate.rng
        self.takeovers: list[float] = []
        """Seconds from the death of a leader to the next one's belief."""
        self.done: list[str] = []
        """What was done."""

    def run(self, seconds: float) -> None:
        """Do one thing after another, in any order, for so long."""
        everything: list[Callable[[], None]] = [
            self.kill_the_leader,
            self.stop_the_leader,
            self.cut_every_connection,
            self.answer_500,
            self.lose_answers,
            self.terminate_the_leader,
            self.stall_the_server,
            self.stop_some_and_kill_the_leader,
            self.restart_the_server,
        ]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._rng.shuffle(everything)
            for act in everything:
                if time.monotonic() < end:
                    self.do(act)

    def do(self, *acts: Callable[[], None]) -> None:
        """Do these things, once somebody leads."""
        for act in acts:
            self._settle()
            self.done.append(act.__name__)
            act()
        self._settle()

    # --- deaths, while the API answers

    def kill_the_leader(self) -> None:
        self._measured(self._all.kill)

    def terminate_the_leader(self) -> None:
        self._measured(self._all.terminate)

    def stop_the_leader(self) -> None:
        """For longer than the Lease; it goes on in the middle of a write."""
        stopped = self._measured(self._all.stop)
        time.sleep(self._rng.uniform(0.0, 0.5))
        self._all.resume(stopped)
        time.sleep(0.3)

    def stop_some_and_kill_the_leader(self) -> None:
        some = [name for name in self._all.running if name != self._all.holder]
        some = self._rng.sample(some, min(3, len(some) - 1))
        for name in some:
            self._all.stop(name)
        self._measured(self._all.kill)
        for name in some:
            self._all.resume(name)

    def _measured(self, end: Callable[[str], None]) -> str:
        leader, token = self._all.holder, self._all.newest_token()
        assert leader is not None
        began = time.monotonic()
        end(leader)
        self._all.until_led(self._all.duration + TAKEOVER, after=token)
        self.takeovers.append(time.monotonic() - began)
        return leader

    def _settle(self) -> None:
        """Until somebody who runs leads by the Lease as it is now."""
        deadline = time.monotonic() + 2 * self._all.duration + (TAKEOVER if self.done else STARTING)
        while time.monotonic() < deadline:
            if self._all.holder in self._all.running and self._believes_now():
                return
            time.sleep(0.02)
        raise AssertionError(f"nobody leads although the API server answers:\n{self._all.logs()}")

    def _believes_now(self) -> bool:
        beliefs = self._all.beliefs()
        latest = max(beliefs, key=lambda one: one.ended, default=None)
        return latest is not None and latest.who == self._all.holder and time.monotonic() - latest.ended < 0.1

    # --- a server and a network in trouble

    def cut_every_connection(self) -> None:
        for _ in range(5):
            self._all.api.cut()
            time.sleep(0.1)

    def answer_500(self) -> None:
        self._all.api.refuse(500)
        self._trouble()

    def lose_answers(self) -> None:
        self._all.api.lose_answers()
        self._trouble()

    def stall_the_server(self) -> None:
        self._all.api.stall()
        time.sleep(self._a_while())
        self._all.api.resume()

    def restart_the_server(self) -> None:
        self._all.api.stop()
        time.sleep(self._a_while() / 2)
        self._all.api.start()

    def _trouble(self) -> None:
        time.sleep(self._a_while())
        self._all.api.allow()

    def _a_while(self) -> float:
        return self._rng.uniform(0.2, 1.3) * self._all.duration


def verdict(electorate: Electorate) -> dict[str, int]:
    """Assert what must hold of everything that was believed and written; how much of it there was.

    Raises:
        AssertionError: Two led at one moment, or an old term wrote after a newer one.
    """
    beliefs, written = electorate.beliefs(), electorate.written()
    assert not overlaps(beliefs), f"two processes led at one moment: {overlaps(beliefs)[:3]}"
    late = [(before, after) for before, after in pairwise(written) if after < before]
    assert not late, f"a term wrote after a newer one: {late[:3]}"
    by_token: dict[int, set[str]] = {}
    for belief in beliefs:
        by_token.setdefault(belief.token, set()).add(belief.who)
    assert all(len(who) == 1 for who in by_token.values()), "two processes have had the same token"
    return {"terms": len(by_token), "rows": len(written), "refused": electorate.refused()}
