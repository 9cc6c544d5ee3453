"""Several servers started and stopped together."""

from __future__ import annotations

import socket

import pytest

from eggycore.server import HTTPServer, PortTaken, ServerManager
from eggycore.server.stopped import Stopped


class Recorded:
    """A server that only notes what is asked of it."""

    def __init__(self, name, calls):
        self.name = name
        self.calls = calls

    async def start(self):
        self.calls.append(f"start {self.name}")

    def begin_drain(self):
        self.calls.append(f"drain {self.name}")

    async def stop(self, timeout):
        self.calls.append(f"stop {self.name} {timeout}")
        return Stopped(finished=2, cut=1)


@pytest.fixture
def calls():
    return []


@pytest.fixture
def manager(calls):
    manager = ServerManager()
    manager.add(Recorded("a", calls))
    manager.add(Recorded("b", calls))
    return manager


async def test_servers_start_in_their_order_drain_and_stop_together(manager, calls):
    await manager.start_all()
    manager.begin_drain()
    assert await manager.stop_all(3) == Stopped(finished=4, cut=2)
    assert calls == ["start a", "start b", "drain a", "drain b", "stop a 3", "stop b 3"]


async def test_stopping_is_idempotent_and_legal_before_the_start(manager, calls):
    assert await manager.stop_all(3) == Stopped(finished=0, cut=0)
    await manager.start_all()
    await manager.stop_all(3)
    calls.clear()
    assert await manager.stop_all(3) == Stopped(finished=0, cut=0)
    assert calls == []


async def test_when_one_cannot_start_those_before_it_are_stopped(manager, calls):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        manager.add(HTTPServer(host="127.0.0.1", port=taken.getsockname()[1]))
        with pytest.raises(PortTaken):
            await manager.start_all()
    assert calls == ["start a", "start b", "stop a 0", "stop b 0"]
