"""What a server still has to forget: the deletions that could not be delivered to it."""

from __future__ import annotations

__all__ = ["Owed"]

MAX_KEYS = 10_000
MAX_KEYS_WITHOUT_NAMESPACE = 100_000
MAX_PREFIXES = 100


class Owed:
    """Keys and prefixes to forget before a server is used again. Bounded.

    Past `MAX_KEYS` everything under the namespace is owed instead. Without a namespace that would take other apps'
    data along; then it keeps more keys, and past that lets go of the oldest: a stale value may return until its time
    to live ends.

    Args:
        namespace: What all keys of this cache begin with, "" when there is none.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._keys: dict[str, int] = {}
        self._prefixes: dict[str, int] = {}
        self._number = 0

    def __bool__(self) -> bool:
        return bool(self._keys or self._prefixes)

    @property
    def keys(self) -> dict[str, int]:
        """The keys, each with the number to settle it by."""
        return self._keys

    @property
    def prefixes(self) -> dict[str, int]:
        """The prefixes, likewise."""
        return self._prefixes

    def add(self, key: str) -> int:
        """Owe a key; the number to settle it by."""
        self._number += 1
        if not self._namespace or self._namespace not in self._prefixes:
            self._keys.pop(key, None)  # to the end: the youngest
            self._keys[key] = self._number
            self._bound()
        return self._number

    def add_prefix(self, prefix: str) -> int:
        """Owe every key that begins with this text; the number to settle it by."""
        self._number += 1
        self._prefixes.pop(prefix, None)
        self._prefixes[prefix] = self._number
        if len(self._prefixes) > MAX_PREFIXES:
            if self._namespace:
                self._owe_everything()
            else:
                del self._prefixes[next(iter(self._prefixes))]
        return self._number

    def settle(self, key: str, number: int) -> None:
        """The key has been forgotten there; unless it was owed anew since."""
        if self._keys.get(key) == number:
            del self._keys[key]

    def settle_prefix(self, prefix: str, number: int) -> None:
        """The keys that begin with this text have been forgotten there; unless owed anew since."""
        if self._prefixes.get(prefix) == number:
            del self._prefixes[prefix]

    def take(self) -> tuple[list[str], list[str]]:
        """All keys and prefixes, which are then no longer owed here."""
        taken = list(self._keys), list(self._prefixes)
        self._keys.clear()
        self._prefixes.clear()
        return taken

    def _bound(self) -> None:
        if self._namespace:
            if len(self._keys) > MAX_KEYS:
                self._owe_everything()
        elif len(self._keys) > MAX_KEYS_WITHOUT_NAMESPACE:
            del self._keys[next(iter(self._keys))]

    def _owe_everything(self) -> None:
        """Everything under the namespace, which must not be empty."""
        self._keys.clear()
        self._prefixes.clear()
        self._prefixes[self._namespace] = self._number
