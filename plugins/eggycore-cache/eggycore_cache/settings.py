"""The settings of the cache plugin."""

from __future__ import annotations

from collections.abc import Iterable

from eggycore.config import Duration, Secret, Settings, Size, env
from eggycore.diagnostics import did_you_mean
from eggycore.errors import ConfigProblem
from eggycore_cache.keys import NAMESPACE

__all__ = ["CacheSettings"]

MEMORY = "memory://"
SERVERS = {"memcached": "Memcached", "redis": "Redis", "rediss": "Redis"}


class CacheSettings(Settings):
    """Where values are kept, how many, and how long."""

    url: Secret[str] = env(
        "CACHE_URL", default=MEMORY, default_doc=MEMORY, doc="The cache: memory:// keeps values in this process."
    )
    ttl: Duration | None = env(
        "CACHE_TTL",
        default=None,
        default_doc="no end",
        doc="How long a value is kept when the code does not say, for example 10m.",
    )
    namespace: str = env(
        "CACHE_NAMESPACE",
        default="",
        allow_empty=True,
        doc="Put before every key, so that apps can share a server: letters, digits, dot, underscore, hyphen.",
    )
    max_entries: int = env(
        "CACHE_MAX_ENTRIES", default=100_000, ge=1, doc="The most values that memory:// keeps in this process."
    )
    max_size: Size = env(
        "CACHE_MAX_SIZE", default=64_000_000, ge=1, doc="The most bytes of keys and values that memory:// keeps."
    )

    def problems(self) -> Iterable[ConfigProblem]:
        """What is wrong across the settings."""
        if (reason := _refused(self.url.reveal())) is not None:
            yield ConfigProblem(
                key="CACHE_URL", reason=reason, action=f"Use {MEMORY}, which keeps values in this process."
            )
        if self.ttl == 0:
            yield ConfigProblem(
                key="CACHE_TTL",
                value="0s",
                reason="keeps nothing",
                action="Leave it out to keep values without an end, or give a time above 0.",
            )
        if not NAMESPACE.fullmatch(self.namespace):
            yield ConfigProblem(
                key="CACHE_NAMESPACE",
                value=self.namespace,
                reason="not made of at most 64 letters, digits, dots, underscores and hyphens",
                action="Choose a short name, for example that of the app.",
            )


def _refused(url: str) -> str | None:
    """Why a URL cannot be used, without a part of it, which may be a password; None when it can."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "not a URL"
    scheme = scheme.lower()
    if server := SERVERS.get(scheme.partition("+")[0]):
        return f"names a {server} server, and this version of eggycore-cache keeps values in memory only"
    if scheme != "memory":
        hint = ", perhaps a misspelt memory://" if did_you_mean(scheme, ["memory"]) else ""
        return f"names a kind of cache that is not known{hint}"
    return "has something after memory://, which takes nothing" if rest else None
