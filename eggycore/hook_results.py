"""What hooks may return: flattens the answers of one plugin and finds the first of a wrong type."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import NamedTuple

from eggycore.adapters import InitializerLike, ServiceLike
from eggycore.types import HealthCheck, Initializer, Service

__all__ = ["UnexpectedResult", "expectation", "flatten"]


class UnexpectedResult(TypeError):
    """A hook returned a value that it may not. The text is the name of its type; the value may be a secret."""


class _Expectation(NamedTuple):
    words: str
    fits: Callable[[object], bool]


def flatten(hook: str, answer: object) -> list[object]:
    """The answer of a hook as a list: None is nothing, iterables and generators are followed.

    Raises:
        UnexpectedResult: The answer, or something in it, is not what the hook may return.
    """
    return list(_flat(_EXPECTATIONS[hook].fits, answer))


def expectation(hook: str) -> str:
    """What a hook may return, in words: "an Initializer, several of them, or None"."""
    return _EXPECTATIONS[hook].words


def _flat(fits: Callable[[object], bool], answer: object) -> Iterator[object]:
    if answer is None:
        return
    if fits(answer):
        yield answer
    elif isinstance(answer, Iterable) and not isinstance(answer, str | bytes | dict | type):
        for item in answer:
            yield from _flat(fits, item)
    else:
        name = f"type[{answer.__qualname__}]" if isinstance(answer, type) else type(answer).__qualname__
        raise UnexpectedResult(name)


def _is_settings(answer: object) -> bool:
    from eggycore.config import Settings

    return isinstance(answer, type) and issubclass(answer, Settings)


def _is_initializer(answer: object) -> bool:
    return isinstance(answer, Initializer) or (isinstance(answer, InitializerLike) and not isinstance(answer, type))


def _is_service(answer: object) -> bool:
    return isinstance(answer, Service) or (isinstance(answer, ServiceLike) and not isinstance(answer, type))


_EXPECTATIONS = {
    "register_settings": _Expectation("a Settings class, several of them, or None", _is_settings),
    "init_infra": _Expectation("an Initializer, several of them, or None", _is_initializer),
    "register_services": _Expectation("a Service, several of them, or None", _is_service),
    "register_health_checks": _Expectation(
        "a HealthCheck, several of them, or None", lambda answer: isinstance(answer, HealthCheck)
    ),
    "check_config": _Expectation("None; it raises ConfigRefused to refuse", lambda _: False),
    "config_changed": _Expectation("None or an awaitable", lambda answer: isinstance(answer, Awaitable)),
}
