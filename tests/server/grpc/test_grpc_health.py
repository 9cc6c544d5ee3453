"""grpc.health.v1 as a balancer sees it."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse, HealthListRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from eggycore.health import Health
from tests.server.grpc.echo import SERVICE, status_of

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


def _ready_health() -> Health:
    health = Health()
    health.set_ready(True)
    return health


async def _check(client: Any, service: str = "") -> int:
    return (await HealthStub(client.channel).Check(HealthCheckRequest(service=service))).status


@pytest.mark.parametrize("service", ["", SERVICE])
async def test_check_follows_the_health_of_the_process(serve: Any, connect: Any, service: str) -> None:
    health = Health()
    client = connect(await serve(health=health))

    starting = await _check(client, service)
    health.set_ready(True)
    ready = await _check(client, service)
    health.report("queue", "DOWN")
    broken = await _check(client, service)

    assert (starting, ready, broken) == (NOT_SERVING, SERVING, NOT_SERVING)


async def test_without_a_health_of_the_process_the_server_is_serving(serve: Any, connect: Any) -> None:
    assert await _check(connect(await serve())) == SERVING


async def test_a_service_that_is_not_served_is_not_found(serve: Any, connect: Any) -> None:
    stub = HealthStub(connect(await serve()).channel)

    status = await status_of(stub.Check(HealthCheckRequest(service="test.v1.Other")))

    assert status == (grpc.StatusCode.NOT_FOUND, "There is no such service here.")


async def test_list_shows_every_service(serve: Any, connect: Any) -> None:
    stub = HealthStub(connect(await serve()).channel)

    listed = await stub.List(HealthListRequest())

    assert {name: one.status for name, one in listed.statuses.items()} == {"": SERVING, SERVICE: SERVING}


async def test_watch_tells_each_change_once(serve: Any, connect: Any) -> None:
    health = _ready_health()
    watch = HealthStub(connect(await serve(health=health)).channel).Watch(HealthCheckRequest())

    first = (await watch.read()).status
    health.report("queue", "DOWN")
    second = (await watch.read()).status
    health.report("disk", "DOWN")  # red before and after
    health.withdraw("disk")
    health.withdraw("queue")
    third = (await watch.read()).status
    watch.cancel()

    assert (first, second, third) == (SERVING, NOT_SERVING, SERVING)


async def test_watch_of_a_service_that_is_not_served_waits(serve: Any, connect: Any) -> None:
    server = await serve()
    watch = HealthStub(connect(server).channel).Watch(HealthCheckRequest(service="test.v1.Other"))

    assert (await watch.read()).status == HealthCheckResponse.SERVICE_UNKNOWN
    server.begin_drain()
    assert await watch.read() is grpc.aio.EOF


async def test_a_drain_is_not_serving_at_once_and_ends_every_watch(serve: Any, connect: Any) -> None:
    server = await serve(health=_ready_health())
    client = connect(server)
    watches = [HealthStub(client.channel).Watch(HealthCheckRequest(service=name)) for name in ("", SERVICE)]
    assert [(await watch.read()).status for watch in watches] == [SERVING, SERVING]

    server.begin_drain()

    assert await _check(client) == NOT_SERVING
    assert [(await watch.read()).status for watch in watches] == [NOT_SERVING, NOT_SERVING]
    assert [await watch.read() for watch in watches] == [grpc.aio.EOF, grpc.aio.EOF]
    assert [await watch.code() for watch in watches] == [grpc.StatusCode.OK] * 2


async def test_a_watch_that_begins_during_the_drain_is_told_and_ends(serve: Any, connect: Any) -> None:
    server = await serve()
    server.begin_drain()

    watch = HealthStub(connect(server).channel).Watch(HealthCheckRequest())

    assert [one.status async for one in watch] == [NOT_SERVING]


async def test_calls_of_health_are_neither_logged_nor_counted(serve: Any, connect: Any, lines: Any) -> None:
    server = await serve()
    client = connect(server)
    watch = HealthStub(client.channel).Watch(HealthCheckRequest())
    await watch.read()

    assert server.in_flight == 0
    assert (await asyncio.wait_for(server.stop(5), 5)).cut == 0
    assert (await watch.read()).status == NOT_SERVING
    assert await watch.read() is grpc.aio.EOF
    assert lines == []
