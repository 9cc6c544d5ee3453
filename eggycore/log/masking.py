"""Keeps secrets out of lines: fields are masked by name, passwords inside URLs and texts by shape."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from enum import Enum, IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["MASK", "Verdict", "mask_text", "mask_urls", "masked", "masked_field", "masked_fields", "verdict"]

MASK = "******"
"""Stands in place of every secret, whatever its length."""

DEPTH_LIMIT = 8
"""Containers nested deeper than this are shown as "..."."""

ITEMS_LIMIT = 1000
"""Items of one container that are shown."""

VALUE_ITEMS_LIMIT = 10_000
"""Items of all containers inside one value that are shown: objects that hold each other would have no end of them."""


class Verdict(IntEnum):
    """What is to be done with a value because of its name."""

    PLAIN = 0
    COUNT_OR_SECRET = 1
    """`tokens`: a number counts them, a text is them."""
    SECRET = 2


_SECRET_WORDS = frozenset(
    {
        "password",
        "passwd",
        "passphrase",
        "pwd",
        "secret",
        "token",
        "authorization",
        "auth",
        "credential",
        "cookie",
        "dsn",
        "jwt",
        "sessionid",
        "otp",
        "bearer",
        "apikey",
        "accesskey",
        "secretkey",
        "privatekey",
    }
)
_SECRET_WORD_ENDINGS = ("password", "passwd", "secret", "token", "apikey")
"""PGPASSWORD and authtoken are one word."""
_PLURALS = frozenset({"tokens", "secrets", "passwords", "cookies", "credentials", "dsns", "apikeys", "jwts", "pass"})
_SECRET_PAIRS = frozenset(
    {
        "api_key",
        "api_keys",
        "access_key",
        "private_key",
        "signing_key",
        "encryption_key",
        "master_key",
        "account_key",
        "shared_key",
        "session_id",
        "session_key",
        "connection_string",
        "conn_string",
    }
)
_HARMLESS_ENDINGS = frozenset(
    {
        "count",
        "counts",
        "total",
        "limit",
        "length",
        "len",
        "size",
        "min",
        "max",
        "mean",
        "rate",
        "ratio",
        "budget",
        "used",
        "left",
        "remaining",
        "age",
        "ttl",
        "type",
        "kind",
        "expiry",
        "expires",
        "expired",
        "expiration",
        "at",
        "seconds",
        "ms",
        "valid",
        "invalid",
        "required",
        "enabled",
        "present",
        "missing",
        "changed",
        "rotated",
        "version",
        "policy",
        "algorithm",
        "alg",
        "scheme",
        "endpoint",
        "file",
        "path",
        "method",
        "status",
        "error",
        "reason",
        "name",
        "names",
        "issuer",
        "audience",
        "provider",
        "backend",
        "source",
        "store",
        "per",
        "url",
        "uri",
        "host",
        "port",
    }
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

# What follows "://user:" up to the last "@" before a space, a quote or another URL; a port is not a password.
_URL_PASSWORD = re.compile(r"""(?<=://)([^\s/?#:@"'<>]*):(?!\d{1,5}[/?#,\s])((?:(?!://)[^\s"'<>])*)@""")
_NAMED_VALUE = re.compile(
    r"(?i)(password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|secret[_-]?key|private[_-]?key)"
    r"""(["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;&'")}\]]+)"""
)
_HEADER_VALUE = re.compile(
    r"""(?i)((?:set-)?cookie|authorization)(["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\r\n"']+)""",
)
# A signature (X-Amz-Signature, sig) opens what the URL names, as a password does.
# Case is ignored inside only: a search for what may be either case would look at every character of a long text.
_PARAMETER = re.compile(
    r"([?&#;](?i:[^=&?#;\s]{0,64}(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|secret[_-]?key"
    r"""|private[_-]?key|signature)|sig)=)[^&\s#"'<>]+"""
)
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}")

_VERDICTS_LIMIT = 4096
_verdicts: dict[str, Verdict] = {}

_NUMBERS = (int, float)
_UNTOUCHED = frozenset({int, float, bool, type(None)})


def verdict(name: str) -> Verdict:
    """Whether a field of this name holds a secret. Whole words decide, and the last word can clear the name.

    Example:
        >>> [verdict(name).name for name in ("db_password", "accessToken", "token_count", "tokens", "compass")]
        ['SECRET', 'SECRET', 'PLAIN', 'COUNT_OR_SECRET', 'PLAIN']
    """
    known = _verdicts.get(name)
    if known is None:
        if len(_verdicts) >= _VERDICTS_LIMIT:  # names made from data must not grow it for ever
            _verdicts.clear()
        known = _verdicts[name] = _judge(name)
    return known


def _judge(name: str) -> Verdict:
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in _HARMLESS_ENDINGS or words[0] in ("has", "is", "needs"):
        return Verdict.PLAIN
    if not _SECRET_WORDS.isdisjoint(words) or any(word.endswith(_SECRET_WORD_ENDINGS) for word in words):
        return Verdict.SECRET
    if any(f"{first}_{second}" in _SECRET_PAIRS for first, second in itertools.pairwise(words)):
        return Verdict.SECRET
    return Verdict.PLAIN if _PLURALS.isdisjoint(words) else Verdict.COUNT_OR_SECRET


