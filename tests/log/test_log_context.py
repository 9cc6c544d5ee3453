from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest

from eggycore import log


def test_fields_of_the_context_are_on_every_line_inside_the_block(log_file: Any) -> None:
    with log.with_context(order=7):
        with log.with_context(step="pay"):
            log.info("inner")
        log.info("outer")
    log.info("outside")
    inner, outer, outside = log_file.lines()
    assert (inner["order"], inner["step"]) == (7, "pay")
    assert (outer["order"], outer.get("step")) == (7, None)
    assert "order" not in outside


def test_a_field_of_the_context_may_have_any_name(log_file: Any) -> None:
    with log.with_context(self=7, msg=8):
        log.info("x")
    assert (log_file.last()["self"], log_file.last()["msg"]) == (7, 8)


def test_a_field_of_the_call_wins_over_the_context(log_file: Any) -> None:
    with log.with_context(order=7):
        log.info("x", order=8)
    assert log_file.last()["order"] == 8


def test_the_context_is_left_when_the_block_raises() -> None:
    with pytest.raises(ValueError, match="x"), log.with_context(order=7):
        raise ValueError("x")
    assert log.CONTEXT.get() == {}


def test_secrets_and_reserved_names_in_the_context_are_seen_to() -> None:
    with log.with_context(token="abc", level="high", headers={"cookie": "a"}):
        assert log.CONTEXT.get() == {"token": "******", "level_": "high", "headers": {"cookie": "******"}}


async def test_tasks_have_a_context_of_their_own_and_start_with_that_of_their_maker(log_file: Any) -> None:
    async def handle(order: int, go: asyncio.Event) -> None:
        with log.with_context(order=order):
            await go.wait()
            log.info("handled", order_here=order)

    go = asyncio.Event()
    with log.with_context(batch="b"):
        async with asyncio.TaskGroup() as group:
            for order in range(5):
                group.create_task(handle(order, go))
            go.set()
    lines = log_file.lines()
    assert len(lines) == 5
    assert all(line["order"] == line["order_here"] and line["batch"] == "b" for line in lines)


async def test_a_block_may_be_left_in_another_context() -> None:
    async def steps() -> Any:
        with log.with_context(order=7):
            yield 1

    generator = steps()
    await asyncio.create_task(anext(generator))
    await asyncio.create_task(generator.aclose())
    assert log.CONTEXT.get() == {}


def test_a_worker_thread_carries_the_context_it_is_given(log_file: Any) -> None:
    with log.with_context(order=7):
        context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: context.run(log.info, "from a thread"))
    thread.start()
    thread.join()
    assert log_file.last()["order"] == 7


def test_a_logger_made_from_the_context_carries_it_where_the_context_does_not_reach(log_file: Any) -> None:
    with log.with_context(order=7):
        logger = log.from_context()
    logger.info("later", form=1)
    assert (log_file.last()["order"], log_file.last()["form"]) == (7, 1)


def test_request_ids_are_hexadecimal_and_new_each_time() -> None:
    ids = {log.new_request_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(one) == 32 and int(one, 16) >= 0 for one in ids)


def test_the_request_id_is_read_from_the_context() -> None:
    assert log.request_id() is None
    with log.with_context(request_id="r-1"):
        assert log.request_id() == "r-1"


@pytest.mark.parametrize("text", ["abc", "4bf92f3577b34da6a3ce929d0e0e4736", "a b", "x" * 128])
def test_a_request_id_of_a_caller_is_taken_over(text: str) -> None:
    assert log.accept_request_id(text) == text


@pytest.mark.parametrize("text", [None, "", " ", "x" * 129, "a\nb", "a\x1b[31m", "é", "\x00"])
def test_a_request_id_that_could_do_harm_is_not(text: str | None) -> None:
    assert log.accept_request_id(text) is None
