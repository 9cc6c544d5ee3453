"""What goes wrong with a cache, and what a person is told about it."""

from __future__ import annotations

from dataclasses import dataclass

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import EggycoreError, Unavailable, UsageError

__all__ = [
    "BadKey",
    "BadValue",
    "CacheClosed",
    "CacheDown",
    "EncryptionKeyRefused",
    "FactoryCancelled",
    "FactoryNeedsItself",
    "NoCache",
    "NoSyncClient",
    "NotANumber",
    "NotSerializable",
    "PackageMissing",
    "UnknownSerializer",
    "ValueTooLarge",
]

MAKE_KEY = (
    'Make one: python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"; '
    "separate several by commas, the newest first."
)
"""How a person gets a key."""

SHOWN = 60
"""Characters of a key that a message shows."""


@dataclass(eq=False)
class BadKey(EggycoreError, ValueError):
    """A key that no cache takes."""

    key: object
    reason: str


@dataclass(eq=False)
class BadValue(EggycoreError, TypeError):
    """A value that is not bytes."""

    key: str
    type_name: str


@dataclass(eq=False)
class ValueTooLarge(EggycoreError, ValueError):
    """A value that does not fit into the cache, even alone.

    Args:
        key: Its key.
        size: Bytes of key and value.
        limit: Bytes that the cache holds.
        setting: The setting that says so, or "memcached -I" for the server's own.
    """

    key: str
    size: int
    limit: int
    setting: str


@dataclass(eq=False)
class CacheClosed(EggycoreError):
    """The cache was used after it was closed."""


@dataclass(eq=False)
class CacheDown(Unavailable):
    """The cache did not answer somebody who asked for an error then (`strict=True`), or for a `ping`.

    Args:
        server: Host and port, "" when it is not known which one.
        reason: Why, without user and password: "refused the connection".
    """

    server: str = ""
    reason: str = ""


@dataclass(eq=False)
class NotANumber(EggycoreError, ValueError):
    """`incr` of something that is no whole number."""

    key: str


@dataclass(eq=False)
class NotSerializable(EggycoreError, TypeError):
    """A value that the serializer cannot turn into bytes.

    Args:
        key: Its key.
        type_name: Type of the value.
        serializer: Name of the serializer.
        reason: What the serializer says.
    """

    key: str
    type_name: str
    serializer: str
    reason: str


@dataclass(eq=False)
class UnknownSerializer(UsageError):
    """A serializer was named that does not exist."""

    name: str


@dataclass(eq=False)
class PackageMissing(UsageError):
    """A package is not installed that this use of the cache needs.

    Args:
        package: Name of the distribution.
        extra: The extra of eggycore-cache that brings it.
        purpose: What needs it: "The serializer msgpack".
    """

    package: str
    extra: str
    purpose: str


@dataclass(eq=False)
class EncryptionKeyRefused(UsageError):
    """CACHE_ENCRYPTION_KEY is not made of Fernet keys. Holds nothing of them.

    Args:
        position: Which of the keys is wrong, from 1.
        count: How many there are.
    """

    position: int
    count: int


@dataclass(eq=False)
class FactoryCancelled(EggycoreError):
    """A factory was cancelled by itself or by what it awaited: nobody who waits for its value has asked for that."""

    key: str


@dataclass(eq=False)
class FactoryNeedsItself(EggycoreError):
    """A factory asked `get_or_set` for the very value that it makes, and would wait for itself.

    Args:
        key: The key that was asked for.
        by: The key whose factory asked, when the other one's waits for that; "" when it is the same.
    """

    key: str
    by: str = ""


@dataclass(eq=False)
class NoCache(EggycoreError):
    """The cache of this process was asked for where none is open."""


@dataclass(eq=False)
class NoSyncClient(EggycoreError):
    """`get_client` was called where the cache has no server."""


@diagnose.register
def _(error: BadKey) -> Diagnosis:
    return Diagnosis(
        description=f"The cache key {_shown(error.key)} {error.reason}.",
        action="Use a text of one character or more without spaces and control characters, for example 'form:7'.",
    )


