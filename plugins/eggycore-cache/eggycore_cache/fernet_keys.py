"""The keys of CACHE_ENCRYPTION_KEY: told apart and checked, without the library that uses them."""

from __future__ import annotations

import re

from eggycore_cache.errors import EncryptionKeyRefused

__all__ = ["checked_keys"]

# 32 bytes are 43 characters of base64 and one "=".
_KEY = re.compile(r"[A-Za-z0-9_-]{43}=")


def checked_keys(text: str) -> tuple[str, ...]:
    """The keys of a list separated by commas: the first encrypts, all decrypt.

    Raises:
        EncryptionKeyRefused: One of them is not a key; says which, and nothing of it.
    """
    keys = tuple(part.strip() for part in text.split(","))
    for position, key in enumerate(keys, 1):
        if not _KEY.fullmatch(key):
            raise EncryptionKeyRefused(position, len(keys))
    return keys
