"""The server itself: its port, its options, reflection, start and stop."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from eggycore.diagnostics import diagnose, render
from eggycore.resources import Resources
from eggycore.server.grpc import GRPCMissing, GRPCServer, draining
from eggycore.server.ports import HostNotHere, PortTaken
from eggycore.server.settings import GRPCSettings
from eggycore.server.stopped import Stopped
from tests.server.grpc.echo import SERVICE, Echo, add_echo, echo_server, status_of


class Held(Echo):
    """Holds calls until it is let go."""

    def __init__(self) -> None:
        self.entered = asyncio.Semaphore(0)
        self.go = asyncio.Event()

    async def One(self, request: bytes, context: Any) -> bytes:
        self.entered.release()
        await self.go.wait()
        return request


async def _listed(channel: Any) -> list[str]:
    call = ServerReflectionStub(channel).ServerReflectionInfo()
    await call.write(ServerReflectionRequest(list_services=""))
    answer = await call.read()
    await call.done_writing()
    return sorted(one.name for one in answer.list_services_response.service)


async def _closed(address: tuple[str, int]) -> None:
    """Wait until nobody listens there."""
    async with asyncio.timeout(5):
        while True:
            try:
                _, writer = await asyncio.open_connection(*address)
            except ConnectionRefusedError:
                return
            except ConnectionResetError:
                continue  # it was still in the queue of the listener when that was closed
            writer.close()


async def test_reflection_lists_every_service(serve: Any, connect: Any) -> None:
    client = connect(await serve())

    assert await _listed(client.channel) == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        SERVICE,
    ]


async def test_reflection_can_be_switched_off(serve: Any, connect: Any) -> None:
    client = connect(await serve(settings=GRPCSettings(reflection=False)))
    call = ServerReflectionStub(client.channel).ServerReflectionInfo(iter(()))

    assert (await status_of(call))[0] is grpc.StatusCode.UNIMPLEMENTED
    assert await client.one(b"a") == b"a"


async def test_a_reflection_client_that_stays_does_not_hold_up_the_stop(serve: Any, connect: Any) -> None:
    server = await serve()
    call = ServerReflectionStub(connect(server).channel).ServerReflectionInfo()
    await call.write(ServerReflectionRequest(list_services=""))
    await call.read()

    stopped = await asyncio.wait_for(server.stop(), 5)

    assert stopped == Stopped(finished=0, cut=0)
    assert await call.code() is grpc.StatusCode.UNAVAILABLE


async def test_messages_beyond_the_limit_are_refused(serve: Any, connect: Any) -> None:
    client = connect(await serve(settings=GRPCSettings(max_message_size=100)))

    assert await client.one(b"x" * 100) == b"x" * 100
    assert (await status_of(client.one(b"x" * 101)))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_options_of_the_caller_win(serve: Any, connect: Any) -> None:
    client = connect(await serve(options=[("grpc.max_receive_message_length", 10)]))

    assert (await status_of(client.one(b"x" * 11)))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_servicers_are_made_of_resources_when_the_server_starts(stack: Any, connect: Any) -> None:
    class Word:
        def __init__(self, text: bytes) -> None:
            self.text = text

    class Saying(Echo):
        def __init__(self, word: Any) -> None:
            self.word = word

        async def One(self, request: bytes, context: Any) -> bytes:
            return bytes(self.word.text)

    Saying.__init__.__annotations__["word"] = Word
    resources = Resources()
    server = GRPCServer(resources=resources)
    server.add(add_echo, Saying)
    resources.provide(Word, Word(b"hello"))

    await server.start()
    stack.push_async_callback(server.stop, 1)

    assert await connect(server).one(b"") == b"hello"


async def test_a_taken_port_is_diagnosed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken) as error:
            await GRPCServer(port=port).start()

    assert (error.value.port, error.value.setting) == (port, "BUSINESS_GRPC_PORT")


async def test_two_servers_do_not_share_a_port(serve: Any) -> None:
    first = await serve()

    with pytest.raises(PortTaken) as error:
        await GRPCServer(port=first.address[1], port_setting="OTHER_PORT").start()

    assert str(error.value) == f"Port {first.address[1]} (OTHER_PORT) is already in use."


async def test_a_foreign_address_is_diagnosed() -> None:
    with pytest.raises(HostNotHere):
        await GRPCServer(host="192.0.2.1").start()


@pytest.mark.parametrize("module", ["grpc", "grpc_health", "grpc_reflection"])
async def test_without_grpc_the_error_names_the_pip_command(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(GRPCMissing) as error:
        await echo_server().start()

    assert render(diagnose(error.value)) == (
        "The gRPC server cannot start: gRPC is not installed.\n"
        f"  cause:  A gRPC servicer was registered, and there is no module {error.value.module!r}.\n"
        "  action: Run `pip install 'eggycore[grpc]'`, or set ENABLE_BUSINESS_GRPC=false."
    )
    assert error.value.module.startswith(module)


async def test_it_can_be_started_again_after_a_stop(serve: Any, connect: Any) -> None:
    server = await serve()
    await server.stop(1)
    await server.start()

    assert await connect(server).one(b"a") == b"a"


async def test_stop_is_legal_before_the_start_and_idempotent() -> None:
    server = echo_server()

    assert await server.stop(1) == Stopped(finished=0, cut=0)
    await server.start()
    assert await server.stop(1) == Stopped(finished=0, cut=0)
    assert await server.stop(1) == Stopped(finished=0, cut=0)


async def test_what_only_a_running_server_has_is_refused() -> None:
    server = echo_server()

    assert server.in_flight == 0
    with pytest.raises(RuntimeError, match="does not run"):
        _ = server.address
    with pytest.raises(RuntimeError, match="does not run"):
        _ = server.server


async def test_stop_finishes_what_is_in_flight_and_takes_nothing_more(serve: Any, connect: Any) -> None:
    servicer = Held()
    server = await serve(servicer)
    client, late = connect(server), connect(server)
    calls = [client.one(b"a") for _ in range(3)]
    for _ in calls:
        await asyncio.wait_for(servicer.entered.acquire(), 5)
    assert server.in_flight == 3

    address = server.address
    stopping = asyncio.create_task(server.stop(30))
    await _closed(address)
    assert (await status_of(late.one(b"b")))[0] is grpc.StatusCode.UNAVAILABLE
    servicer.go.set()

    assert [await call for call in calls] == [b"a"] * 3
    assert await stopping == Stopped(finished=3, cut=0)


async def test_what_does_not_finish_in_time_is_cut_and_told_to_come_back(serve: Any, connect: Any, lines: Any) -> None:
    servicer = Held()
    server = await serve(servicer)
    client = connect(server)
    call = asyncio.create_task(status_of(client.one(b"a")))
    await asyncio.wait_for(servicer.entered.acquire(), 5)

    assert await server.stop(0.2) == Stopped(finished=0, cut=1)
    assert await call == (grpc.StatusCode.UNAVAILABLE, "The server is stopping; call again.")
    assert [line.fields["code"] for line in lines] == ["UNAVAILABLE"]


async def test_a_call_that_is_cut_cleans_up_before_the_server_is_gone(serve: Any, connect: Any) -> None:
    class Cleaning(Held):
        cleaned_up = False

        async def One(self, request: bytes, context: Any) -> bytes:
            try:
                return await super().One(request, context)
            finally:
                await asyncio.to_thread(lambda: None)
                self.cleaned_up = True

    servicer = Cleaning()
    server = await serve(servicer)
    client = connect(server)
    call = asyncio.create_task(status_of(client.one(b"a")))
    await asyncio.wait_for(servicer.entered.acquire(), 5)

    await server.stop(0.2)

    assert servicer.cleaned_up
    await call


async def test_stop_waits_for_code_that_follows_an_abort(serve: Any, connect: Any) -> None:
    class Tidy(Held):
        tidied = False

        async def One(self, request: bytes, context: Any) -> bytes:
            try:
                await context.abort(grpc.StatusCode.NOT_FOUND, "no")
            finally:
                await super().One(request, context)
                self.tidied = True
            return b""

    servicer = Tidy()
    server = await serve(servicer)
    client = connect(server)
    assert (await status_of(client.one(b"a")))[0] is grpc.StatusCode.NOT_FOUND

    stopping = asyncio.create_task(server.stop(30))
    servicer.go.set()

    assert await stopping == Stopped(finished=1, cut=0)
    assert servicer.tidied


async def test_a_stop_that_is_cancelled_closes_the_server_all_the_same(serve: Any, connect: Any) -> None:
    servicer = Held()
    server = await serve(servicer)
    client = connect(server)
    call = asyncio.create_task(status_of(client.one(b"a")))
    await asyncio.wait_for(servicer.entered.acquire(), 5)
    stopping = asyncio.create_task(server.stop(3600))
    await asyncio.wait({stopping}, timeout=0.05)

    stopping.cancel()

    assert (await asyncio.wait_for(call, 5))[0] in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
    await asyncio.wait({stopping}, timeout=5)
    assert stopping.cancelled()


async def test_a_stream_that_waits_for_the_drain_ends_by_itself(serve: Any, connect: Any) -> None:
    class Watching(Echo):
        async def Many(self, request: bytes, context: Any) -> Any:
            yield b"watching"
            await draining().wait()
            yield b"goodbye"

    server = await serve(Watching())
    call = connect(server).many(b"")
    assert await call.read() == b"watching"

    server.begin_drain()

    assert await call.read() == b"goodbye"
    assert await call.read() is grpc.aio.EOF
    assert await server.stop(5) == Stopped(finished=0, cut=0)


def test_draining_outside_of_a_handler_is_an_error() -> None:
    with pytest.raises(LookupError):
        draining()


class FakeControl:
    """What the launcher hands to a service."""

    name = "grpc"

    def __init__(self) -> None:
        self.draining, self.stopping, self.serving = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def started(self) -> None:
        self.serving.set()


async def test_as_a_service_it_serves_drains_and_stops(connect: Any) -> None:
    server, control, addresses = echo_server(), FakeControl(), []
    service = server.as_service(on_bound=addresses.append)
    assert (service.name, service.stage) == ("grpc", "edge")

    running = asyncio.create_task(service.run(control))
    await asyncio.wait_for(control.serving.wait(), 5)
    client = connect(server)
    assert addresses == [server.address]
    control.draining.set()
    assert await client.one(b"a") == b"a"
    control.stopping.set()
    await asyncio.wait_for(running, 5)

    assert server.stopped == Stopped(finished=0, cut=0)
