"""Two processes' backends on real servers against one dict: whatever they do in turn, both see the same."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eggycore_cache.memcached import MemcachedBackend
from eggycore_cache.memcached_server import Options
from tests.servers import MemcachedServer
from tests.servers import memcached_server as started_server

NAMES = st.sampled_from(["a", "ab", "a:1", "b", "b:1", "ключ", "k" * 300])
PREFIXES = st.sampled_from(["", "a", "a:", "b", "к", "kkk"])
VALUES = st.one_of(st.binary(max_size=10), st.integers(0, 10**20).map(lambda number: b"%d" % number))
WHO = st.integers(0, 1)


@dataclass(frozen=True)
class Step:
    """Something that one of the two processes does."""

    what: str
    who: int
    name: str = ""
    value: bytes = b""
    amount: int = 0


STEPS = st.lists(
    st.one_of(
        st.builds(Step, st.sampled_from(["set", "add"]), WHO, NAMES, VALUES),
        st.builds(Step, st.sampled_from(["get", "delete", "exists", "touch"]), WHO, NAMES),
        st.builds(Step, st.just("incr"), WHO, NAMES, amount=st.integers(-20, 20)),
        st.builds(Step, st.just("clear"), WHO, PREFIXES),
        st.builds(Step, st.just("all"), WHO),
    ),
    max_size=40,
)


@pytest.fixture(scope="module")
def servers() -> Iterator[list[MemcachedServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(started_server()) for _ in range(2)]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=STEPS)
def test_two_processes_see_the_same(steps: list[Step], servers: list[MemcachedServer]) -> None:
    asyncio.run(followed(steps, [(server.host, server.port) for server in servers]))


async def followed(steps: list[Step], hosts: list[tuple[str, int]]) -> None:
    namespace = uuid.uuid4().hex
    options = Options(timeout=20, connect_timeout=20)
    both = [MemcachedBackend(hosts, namespace=namespace, options=options) for _ in range(2)]
    model: dict[str, bytes] = {}
    try:
        for step in steps:
            await follow(step, both[step.who], f"{namespace}:", model)
    finally:
        for backend in both:
            await backend.close()


async def follow(step: Step, backend: MemcachedBackend, prefix: str, model: dict[str, bytes]) -> None:
    key = prefix + step.name
    there = key in model
    match step.what:
        case "set":
            assert await backend.set(key, step.value, 600) is True
            model[key] = step.value
        case "add":
            assert await backend.add(key, step.value, 600) is not there
            model.setdefault(key, step.value)
        case "get":
            assert await backend.get(key) == model.get(key)
        case "delete":
            assert await backend.delete(key) is there
            model.pop(key, None)
        case "exists":
            assert await backend.exists(key) is there
        case "touch":
            assert await backend.touch(key, 600) is there
        case "incr":
            if not there or (model[key].isdigit() and len(model[key]) < 15):
                number = max(0, int(model.get(key, b"0")) + step.amount)
                assert await backend.incr(key, step.amount, 600) == number
                model[key] = b"%d" % number
        case "clear":
            assert await backend.clear_prefix(key) is True
            for name in [name for name in model if name.startswith(key)]:
                del model[name]
        case "all":
            assert await backend.get_many(list(model)) == list(model.values())
