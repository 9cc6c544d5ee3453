"""A real runtime on free ports, with clients to it, for the length of a block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from eggycore import entry_points
from eggycore.boot import CodeApp
from eggycore.runtime import Runtime
from eggycore.types import Service

if TYPE_CHECKING:
    import grpc.aio
    from aiohttp import ClientSession

    from eggycore.adapters import ServiceLike

__all__ = ["Running", "running"]

DEFAULTS = {
    "BIND_HOST": "127.0.0.1",
    "BUSINESS_HTTP_PORT": "0",
    "BUSINESS_GRPC_PORT": "0",
    "HEALTH_CHECK_PORT": "0",
    "METRICS_PORT": "0",
    "CONFIG_WATCH": "false",  # a test says when it reloads
}


@dataclass(eq=False)
class Running:
    """A runtime that is READY, and clients to it.

    Args:
        runtime: The runtime itself.
    """

    runtime: Runtime
    _serving: asyncio.Task[int]
    _stack: AsyncExitStack
    _sessions: dict[str, ClientSession] = field(default_factory=dict)

    @property
    def http(self) -> ClientSession:
        """A client of the business HTTP server: `await running.http.get("/forms/1")`."""
        return self._session("http")

    @property
    def health(self) -> ClientSession:
        """A client of the probes: `await running.health.get("/readyz")`."""
        return self._session("HEALTH_CHECK_PORT")

    @property
    def metrics(self) -> ClientSession:
        """A client of the monitoring plugin: `await running.metrics.get("/metrics")`."""
        return self._session("METRICS_PORT")

    async def channel(self) -> grpc.aio.Channel:
        """A new channel to the gRPC server, closed with the block."""
        import grpc.aio

        host, port = self.runtime.addresses["grpc"]
        return await self._stack.enter_async_context(grpc.aio.insecure_channel(f"{host}:{port}"))

    async def stop(self, reason: str = "the test is over") -> int:
        """Stop it as SIGTERM would, and wait. Idempotent.

        Returns:
            The exit code.

        Raises:
            Exception: What ended the runtime, if it did not stop cleanly.
        """
        for session in self._sessions.values():
            await session.close()
        self.runtime.request_stop(reason)
        return await self._serving

    def _session(self, name: str) -> ClientSession:
        from aiohttp import ClientSession

        if name not in self._sessions:
            host, port = self.runtime.addresses[name]
            self._sessions[name] = ClientSession(f"http://{host}:{port}")
        return self._sessions[name]


@asynccontextmanager
async def running(
    app: object | str | None = None,
    *,
    plugins: Sequence[object | str] = (),
    settings: Mapping[str, str] | None = None,
    services: Sequence[Service | ServiceLike] = (),
    folder: Path | None = None,
) -> AsyncIterator[Running]:
    """Start a runtime on free ports of the loopback, wait until it is READY, and stop it at the end of the block.

    Nothing is discovered, the process environment is not read and no file is watched: what is not given here has its
    default.

    Args:
        app: The app: a module, an object with hookimpls, or a module's name; None for none.
        plugins: Names of installed plugins, or objects with hookimpls.
        settings: Variables, as in the environment.
        services: Services given in code, beside those of the app.
        folder: Working folder of the runtime, where `.env` is looked for.

    Raises:
        Exception: Whatever made the start fail, or the runtime end.

    Example:
        >>> from eggycore import hookimpl
        >>> from eggycore.testing import running
        >>> class App:
        ...     @hookimpl
        ...     def register_services(self, runtime):
        ...         async def hello(request):
        ...             return {"hello": "world"}
        ...         runtime.http.get("/hello", hello)
        >>> async def test_hello():
        ...     async with running(App()) as service:
        ...         response = await service.http.get("/hello")
        ...         assert await response.json() == {"hello": "world"}
    """
    runtime = Runtime(
        app=app,
        objects=[*map(_named, plugins), ("services", CodeApp(services))],
        environ=DEFAULTS | {"SERVICE_NAME": "test"} | dict(settings or {}),
        folder=folder,
        discover=False,
    )
    launcher = runtime.launcher
    serving = asyncio.create_task(runtime.serve(), name="eggycore runtime under test")
    ready = asyncio.create_task(launcher.ready.wait())
    try:
        await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
            raise AssertionError("the runtime stopped before it was ready")
        async with AsyncExitStack() as stack:
            service = Running(runtime, serving, stack)
            try:
                yield service
            finally:
                for session in service._sessions.values():
                    await session.close()
        if not serving.done():
            runtime.request_stop("the test is over")
            await serving
    finally:
        ready.cancel()
        if not serving.done():
            serving.cancel()
        await asyncio.wait({serving, ready})


def _named(plugin: object | str) -> tuple[str, object]:
    if not isinstance(plugin, str):
        name = getattr(plugin, "__name__", type(plugin).__name__)
        return name.removesuffix(".plugin").removeprefix("eggycore_"), plugin
    found = [entry for entry in entry_points.find(entry_points.PLUGINS) if entry.name == plugin]
    if not found:
        raise LookupError(f"no installed distribution offers a plugin named {plugin!r}")
    return plugin, entry_points.load(found[0].value)
