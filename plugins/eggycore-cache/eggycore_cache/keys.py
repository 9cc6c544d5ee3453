"""Which keys a cache takes: the rule that fits every backend, so that no code depends on one of them."""

from __future__ import annotations

import re

from eggycore_cache.errors import BadKey

__all__ = ["NAMESPACE", "check_key"]

NAMESPACE = re.compile(r"[A-Za-z0-9_.-]{0,64}")
"""What a namespace may look like; the empty one adds nothing to keys."""

# Whitespace and control characters end a key in Memcached's protocol; \x80-\x9f are control characters too, and
# a lone surrogate has no UTF-8.
_FORBIDDEN = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def check_key(key: object) -> None:
    """Refuse what no backend could keep. The length is free: a backend that has a limit hashes longer keys.

    Raises:
        BadKey: It is not a text, it is empty, or it has a space, a control character or half a character in it.
    """
    if not isinstance(key, str):
        raise BadKey(key, f"is of type {type(key).__name__}, not str")
    if not key:
        raise BadKey(key, "is empty")
    if (found := _FORBIDDEN.search(key)) is not None:
        raise BadKey(key, f"has {found[0]!r} in it")
