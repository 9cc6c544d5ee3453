"""How typed values become bytes and values again: json, raw, msgpack, or one of your own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeAlias

import orjson

from eggycore_cache.errors import PackageMissing, UnknownSerializer

__all__ = ["Serializer", "SerializerChoice", "serializer_for"]


class Serializer(Protocol):
    """Turns values into bytes and back. What `loads` raises is a miss, what `dumps` raises reaches the caller."""

    @property
    def name(self) -> str:
        """Kept with each value: one that another serializer wrote is a miss. Change it when the format changes."""

    def dumps(self, value: Any, /) -> bytes:
        """The bytes of a value; raises TypeError or ValueError for one that it cannot write."""

    def loads(self, data: bytes, /) -> Any:
        """The value of these bytes."""


SerializerChoice: TypeAlias = Literal["json", "raw", "msgpack"] | Serializer


class _Json:
    """orjson, but no type that would come back as another one when that can be told: no dataclass, no datetime."""

    name = "json"
    _options = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS

    def dumps(self, value: object, /) -> bytes:
        return orjson.dumps(value, option=self._options)

    def loads(self, data: bytes, /) -> object:
        return orjson.loads(data)


class _Raw:
    """Bytes as they are."""

    name = "raw"

    def dumps(self, value: object, /) -> bytes:
        if not isinstance(value, bytes):
            raise TypeError(f"not bytes: {type(value).__name__}")
        return value

    def loads(self, data: bytes, /) -> object:
        return data


class _MessagePack:
    """msgpack: bytes and non-text keys come back as they were."""

    name = "msgpack"

    def __init__(self) -> None:
        try:
            import msgpack  # type: ignore[import-untyped]  # it has no types, and no stubs
        except ModuleNotFoundError:
            raise PackageMissing("msgpack", "msgpack", "The serializer msgpack") from None
        self._packb: Callable[[object], bytes] = msgpack.packb
        self._unpackb: Callable[..., object] = msgpack.unpackb

    def dumps(self, value: object, /) -> bytes:
        return self._packb(value)

    def loads(self, data: bytes, /) -> object:
        return self._unpackb(data, strict_map_key=False)


_MAKERS: dict[str, Callable[[], Serializer]] = {"json": _Json, "raw": _Raw, "msgpack": _MessagePack}
_MADE: dict[str, Serializer] = {}


def serializer_for(choice: SerializerChoice) -> Serializer:
    """The serializer of this name, or the one that was given.

    Raises:
        UnknownSerializer: There is none of this name.
        PackageMissing: Its library is not installed.
    """
    if not isinstance(choice, str):
        return choice
    if (made := _MADE.get(choice)) is None:
        if (make := _MAKERS.get(choice)) is None:
            raise UnknownSerializer(choice)
        made = _MADE[choice] = make()
    return made
