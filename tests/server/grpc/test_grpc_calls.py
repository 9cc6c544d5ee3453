"""What every call goes through, seen by a client, in the log and in the metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import Unavailable
from eggycore.log.context import request_id
from eggycore.metrics import Registry
from eggycore.server.grpc import GRPCServer
from eggycore.server.servicers import ServicerRefused
from tests.server.grpc.echo import SERVICE, Echo, add_echo_as_before_1_65, status_of

KINDS = ("One", "Many", "Sum", "Chat")


async def _requests() -> AsyncIterator[bytes]:
    yield b"a"
    yield b"b"


def _call(client: Any, kind: str, **options: Any) -> Any:
    return getattr(client, kind.lower())(_requests() if kind in ("Sum", "Chat") else b"a", **options)


async def _answers(call: Any) -> list[bytes]:
    return [answer async for answer in call] if hasattr(call, "__aiter__") else [await call]


def _trailing(metadata: Any) -> dict[str, str]:
    return dict(metadata)


class Failing(Echo):
    """Fails in every kind of call, in the middle of an answer where there is a middle."""

    async def One(self, request: bytes, context: Any) -> bytes:
        raise ValueError("the password is hunter2")

    async def Many(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield request
        raise ValueError("the password is hunter2")

    async def Sum(self, requests: Any, context: Any) -> bytes:
        await super().Sum(requests, context)
        raise ValueError("the password is hunter2")

    async def Chat(self, requests: Any, context: Any) -> None:
        await super().Chat(requests, context)
        raise ValueError("the password is hunter2")


@pytest.mark.parametrize(
    ("kind", "answers"), [("One", [b"a"]), ("Many", [b"a"] * 3), ("Sum", [b"ab"]), ("Chat", [b"a", b"b"])]
)
async def test_every_kind_of_call_is_answered_logged_and_measured(
    serve: Any, connect: Any, lines: Any, kind: str, answers: list[bytes]
) -> None:
    metrics = Registry()
    client = connect(await serve(metrics=metrics))

    assert await _answers(_call(client, kind)) == answers

    (line,) = await lines.first(1)
    assert (line.level, line.message) == ("info", "request")
    assert line.fields["method"] == f"/{SERVICE}/{kind}"
    assert line.fields["code"] == "OK"
    assert 0 <= line.fields["duration_ms"] < 10_000
    (family,) = metrics.collect()
    (sample,) = family.samples
    assert (family.name, sample.labels) == ("grpc_server_handling_seconds", (f"/{SERVICE}/{kind}", "OK"))
    assert sample.buckets[-1][1] == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_an_unhandled_error_tells_the_client_nothing_and_the_log_everything(
    serve: Any, connect: Any, lines: Any, kind: str
) -> None:
    client = connect(await serve(Failing()))

    call = _call(client, kind, metadata=(("x-request-id", "r-1"),))

    assert await status_of(call) == (
        grpc.StatusCode.INTERNAL,
        "The call failed; its request id leads to the reason in the log.",
    )
    assert _trailing(await call.trailing_metadata()) == {"x-request-id": "r-1"}
    failure, access = await lines.first(2)
    assert (failure.level, failure.message, failure.fields["request_id"]) == ("error", "call failed", "r-1")
    assert isinstance(failure.fields["exc"], ValueError)
    assert (access.message, access.fields["code"]) == ("request", "INTERNAL")


@pytest.mark.parametrize("error", [SystemExit, asyncio.CancelledError])
async def test_a_handler_ends_no_process_and_leaves_no_client_waiting(
    serve: Any, connect: Any, error: type[BaseException]
) -> None:
    class Quitting(Echo):
        async def One(self, request: bytes, context: Any) -> bytes:
            raise error()

    client = connect(await serve(Quitting()))
    for _ in range(2):
        code, _ = await status_of(_call(client, "One", timeout=10))
        assert code is grpc.StatusCode.INTERNAL


@dataclass(eq=False)
class StoreAway(Unavailable):
    """An error of this test."""

    host: str


@diagnose.register
def _(error: StoreAway) -> Diagnosis:
    return Diagnosis(description="The store does not answer.", cause=f"{error.host} is away.", action="Start it.")


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_unavailable_now_is_said_to_the_client_and_warned_of_without_a_stack(
    serve: Any, connect: Any, lines: Any, kind: str
) -> None:
    class Waiting(Echo):
        async def One(self, request: bytes, context: Any) -> bytes:
            raise StoreAway("db-7")

        async def Many(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
            yield request
            raise StoreAway("db-7")

        async def Sum(self, requests: Any, context: Any) -> bytes:
            await super().Sum(requests, context)  # grpc's client forgets the status when it is still sending
            raise StoreAway("db-7")

        async def Chat(self, requests: Any, context: Any) -> None:
            await super().Chat(requests, context)
            raise StoreAway("db-7")

    client = connect(await serve(Waiting()))

    assert await status_of(_call(client, kind)) == (grpc.StatusCode.UNAVAILABLE, "The store does not answer.")
    warning, access = await lines.first(2)
    assert (warning.level, warning.message) == ("warn", "call not served")
    assert warning.fields["reason"] == "The store does not answer."
    assert "exc" not in warning.fields
    assert (access.message, access.fields["code"]) == ("request", "UNAVAILABLE")


class Aborting(Echo):
    """Ends calls with a status of its own."""

    async def One(self, request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such form")
        raise AssertionError("abort returned")

    async def Many(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield request
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")

    async def Sum(self, requests: Any, context: Any) -> bytes:
        await super().Sum(requests, context)
        context.set_code(grpc.StatusCode.ALREADY_EXISTS)
        context.set_details("it is there")
        return b""

    async def Chat(self, requests: Any, context: Any) -> None:
        await super().Chat(requests, context)
        context.set_code(grpc.StatusCode.FAILED_PRECONDITION)
        context.set_details("not yet")
        raise ValueError("the password is hunter2")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("One", (grpc.StatusCode.NOT_FOUND, "no such form")),
        ("Many", (grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")),
        ("Sum", (grpc.StatusCode.ALREADY_EXISTS, "it is there")),
        ("Chat", (grpc.StatusCode.FAILED_PRECONDITION, "not yet")),
    ],
)
async def test_a_status_that_the_servicer_chose_is_kept(
    serve: Any, connect: Any, lines: Any, kind: str, status: tuple[grpc.StatusCode, str]
) -> None:
    client = connect(await serve(Aborting()))

    call = _call(client, kind, metadata=(("x-request-id", "r-1"),))

    assert await status_of(call) == status
    assert _trailing(await call.trailing_metadata())["x-request-id"] == "r-1"
    *failures, access = await lines.first(2 if kind == "Chat" else 1)
    assert access.fields["code"] == status[0].name
    assert [failure.message for failure in failures] == ["call failed"] * len(failures)


async def test_an_error_after_an_abort_keeps_the_status_of_the_abort(serve: Any, connect: Any, lines: Any) -> None:
    class Clumsy(Echo):
        async def One(self, request: bytes, context: Any) -> bytes:
            try:
                await context.abort(grpc.StatusCode.NOT_FOUND, "no such form")
            finally:
                raise ValueError("the password is hunter2")

    client = connect(await serve(Clumsy()))

    assert await status_of(client.one(b"")) == (grpc.StatusCode.NOT_FOUND, "no such form")
    failure, access = await lines.first(2)
    assert (failure.level, failure.message) == ("error", "call failed")
    assert (access.message, access.fields["code"]) == ("request", "NOT_FOUND")


async def test_a_request_id_is_taken_over_bound_to_the_log_and_sent_back(serve: Any, connect: Any, lines: Any) -> None:
    class Asking(Echo):
        async def One(self, request: bytes, context: Any) -> bytes:
            context.set_trailing_metadata((("cost", "3"),))
            return (request_id() or "").encode()

    client = connect(await serve(Asking()))
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    call = client.one(b"", metadata=(("x-request-id", "r-1"), ("traceparent", traceparent)))

    assert await call == b"r-1"
    assert _trailing(await call.trailing_metadata()) == {"cost": "3", "x-request-id": "r-1"}
    (line,) = await lines.first(1)
    assert line.fields["request_id"] == "r-1"
    assert line.fields["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize("metadata", [(), (("x-request-id", "x" * 129),)])
async def test_a_call_without_a_usable_request_id_gets_a_new_one(serve: Any, connect: Any, metadata: Any) -> None:
    client = connect(await serve())

    ids = []
    for _ in range(2):
        call = client.one(b"", metadata=metadata)
        await call
        ids.append(_trailing(await call.trailing_metadata())["x-request-id"])

    assert [len(one) for one in ids] == [32, 32]
    assert ids[0] != ids[1]


class Endless(Echo):
    """Never answers; says how its methods were left."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.left = asyncio.Event()

    async def One(self, request: bytes, context: Any) -> bytes:
        try:
            self.entered.set()
            await asyncio.Event().wait()
        finally:
            self.left.set()
        return b""

    async def Many(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            self.entered.set()
            while True:
                yield request
        finally:
            self.left.set()


@pytest.mark.parametrize("kind", ["One", "Many"])
async def test_a_handler_is_cancelled_at_the_deadline(serve: Any, connect: Any, lines: Any, kind: str) -> None:
    servicer = Endless()
    client = connect(await serve(servicer))

    code, _ = await status_of(_call(client, kind, timeout=0.1))

    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(servicer.left.wait(), 5)
    (line,) = await lines.first(1)
    assert line.fields["code"] == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize("kind", ["One", "Many"])
async def test_a_handler_is_cancelled_when_its_client_goes_away(
    serve: Any, connect: Any, lines: Any, kind: str
) -> None:
    servicer = Endless()
    client = connect(await serve(servicer))
    call = _call(client, kind)
    await asyncio.wait_for(servicer.entered.wait(), 5)

    call.cancel()

    await asyncio.wait_for(servicer.left.wait(), 5)
    (line,) = await lines.first(1)
    assert line.fields["code"] == "CANCELLED"


class Codec:
    """A message type whose bytes are digits."""

    @staticmethod
    def read(message: bytes) -> int:
        return int(message)

    @staticmethod
    def write(number: int) -> bytes:
        return b"%d" % number


def _add_numbers(servicer: Any, server: Any) -> None:
    handlers = {
        "Double": grpc.unary_unary_rpc_method_handler(servicer.Double, Codec.read, Codec.write),
        "Sum": grpc.stream_unary_rpc_method_handler(servicer.Sum, Codec.read, Codec.write),
        "Count": grpc.unary_stream_rpc_method_handler(servicer.Count, Codec.read, Codec.write),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.v1.Numbers", handlers),))
    server.add_registered_method_handlers("test.v1.Numbers", handlers)


class Numbers:
    async def Double(self, number: int, context: Any) -> Any:
        return number * 2 if number else "nothing"

    async def Sum(self, numbers: AsyncIterator[int], context: Any) -> int:
        return sum([number async for number in numbers])

    async def Count(self, number: int, context: Any) -> AsyncIterator[int]:
        for one in range(number):
            yield one


@pytest.fixture
def numbers(stack: Any, connect: Any) -> Any:
    """Starts a server of numbers; returns a channel to it."""

    async def start() -> Any:
        server = GRPCServer()
        server.add(_add_numbers, Numbers())
        await server.start()
        stack.push_async_callback(server.stop, 1)
        return connect(server).channel

    return start


async def test_messages_are_read_and_written_by_their_type(numbers: Any) -> None:
    channel = await numbers()

    assert await channel.unary_unary("/test.v1.Numbers/Double")(b"21") == b"42"
    assert await channel.stream_unary("/test.v1.Numbers/Sum")([b"1", b"2"]) == b"3"
    assert [one async for one in channel.unary_stream("/test.v1.Numbers/Count")(b"2")] == [b"0", b"1"]


async def test_a_request_that_cannot_be_read_is_the_clients_fault(numbers: Any, lines: Any) -> None:
    channel = await numbers()
    unreadable = (grpc.StatusCode.INTERNAL, "The request message could not be read.")

    assert await status_of(channel.unary_unary("/test.v1.Numbers/Double")(b"x")) == unreadable
    assert await status_of(channel.stream_unary("/test.v1.Numbers/Sum")([b"1", b"x"])) == unreadable
    assert await status_of(channel.unary_stream("/test.v1.Numbers/Count")(b"x")) == unreadable
    assert {line.level for line in await lines.first(3)} == {"info"}


async def test_an_answer_of_the_wrong_type_is_our_fault(numbers: Any, lines: Any) -> None:
    channel = await numbers()

    code, details = await status_of(channel.unary_unary("/test.v1.Numbers/Double")(b"0"))

    assert code is grpc.StatusCode.INTERNAL
    assert "nothing" not in details
    failure, _ = await lines.first(2)
    assert isinstance(failure.fields["exc"], TypeError)


async def test_code_generated_by_older_compilers_is_wrapped_as_well(stack: Any, connect: Any, lines: Any) -> None:
    server = GRPCServer()
    server.add(add_echo_as_before_1_65, Failing())
    await server.start()
    stack.push_async_callback(server.stop, 1)
    client = connect(server)

    for kind in (*KINDS, *KINDS):
        code, _ = await status_of(_call(client, kind))
        assert code is grpc.StatusCode.INTERNAL
    await lines.first(16)


async def test_a_method_that_is_not_async_is_refused_at_the_start(serve: Any) -> None:
    class Blocking(Echo):
        def One(self, request: bytes, context: Any) -> bytes:
            return request

    with pytest.raises(ServicerRefused) as refused:
        await serve(Blocking())

    assert str(refused.value) == (
        "The gRPC servicer test.v1.Echo/One is not async, and would hold up every other call while it runs."
    )


async def test_a_method_that_is_not_overridden_is_unimplemented(serve: Any, connect: Any) -> None:
    class Generated(Echo):
        def One(self, request: bytes, context: Any) -> bytes:
            raise NotImplementedError

    Generated.One.__module__ = "test.v1.echo_pb2_grpc"
    client = connect(await serve(Generated()))

    assert await status_of(client.one(b"")) == (grpc.StatusCode.UNIMPLEMENTED, "Method not implemented!")
    assert await client.sum([b"a"]) == b"a"


async def test_a_method_that_does_not_exist_is_unimplemented(serve: Any, connect: Any) -> None:
    client = connect(await serve())

    code, _ = await status_of(client.channel.unary_unary(f"/{SERVICE}/Nothing")(b""))

    assert code is grpc.StatusCode.UNIMPLEMENTED


async def test_without_an_access_log_calls_write_no_line(serve: Any, connect: Any, lines: Any) -> None:
    client = connect(await serve(access_log=False))

    await client.one(b"")

    assert lines == []
