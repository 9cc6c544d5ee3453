"""What every RPC goes through: request id, log context, access line, metrics, recovery. A method is wrapped once."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from time import perf_counter
from types import TracebackType
from typing import Any, TypeAlias, cast

import grpc
import grpc.aio

from eggycore import log
from eggycore.containment import must_pass
from eggycore.errors import Unavailable
from eggycore.log.context import CONTEXT, accept_request_id, new_request_id
from eggycore.metrics import Histogram, Registry
from eggycore.server.draining import DRAINING
from eggycore.server.servicers import ServicerRefused
from eggycore.web.middleware.identity import trace_id_of
from eggycore.web.middleware.unserved import warn_unserved

__all__ = ["Calls", "Handler", "wrap"]

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Behavior: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
Trailing: TypeAlias = tuple[tuple[str, str], ...]
Converter: TypeAlias = Callable[[Any], Any]

REQUEST_ID = "x-request-id"
TRACEPARENT = "traceparent"

CODE_NAMES: dict[object, str] = {key: code.name for code in grpc.StatusCode for key in (code, code.value[0])}
CODE_NAMES[None] = "OK"
"""By what `context.code()` may return: the enum, the number that an app has set, or None when nothing was set."""


class Calls:
    """The calls of one server: how many there are, and which connections were heard of since the drain began.

    Args:
        metrics: Where `grpc_server_handling_seconds` is declared; None measures nothing.
        access_log: Whether each call writes one line.
    """

    def __init__(self, *, metrics: Registry | None = None, access_log: bool = True) -> None:
        self.access_log = access_log
        self.draining = asyncio.Event()
        self.ended = 0
        self.seconds: Histogram | None = None
        if metrics is not None:
            self.seconds = metrics.histogram(
                "grpc_server_handling_seconds",
                "Time from the arrival of a call until it was answered, in seconds.",
                ("method", "code"),
            )
        self._tasks: set[asyncio.Task[Any]] = set()
        self._cut: frozenset[asyncio.Task[Any]] = frozenset()
        self._idle = asyncio.Event()
        self._peers: dict[str, float] = {}

    @property
    def in_flight(self) -> int:
        """How many calls are being answered."""
        return len(self._tasks)

    def begin(self, context: Context) -> None:
        """Count the call of the current task in."""
        self._tasks.add(_current_task())
        if self.draining.is_set():
            self._peers.setdefault(context.peer(), asyncio.get_running_loop().time())

    def end(self) -> None:
        """Count the call of the current task out."""
        self._tasks.discard(_current_task())
        self.ended += 1
        if not self._tasks:
            self._idle.set()

    @property
    def newest_peer(self) -> float:
        """Loop time at which the last connection was first heard of; since the drain began, else minus infinity."""
        return max(self._peers.values(), default=-math.inf)

    async def idle(self) -> None:
        """Wait until no call is in flight."""
        while self._tasks:
            self._idle.clear()
            await self._idle.wait()

    def cut(self) -> int:
        """Cancel the calls in flight; their clients are told that the server is unavailable.

        Returns:
            How many there were.
        """
        self._cut = frozenset(self._tasks)
        for task in self._cut:
            task.cancel()
        return len(self._cut)

    def was_cut(self) -> bool:
        """Whether the call of the current task was cancelled by `cut`."""
        return _current_task() in self._cut


def _current_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None  # grpc.aio makes one for each call
    return task


def wrap(calls: Calls, name: str, handler: Handler) -> Handler:
    """A handler that does the same inside our border.

    The messages of unary requests and answers are read and written inside it, so that one that cannot be read or
    written is reported like any other error.

    Args:
        calls: What the calls are counted in.
        name: Full name of the method, for example "/forms.v1.Forms/GetForm".
        handler: What the generated code made.

    Raises:
        ServicerRefused: The method is not async.
    """
    method, behavior, read = _Method(name, calls), _behavior(name, handler), _reader(handler.request_deserializer)
    streams_in, streams_out = handler.request_streaming, handler.response_streaming
    read_here = _as_it_is if streams_in else read
    call = (
        _streaming_call(method, behavior, read_here)
        if streams_out
        else _single_call(method, behavior, read_here, handler.response_serializer or _as_it_is)
    )
    return _MAKE[streams_in, streams_out](
        call,
        request_deserializer=read if streams_in else None,
        response_serializer=handler.response_serializer if streams_out else None,
    )


_MAKE: dict[tuple[bool, bool], Callable[..., Handler]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
"""By (request is streamed, answer is streamed)."""


def _single_call(method: _Method, behavior: Behavior, read: Converter, write: Converter) -> Behavior:
    async def call(request: Any, context: Context) -> Any:
        async with _Call(method, context):
            return write(await behavior(read(request), context))

    return call


def _streaming_call(method: _Method, behavior: Behavior, read: Converter) -> Behavior:
    async def call(request: Any, context: Context) -> None:
        async with _Call(method, context):
            await behavior(read(request), context)

    return call


def _behavior(name: str, handler: Handler) -> Behavior:
    """The servicer's method as a coroutine function; one that generates its answers writes them to the context.

    Generating them in the task of the call, a generator is closed at once when its client goes away.
    """
    behavior: Any = handler.stream_stream or handler.stream_unary or handler.unary_stream or handler.unary_unary
    if inspect.isasyncgenfunction(behavior):
        return _writing(behavior)
    if inspect.iscoroutinefunction(behavior):
        return cast(Behavior, behavior)
    if getattr(behavior, "__module__", "").endswith("_pb2_grpc"):
        return _unimplemented
    raise ServicerRefused(
        name.lstrip("/"),
        "is not async, and would hold up every other call while it runs",
        "Write `async def`; put what blocks into `await asyncio.to_thread(...)`.",
    )


def _writing(generate: Callable[[Any, Context], AsyncGenerator[Any, None]]) -> Behavior:
    async def behavior(request: Any, context: Context) -> None:
        async with aclosing(generate(request, context)) as answers:
            async for answer in answers:
                await context.write(answer)

    return behavior


async def _unimplemented(request: object, context: Context) -> None:
    """In place of what generated base classes do for methods that are not overridden: that is not async."""
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not implemented!")


class _Unreadable(Exception):
    """The bytes of a request are no message of its type."""


def _reader(deserialize: Converter | None) -> Converter:
    if deserialize is None:
        return _as_it_is

    def read(message: bytes) -> Any:
        try:
            return deserialize(message)
        except Exception as error:  # any codec's error means the same; the client is told
            raise _Unreadable from error

    return read


def _as_it_is(message: Any) -> Any:
    return message


class _Method:
    """What the calls of one method share."""

    __slots__ = ("_observers", "calls", "name")

    def __init__(self, name: str, calls: Calls) -> None:
        self.name = name
        self.calls = calls
        self._observers: dict[str, Callable[[float], None]] = {}

    def report(self, code: str, seconds: float) -> None:
        """Measure and log the end of one call."""
        if self.calls.seconds is not None:
            observe = self._observers.get(code)
            if observe is None:
                observe = self._observers[code] = self.calls.seconds.labels(self.name, code).observe
            observe(seconds)
        if self.calls.access_log:
            log.write("info", "request", {"method": self.name, "code": code, "duration_ms": int(seconds * 1e6) / 1000})


class _Call:
    """The border around one call: entered before the servicer's method, left after it, whatever happens."""

    __slots__ = ("_context", "_method", "_started", "_trailing")

    def __init__(self, method: _Method, context: Context) -> None:
        self._method = method
        self._context = context

    async def __aenter__(self) -> None:
        self._started = perf_counter()
        context, calls = self._context, self._method.calls
        calls.begin(context)
        request_id, trace_id = _identity(context)
        CONTEXT.set(
            {"request_id": request_id} if trace_id is None else {"request_id": request_id, "trace_id": trace_id}
        )
        DRAINING.set(calls.draining)
        self._trailing = ((REQUEST_ID, request_id),)
        context.set_trailing_metadata(self._trailing)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            if error is None:
                self._keep_request_id()
            elif isinstance(error, asyncio.CancelledError) and self._method.calls.was_cut():
                return await self._end(grpc.StatusCode.UNAVAILABLE, "The server is stopping; call again.")
            elif not must_pass(error) and not isinstance(error, grpc.aio.AbortError):
                return await self._recover(error)
            return False
        finally:
            self._method.calls.end()
            self._method.report(self._outcome(error), perf_counter() - self._started)

    def _keep_request_id(self) -> None:
        """Put the request id back among the trailing metadata that the servicer has set instead."""
        trailing = cast(Trailing, self._context.trailing_metadata())
        if trailing is not self._trailing:
            self._context.set_trailing_metadata((*trailing, *self._trailing))

    async def _recover(self, error: BaseException) -> bool:
        """End the call with a status that says nothing of the error, but that trying again may help; the log says all.

        A status that the servicer has set before it raised is kept.
        """
        if isinstance(error, _Unreadable):
            return await self._end(grpc.StatusCode.INTERNAL, "The request message could not be read.")
        code, details = grpc.StatusCode.INTERNAL, "The call failed; its request id leads to the reason in the log."
        if isinstance(error, Unavailable):
            code, details = grpc.StatusCode.UNAVAILABLE, str(error)
            warn_unserved("call not served", details, method=self._method.name)
        else:
            log.error("call failed", method=self._method.name, exc=error)
        if self._code_name() != "OK":
            return await self._end(self._context.code(), self._context.details())
        return await self._end(code, details)

    async def _end(self, code: grpc.StatusCode, details: str) -> bool:
        """Abort the call, which raises; or return True when the servicer has aborted it before."""
        with suppress(grpc.aio.UsageError):
            await self._context.abort(code, details)
        return True

    def _outcome(self, error: BaseException | None) -> str:
        """The name of the code that the call has ended with."""
        name = self._code_name()
        if error is None or name != "OK":
            return name
        if isinstance(error, Exception):  # it could not be said to the client any more
            return "INTERNAL"
        return "DEADLINE_EXCEEDED" if self._context.time_remaining() == 0 else "CANCELLED"

    def _code_name(self) -> str:
        """What has been set by the servicer or an abort."""
        return CODE_NAMES.get(self._context.code(), "UNKNOWN")


def _identity(context: Context) -> tuple[str, str | None]:
    """The call's request id, taken over or new, and the id of the trace that it belongs to."""
    request_id = trace_id = None
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID:
            request_id = accept_request_id(str(value))
        elif key == TRACEPARENT:
            trace_id = trace_id_of(str(value))
    return request_id or new_request_id(), trace_id