@diagnose.register
def _(error: BadValue) -> Diagnosis:
    return Diagnosis(
        description=f"The value for the cache key {_shown(error.key)} is of type {error.type_name}, not bytes.",
        action="Encode it first, for example with orjson.dumps(value) or text.encode().",
    )


@diagnose.register
def _(error: ValueTooLarge) -> Diagnosis:
    return Diagnosis(
        description=f"The value for the cache key {_shown(error.key)} does not fit into the cache.",
        cause=f"With its key it has {error.size} bytes, and the cache holds {error.limit} ({error.setting}).",
        action=f"Raise {error.setting}, or cache something smaller.",
    )


@diagnose.register
def _(error: CacheClosed) -> Diagnosis:
    return Diagnosis(
        description="The cache is closed.",
        cause="It was used after the runtime had closed it.",
        action="Use it in handlers and services, which end before it closes.",
    )


@diagnose.register
def _(error: CacheDown) -> Diagnosis:
    where = f"{error.server}: " if error.server else ""
    return Diagnosis(
        description="The cache does not answer.",
        cause=f"{where}{error.reason or 'no answer'}.",
        action="Look at the server and at CACHE_URL: eggycore doctor",
    )


@diagnose.register
def _(error: NotANumber) -> Diagnosis:
    return Diagnosis(
        description=f"The value for the cache key {_shown(error.key)} is not a whole number, so nothing can be added.",
        action="Count under a key of its own, or delete this one first.",
    )


@diagnose.register
def _(error: NotSerializable) -> Diagnosis:
    return Diagnosis(
        description=f"The value for the cache key {_shown(error.key)} is of type {error.type_name}, which the "
        f"serializer {error.serializer} does not write.",
        cause=f"It says: {error.reason}.",
        action="Return plain data such as dict, list, str, int, float, bool and None, or use another serializer.",
    )


@diagnose.register
def _(error: UnknownSerializer) -> Diagnosis:
    return Diagnosis(
        description=f"There is no serializer {_shown(error.name)}.",
        action="Use json, raw or msgpack, or a Serializer of your own.",
    )


@diagnose.register
def _(error: PackageMissing) -> Diagnosis:
    return Diagnosis(
        description=f"{error.purpose} needs the package {error.package}, which is not installed.",
        action=f"pip install 'eggycore-cache[{error.extra}]'",
    )


@diagnose.register
def _(error: EncryptionKeyRefused) -> Diagnosis:
    which = (
        f"Key {error.position} of {error.count} in CACHE_ENCRYPTION_KEY" if error.count > 1 else "CACHE_ENCRYPTION_KEY"
    )
    return Diagnosis(
        description=f"{which} is not a Fernet key: 32 bytes in url-safe base64.",
        action=MAKE_KEY,
    )


@diagnose.register
def _(error: FactoryCancelled) -> Diagnosis:
    return Diagnosis(
        description=f"The factory of the cache key {_shown(error.key)} was cancelled.",
        cause="Something that it awaited was cancelled, or it cancelled itself.",
        action="Let it raise an error of its own where that can happen.",
    )


@diagnose.register
def _(error: FactoryNeedsItself) -> Diagnosis:
    key = _shown(error.key)
    if error.by:
        description = f"A factory that the cache key {key} waits for asks for the value of that key."
        cause = f"It is that of {_shown(error.by)}, and they would wait for each other."
    else:
        description = f"The factory of the cache key {key} asks for the value of that key."
        cause = "It would wait for itself."
    return Diagnosis(description=description, cause=cause, action="Have it compute the value, or ask for another key.")


@diagnose.register
def _(error: NoSyncClient) -> Diagnosis:
    return Diagnosis(
        description="There is no client of a cache server here.",
        cause="The cache is in the memory of this process.",
        action="Name a Memcached or Redis server in CACHE_URL, or await the methods of CacheService.",
    )


@diagnose.register
def _(error: NoCache) -> Diagnosis:
    return Diagnosis(
        description="There is no cache here.",
        cause="No runtime with the cache plugin runs here, and set_cache was not called.",
        action="Use it in handlers and services, or call eggycore_cache.connect() first in a script.",
    )


def _shown(key: object) -> str:
    text = repr(key)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
