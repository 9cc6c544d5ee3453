"""A gRPC service of bytes, registered the way generated code does it, and what tests need to call it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from eggycore.server.grpc import GRPCServer

SERVICE = "test.v1.Echo"
STREAMS = {"One": (False, False), "Many": (False, True), "Sum": (True, False), "Chat": (True, True)}
MAKE = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


class Echo:
    """Answers what it is asked; tests override what they are about."""

    async def One(self, request: bytes, context: Any) -> bytes:
        return request

    async def Many(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(3):
            yield request

    async def Sum(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"".join([request async for request in requests])

    async def Chat(self, requests: AsyncIterator[bytes], context: Any) -> None:
        async for request in requests:
            await context.write(request)


def add_echo(servicer: Any, server: Any) -> None:
    """What protoc would generate, for messages that are bytes."""
    handlers = {name: MAKE[streams](getattr(servicer, name)) for name, streams in STREAMS.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_registered_method_handlers(SERVICE, handlers)


def add_echo_as_before_1_65(servicer: Any, server: Any) -> None:
    """What older generators made: generic handlers alone."""
    handlers = {name: MAKE[streams](getattr(servicer, name)) for name, streams in STREAMS.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


class Client:
    """A channel of its own to one address."""

    def __init__(self, address: tuple[str, int], **options: int) -> None:
        arguments = {"grpc.use_local_subchannel_pool": 1, **options}
        self.channel = grpc.aio.insecure_channel(f"{address[0]}:{address[1]}", options=list(arguments.items()))
        self.one = self.channel.unary_unary(f"/{SERVICE}/One")
        self.many = self.channel.unary_stream(f"/{SERVICE}/Many")
        self.sum = self.channel.stream_unary(f"/{SERVICE}/Sum")
        self.chat = self.channel.stream_stream(f"/{SERVICE}/Chat")

    async def close(self) -> None:
        await self.channel.close()


def echo_server(servicer: Any = None, **options: Any) -> GRPCServer:
    """A server of the servicer, not started."""
    server = GRPCServer(**options)
    server.add(add_echo, servicer or Echo())
    return server


async def status_of(call: Any) -> tuple[grpc.StatusCode, str]:
    """Code and details that a call ends with."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except (grpc.aio.AioRpcError, asyncio.CancelledError):
        pass
    return await call.code(), await call.details()
