"""Objects in the style of the Go library, with async start/stop or init/close, as services and initializers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, runtime_checkable

from eggycore.types import Control, Initializer, Service

__all__ = ["Closeable", "InitializerLike", "ServiceLike", "as_initializer", "as_service"]


@runtime_checkable
class ServiceLike(Protocol):
    """Anything with async `start()` and `stop()`; `start()` returns once it serves."""

    async def start(self) -> object:
        """Begin to serve, then return."""

    async def stop(self) -> object:
        """Finish what is in flight, then return."""


@runtime_checkable
class InitializerLike(Protocol):
    """Anything with async `init()`, and perhaps an async `close()`."""

    async def init(self) -> object:
        """Open."""


@runtime_checkable
class Closeable(Protocol):
    """The optional other half of `InitializerLike`."""

    async def close(self) -> object:
        """Close what `init()` opened."""


def as_service(service: Service | ServiceLike, *, name: str = "") -> Service:
    """The service itself, or an object with async `start()` and `stop()` as one.

    Args:
        service: What to adapt.
        name: Name of the adapted service; the object's `name`, or its class name, when empty.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(service, Service):
        return service
    if not isinstance(service, ServiceLike):
        raise TypeError(
            f"{type(service).__qualname__} is neither a Service nor an object with async start() and stop()"
        )

    async def run(control: Control) -> None:
        await service.start()
        control.started()
        await control.stopping.wait()
        await service.stop()

    return Service(name=name or _name_of(service), run=run)


def as_initializer(initializer: Initializer[object] | InitializerLike, *, name: str = "") -> Initializer[object]:
    """The initializer itself, or an object with async `init()` (and perhaps `close()`); it provides its own type.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(initializer, Initializer):
        return initializer
    if not isinstance(initializer, InitializerLike):
        raise TypeError(f"{type(initializer).__qualname__} is neither an Initializer nor an object with async init()")

    @asynccontextmanager
    async def opened() -> AsyncIterator[object]:
        await initializer.init()
        try:
            yield initializer
        finally:
            if isinstance(initializer, Closeable):
                await initializer.close()

    return Initializer(name=name or _name_of(initializer), open=opened, provides=type(initializer))


def _name_of(thing: object) -> str:
    name = getattr(thing, "name", "")
    return name if isinstance(name, str) and name else type(thing).__name__
