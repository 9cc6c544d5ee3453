from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from eggycore import log
from eggycore.log.sampling import MESSAGES_LIMIT, Sampler, Sampling


def admitted(sampler: Sampler, count: int, message: str = "x") -> list[int]:
    answers = [sampler.admit(20, message) for _ in range(count)]
    return [number for number, answer in enumerate(answers, 1) if answer >= 0]


def test_the_first_of_a_second_pass_then_every_so_many() -> None:
    sampler = Sampler(Sampling(first=3, every=4), clock=lambda: 0.0)
    assert admitted(sampler, 12) == [1, 2, 3, 7, 11]
    assert sampler.held_back == 7


def test_without_every_none_pass_after_the_first() -> None:
    assert admitted(Sampler(Sampling(first=2), clock=lambda: 0.0), 10) == [1, 2]


def test_a_new_second_starts_anew_and_tells_how_many_were_held_back() -> None:
    now = [0.0]
    sampler = Sampler(Sampling(first=1), clock=lambda: now[0])
    assert [sampler.admit(20, "x") for _ in range(5)] == [0, -1, -1, -1, -1]
    now[0] = 1.0
    assert [sampler.admit(20, "x") for _ in range(2)] == [4, -1]


def test_messages_and_levels_are_counted_apart() -> None:
    sampler = Sampler(Sampling(first=1), clock=lambda: 0.0)
    assert [sampler.admit(20, "a"), sampler.admit(20, "b"), sampler.admit(10, "a")] == [0, 0, 0]


def test_messages_made_from_data_do_not_pile_up() -> None:
    sampler = Sampler(Sampling(first=1), clock=lambda: 0.0)
    for number in range(2 * MESSAGES_LIMIT):
        sampler.admit(20, str(number))
        sampler.admit(20, str(number))
    assert len(sampler._seen) <= MESSAGES_LIMIT + 1
    assert len(sampler._held) <= MESSAGES_LIMIT


@pytest.mark.parametrize(
    ("text", "sampling"),
    [("", None), ("100", Sampling(first=100)), ("100:50", Sampling(first=100, every=50))],
)
def test_the_setting_is_read(text: str, sampling: Sampling | None) -> None:
    assert Sampling.read(text) == sampling


@pytest.mark.parametrize("text", ["0", "a", "1:b", "-1", "1:-1", ":5", "1:2:3", "1.5", "²"])
def test_a_wrong_setting_is_refused(text: str) -> None:
    expected = 'not of the form "100" (the first 100 a second) or "100:50" (then every 50th)'
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        Sampling.read(text)


def test_warnings_are_never_held_back_and_the_rest_is_counted(start_log: Any) -> None:
    file = start_log(sampling=Sampling(first=2))
    before = log.sampled()
    logger = log.get()
    for number in range(10):
        log.info("chatty", number=number)
        log.warn("grave")
        logger.info("chatty too")
        logging.getLogger("library.chatty").info("of a library")
    counts = dict.fromkeys(("chatty", "grave", "chatty too", "of a library"), 0)
    for line in file.lines():
        counts[line["message"]] += 1
    held_back = log.sampled() - before
    # The clock may have gone on to the next second in between, which lets two more of a message pass.
    assert counts["grave"] == 10
    assert all(2 <= counts[message] <= 4 for message in counts if message != "grave")
    assert held_back == 40 - sum(counts.values())