def masked_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """A copy of the fields with every secret masked, also in nested containers."""
    return {name: masked_field(name, value) for name, value in fields.items()}


def masked_field(name: str, value: object) -> object:
    """The value of a field as it may be shown. None and booleans tell nothing and stay."""
    try:
        return _masked_by_name(name, value, 0, itertools.count())
    except Exception as failure:  # noqa: BLE001 - as in `masked`
        return _unreadable(value, failure)


def masked(value: object) -> object:
    """The value with secrets masked. Containers and dataclasses are copied; other objects are returned as they are."""
    try:
        return _masked(value, 0, itertools.count())
    except Exception as failure:  # noqa: BLE001 - containers of others; a log call must survive one that cannot be read
        return _unreadable(value, failure)


def _unreadable(value: object, failure: Exception) -> str:
    return f"<{type(value).__name__}: reading it raised {type(failure).__name__}>"


def _masked_by_name(name: str, value: object, depth: int, seen: itertools.count[int]) -> object:
    match verdict(name):
        case Verdict.PLAIN:
            return _masked(value, depth, seen)
        case Verdict.SECRET if value is not None and not isinstance(value, bool):
            return MASK
        case Verdict.COUNT_OR_SECRET if value is not None and not isinstance(value, _NUMBERS):
            return MASK
    return value


def _masked(value: object, depth: int, seen: itertools.count[int]) -> object:
    if value.__class__ in _UNTOUCHED:
        return value
    if isinstance(value, str):
        return mask_urls(value)
    if isinstance(value, Mapping):
        return _masked_mapping(value, depth, seen)
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # a named tuple
        return _masked_mapping(dict(zip(value._fields, value, strict=True)), depth, seen)
    if isinstance(value, list | tuple | AbstractSet):
        return _masked_items(value, depth, seen)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _masked_mapping(_attributes(value), depth, seen)
    return _masked(value.value, depth, seen) if isinstance(value, Enum) else value


def _attributes(instance: DataclassInstance) -> dict[object, object]:
    """The fields of a dataclass; one that has no value yet is left out."""
    names = [field.name for field in dataclasses.fields(instance)]
    return {name: getattr(instance, name) for name in names if hasattr(instance, name)}


def _masked_mapping(value: Mapping[object, object], depth: int, seen: itertools.count[int]) -> object:
    if depth >= DEPTH_LIMIT:
        return "..."
    shown: dict[str, object] = {}
    items = list(itertools.islice(value.items(), ITEMS_LIMIT))  # at once: other threads may change the mapping
    for number, (key, item) in enumerate(items):
        if next(seen) >= VALUE_ITEMS_LIMIT:
            return {**shown, "...": f"{len(value) - number} more"}
        name = key if isinstance(key, str) else str(key)
        shown[mask_urls(name)] = _masked_by_name(name, item, depth + 1, seen)
    return {**shown, "...": f"{len(value) - ITEMS_LIMIT} more"} if len(value) > ITEMS_LIMIT else shown


def _masked_items(
    value: list[object] | tuple[object, ...] | AbstractSet[object], depth: int, seen: itertools.count[int]
) -> object:
    if depth >= DEPTH_LIMIT:
        return "..."
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str | bytes):
        # Headers and forms come as pairs too: ("Authorization", "Bearer ...").
        return [_masked(value[0], depth + 1, seen), _masked_by_name(str(value[0]), value[1], depth + 1, seen)]
    shown: list[object] = []
    for item in list(itertools.islice(value, ITEMS_LIMIT)):
        if next(seen) >= VALUE_ITEMS_LIMIT:
            break
        shown.append(_masked(item, depth + 1, seen))
    return [*shown, f"... {len(value) - len(shown)} more"] if len(value) > len(shown) else shown


def mask_urls(text: str) -> str:
    """The text with passwords and secret parameters of the URLs in it masked: `postgres://app:******@db/forms`.

    A path with a query (`/forms?token=******`) and a query alone (`token=******&page=2`) are found too.
    """
    if "://" in text and "@" in text:
        text = _URL_PASSWORD.sub(rf"\1:{MASK}@", text)
    # The mark in front makes a query alone begin as one in a URL does.
    return _PARAMETER.sub(rf"\1{MASK}", f"?{text}")[1:] if "=" in text else text


def mask_text(text: str) -> str:
    """A text written by others, with URL passwords, `password=...` pairs, headers and bearer tokens masked.

    Costs microseconds: for messages of libraries and exceptions, not for those of the hot path.
    """
    text = mask_urls(text)
    if "=" in text or ":" in text:
        text = _HEADER_VALUE.sub(rf"\1\2{MASK}", text)
        text = _NAMED_VALUE.sub(rf"\1\2{MASK}", text)
    return _BEARER.sub(rf"\1 {MASK}", text) if "Bearer " in text or "Basic " in text else text
