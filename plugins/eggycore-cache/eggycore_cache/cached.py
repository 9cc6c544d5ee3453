"""`@cached`: an async function whose results are kept in the current runtime's cache."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial, update_wrapper
from string import Formatter
from typing import Any, Generic, ParamSpec, TypeVar, cast
from urllib.parse import quote

from eggycore_cache.current import get_cache
from eggycore_cache.serializers import SerializerChoice

__all__ = ["CachedFunction", "cached"]

P = ParamSpec("P")
R = TypeVar("R")


class CachedFunction(Generic[P, R]):
    """What `@cached` makes of a function: awaited like it, and its results can be dropped."""

    def __init__(
        self,
        function: Callable[P, Awaitable[R]],
        keep: _Keep,
        bound: tuple[Any, ...] = (),
    ) -> None:
        update_wrapper(self, function)
        self._function = function
        self._keep = keep
        self._bound = bound

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of the cache, else that of the function."""
        values = self._keep.values_of((*self._bound, *args), kwargs)
        result: R = await get_cache().get_or_set(
            self._keep.key(values),
            partial(cast("Callable[..., Awaitable[R]]", self._function), *self._bound, *args, **kwargs),
            self._keep.ttl,
            tags=self._keep.tags_of(values),
            stale=self._keep.stale,
            serializer=self._keep.serializer,
        )
        return result

    def __get__(self, instance: object, owner: type | None = None) -> CachedFunction[..., R]:
        """As a method: the object comes first in the arguments, and is part of the key only if the key names it."""
        return self if instance is None else CachedFunction(self._function, self._keep, (instance,))

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Under which key the result for these arguments is kept."""
        return self._keep.key(self._keep.values_of((*self._bound, *args), kwargs))

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Drop the result for these arguments; whether there was one."""
        return await get_cache().delete(self.key(*args, **kwargs))


class _Keep:
    """Under which key, for how long and with which tags results are kept."""

    def __init__(
        self,
        function: Callable[..., object],
        key: str,
        tags: Sequence[str],
        ttl: float | None,
        stale: float | None,
        serializer: SerializerChoice | None,
    ) -> None:
        self._signature = inspect.signature(function)
        self._key = key
        self._tags = tuple(tags)
        self.ttl = ttl
        self.stale = stale
        self.serializer = serializer
        for template in (key, *self._tags):
            _check_template(template, self._signature, function)

    def values_of(self, args: tuple[object, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The function's arguments by name, with its defaults."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def key(self, values: dict[str, Any]) -> str:
        """The key; what an argument brings along cannot look like another argument."""
        return _KEYS.vformat(self._key, (), values)

    def tags_of(self, values: dict[str, Any]) -> list[str]:
        """The tags, with arguments as they are."""
        return [tag.format_map(values) for tag in self._tags]


class _Keys(Formatter):
    """Percent-encodes what stands for an argument: spaces, ":" and "%" too, letters of any script not."""

    def format_field(self, value: object, format_spec: str) -> str:
        text: str = super().format_field(value, format_spec)
        return "".join(one if one.isalnum() or one in "-_.~" else quote(one, safe="") for one in text)


_KEYS = _Keys()


def cached(
    ttl: float | None = None,
    *,
    key: str,
    tags: Sequence[str] = (),
    stale: float | None = None,
    serializer: SerializerChoice | None = None,
) -> Callable[[Callable[P, Awaitable[R]]], CachedFunction[P, R]]:
    """Decorator: keep the results of an async function. A result None is not kept.

    Args:
        ttl: Seconds, as in `CacheService.get_or_set`.
        key: Under which key, with arguments in braces: "form:{form_id}". What it puts in is percent-encoded, and a
            text: 7 and "7" are one key unless it is written as "{form_id!r}".
        tags: Tags, likewise, with the arguments as they are.
        stale: As in `CacheService.get_or_set`.
        serializer: As in `CacheService.get_or_set`.

    Raises:
        TypeError: The function is not async, or a name in braces is not one of its arguments.

    Example:
        >>> @cached(ttl=60, key="form:{form_id}", tags=("form:{form_id}",))
        ... async def form(form_id: int) -> dict[str, int]:
        ...     return {"id": form_id}
        >>> form.key(7)
        'form:7'
    """

    def decorate(function: Callable[P, Awaitable[R]]) -> CachedFunction[P, R]:
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"{function.__qualname__} is not an async function; use get_or_set for others")
        return CachedFunction(function, _Keep(function, key, tags, ttl, stale, serializer))

    return decorate


def _check_template(template: str, signature: inspect.Signature, function: Callable[..., object]) -> None:
    for _, name, _, _ in Formatter().parse(template):
        root = name and name.partition(".")[0].partition("[")[0]
        if name is not None and root not in signature.parameters:
            known = ", ".join(signature.parameters) or "none"
            raise TypeError(
                f"{{{name}}} in {template!r} is not an argument of {function.__qualname__}; its arguments are: {known}"
            )
