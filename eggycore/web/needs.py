"""What a handler asks for: its parameters after the request, each with the type of a resource."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from types import CoroutineType, SimpleNamespace
from typing import Any, get_type_hints

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import UsageError

__all__ = ["Handler", "HandlerRefused", "Need", "name_of", "needs_of"]

Handler = Callable[..., Awaitable[object]]
"""`async def handler(request, ...)`: gets the request and its resources, returns what `to_response` understands."""


@dataclass(frozen=True)
class Need:
    """A resource that a handler is given.

    Args:
        parameter: Name of the handler's parameter.
        type_: The type under which the resource is provided.
    """

    parameter: str
    type_: type[Any]


@dataclass(eq=False)
class HandlerRefused(UsageError):
    """A function cannot serve as a handler.

    Args:
        handler: Its qualified name, "forms.api.read".
        reason: Why not, as the rest of a sentence that starts with the name.
        action: What to do.
    """

    handler: str
    reason: str
    action: str


@diagnose.register
def _(error: HandlerRefused) -> Diagnosis:
    return Diagnosis(description=f"Handler {error.handler} {error.reason}.", action=error.action)


def needs_of(handler: Handler) -> tuple[Need, ...]:
    """What the handler asks for, in the order of its parameters.

    The first parameter is the request, whatever it is called. Every other one without a default is a need; its
    annotation is a class, also under `from __future__ import annotations`.

    Raises:
        HandlerRefused: It is not async, takes no request, or has a parameter whose type cannot be told.
    """
    given: object = handler
    if isinstance(given, CoroutineType):
        given.close()
        name = given.__qualname__
        raise HandlerRefused(name, "is a coroutine, not a function", f"Hand over {name}, without calling it.")
    if not _is_async(handler):
        raise HandlerRefused(
            name_of(handler),
            "is not async, and would hold up every other request while it runs",
            "Write `async def`; put what blocks into `await asyncio.to_thread(...)`.",
        )
    parameters = list(inspect.signature(handler).parameters.values())
    if not parameters or parameters[0].kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD):
        raise HandlerRefused(name_of(handler), "takes no request", "Make `request` its first parameter.")
    return tuple(_needs(handler, parameters[1:]))


def name_of(handler: Callable[..., object]) -> str:
    """The handler's module and qualified name, for messages."""
    function = _function(handler)
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def _needs(handler: Handler, parameters: list[inspect.Parameter]) -> Iterator[Need]:
    for parameter in parameters:
        if parameter.default is not parameter.empty or parameter.kind in (
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.VAR_KEYWORD,
        ):
            continue
        yield Need(parameter.name, _resource_type(handler, parameter))


def _resource_type(handler: Handler, parameter: inspect.Parameter) -> type[Any]:
    name, annotation = parameter.name, parameter.annotation
    if annotation is parameter.empty:
        raise HandlerRefused(
            name_of(handler),
            f"has a parameter {name!r} without a type",
            f"Annotate {name!r} with the type of the resource it is to receive, or give it a default.",
        )
    resolved = _resolve(handler, parameter) if isinstance(annotation, str) else annotation
    if not isinstance(resolved, type):
        raise HandlerRefused(
            name_of(handler),
            f"has a parameter {name!r} of type {annotation}, which is not a class",
            "Annotate it with the class under which the resource is provided.",
        )
    return resolved


def _resolve(handler: Handler, parameter: inspect.Parameter) -> object:
    """The object that an annotation written as text stands for, without looking at the other annotations."""
    function = _function(handler)
    holder = SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        hints = get_type_hints(holder, globalns=getattr(function, "__globals__", {}), localns=_closure(function))
    except (NameError, AttributeError, SyntaxError) as error:
        raise HandlerRefused(
            name_of(handler),
            f"has a parameter {parameter.name!r} whose type {parameter.annotation!r} cannot be found: {error}",
            "Import the type when the module is loaded, not only under TYPE_CHECKING.",
        ) from None
    return hints[parameter.name]


def _closure(function: Callable[..., object]) -> dict[str, object]:
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    if code is None or cells is None:
        return {}
    return {name: cell.cell_contents for name, cell in zip(code.co_freevars, cells, strict=True)}


def _is_async(handler: Callable[..., object]) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004 - of an object


def _function(handler: Callable[..., object]) -> Callable[..., object]:
    """The function behind partials, decorators, methods and callable objects."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    handler = inspect.unwrap(handler)
    handler = getattr(handler, "__func__", handler)
    if hasattr(handler, "__globals__"):
        return handler
    return type(handler).__call__
