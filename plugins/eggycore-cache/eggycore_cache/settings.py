"""The settings of the cache plugin."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from eggycore.config import Duration, Secret, Settings, Size, env
from eggycore.errors import ConfigProblem
from eggycore_cache.access import Access
from eggycore_cache.errors import MAKE_KEY, EncryptionKeyRefused
from eggycore_cache.fernet_keys import checked_keys
from eggycore_cache.keys import NAMESPACE
from eggycore_cache.targets import MEMORY, CacheTarget, CacheUrlRefused, parse_servers, parse_url
from eggycore_cache.tls import Tls, TlsMode

__all__ = ["CachePolicy", "CacheSettings"]


class CacheSettings(Settings):
    """Where values are kept, and how the servers are reached."""

    url: Secret[str] = env(
        "CACHE_URL",
        also=("REDIS_URL",),
        default=MEMORY,
        default_doc=MEMORY,
        reload=True,
        costly=True,
        doc="The cache: memory:// (in this process), memcached://host1:11211,host2:11211, "
        "redis://user:password@host:6379/0 (rediss:// over TLS), redis://host1,host2/0?cluster=true or "
        "redis+sentinel://host1,host2:26379/group/0. A reload changes user and password only.",
    )
    servers: tuple[str, ...] = env(
        "CACHE_SERVERS", default=(), doc="Memcached servers, host:port separated by commas, in place of CACHE_URL."
    )
    user: str = env(
        "CACHE_USER",
        default="",
        default_doc="that of the URL",
        allow_empty=True,
        reload=True,
        costly=True,
        doc="Who connects; wins over the URL.",
    )
    password: Secret[str] | None = env(
        "CACHE_PASSWORD",
        default=None,
        default_doc="that of the URL",
        reload=True,
        costly=True,
        doc="Their password; wins over the URL.",
    )
    tls: TlsMode | None = env(
        "CACHE_TLS",
        default=None,
        default_doc="verify-full for rediss://, else disable",
        doc="Whether connections are encrypted; verify-full also checks the certificate and the host's name.",
    )
    tls_ca: Path | None = env(
        "CACHE_TLS_CA",
        default=None,
        default_doc="the system's",
        contents=True,
        costly=True,
        doc="File with the certificates of those who may sign the server's.",
    )
    tls_certificate: Path | None = env(
        "CACHE_TLS_CERTIFICATE",
        default=None,
        contents=True,
        costly=True,
        doc="File with this client's certificate, for servers that ask for one.",
    )
    tls_key: Path | None = env(
        "CACHE_TLS_KEY",
        default=None,
        contents=True,
        costly=True,
        doc="File with its key, unless that is in the certificate's file.",
    )
    max_idle_conns: int = env(
        "CACHE_MAX_IDLE_CONNS",
        default=2,
        ge=1,
        le=64,
        doc="Connections that are kept open to each Memcached server; to each Redis server it is always one.",
    )
    timeout: Duration = env(
        "CACHE_TIMEOUT",
        default=0.5,
        ge=0.001,
        reload=True,
        doc="How long an answer of a server may take; then it is a miss.",
    )
    connect_timeout: Duration = env(
        "CACHE_CONNECT_TIMEOUT",
        default=1.0,
        ge=0.001,
        reload=True,
        doc="How long connecting to a server may take.",
    )
    namespace: str = env(
        "CACHE_NAMESPACE",
        default="",
        allow_empty=True,
        doc="Put before every key, so that apps can share a server: letters, digits, dot, underscore, hyphen.",
    )
    kinds: tuple[str, ...] = env(
        "CACHE_KINDS",
        default=(),
        doc="Kinds of values with settings of their own, separated by commas: forms has CACHE_FORMS_TTL and so on.",
    )
    max_size: Size = env(
        "CACHE_MAX_SIZE",
        default=64_000_000,
        ge=1,
        reload=True,
        costly=True,
        doc="The most bytes of keys and values kept in this process.",
    )
    max_factories: int = env(
        "CACHE_MAX_FACTORIES",
        default=10,
        ge=1,
        doc="How many values are computed at once while the cache does not answer; the others wait for their turn.",
    )
    local: bool = env(
        "CACHE_LOCAL", default=False, doc="Whether a copy in this process stands in front of the servers for a moment."
    )
    local_ttl: Duration = env(
        "CACHE_LOCAL_TTL", default=5.0, ge=0.001, doc="How long such a copy is used at most; it may be stale so long."
    )
    encryption_key: Secret[str] | None = env(
        "CACHE_ENCRYPTION_KEY",
        default=None,
        doc="Fernet key that encrypts values on servers; of several, separated by commas, the first one encrypts.",
    )
    warm_up_timeout: Duration = env(
        "CACHE_WARM_UP_TIMEOUT",
        default=30.0,
        ge=0.001,
        doc="How long the start waits for functions that fill the cache.",
    )

    @property
    def target(self) -> CacheTarget:
        """Where the cache is.

        Raises:
            CacheUrlRefused: The URL or a server of CACHE_SERVERS cannot be used.
        """
        url = self.url.reveal()
        target = parse_servers(self.servers) if self.servers and url == MEMORY else parse_url(url)
        if target.kind == "memory":
            return target
        return dataclasses.replace(
            target,
            user=self.user or target.user,
            password=self.password or target.password,
            tls=self._tls(target),
        )

    @property
    def access(self) -> Access:
        """How its servers are reached.

        Raises:
            CacheUrlRefused: As `target` does.
        """
        target = self.target
        return Access(
            user=target.user,
            password=target.password,
            tls=target.tls,
            timeout=self.timeout,
            connect_timeout=self.connect_timeout,
        )

    def _tls(self, target: CacheTarget) -> Tls | None:
        mode = self.tls or ("disable" if target.tls is None else target.tls.mode)
        if mode == "disable":
            return None
        return Tls(mode=mode, ca=self.tls_ca, certificate=self.tls_certificate, key=self.tls_key)

    def problems(self) -> Iterable[ConfigProblem]:
        """What is wrong across the settings."""
        try:
            target = self.target
        except CacheUrlRefused as refused:
            in_list = self.servers and self.url.reveal() == MEMORY
            yield ConfigProblem(
                key="CACHE_SERVERS" if in_list else "CACHE_URL", reason=f"it {refused.reason}", action=refused.action
            )
        else:
            yield from self._problems_of(target)
        if not NAMESPACE.fullmatch(self.namespace):
            yield ConfigProblem(
                key="CACHE_NAMESPACE",
                value=self.namespace,
                reason="not made of at most 64 letters, digits, dots, underscores and hyphens",
                action="Choose a short name, for example that of the app.",
            )
        if self.encryption_key is not None:
            yield from _key_problems(self.encryption_key)

    def _problems_of(self, target: CacheTarget) -> Iterable[ConfigProblem]:
        if self.servers and self.url.reveal() != MEMORY:
            yield ConfigProblem(
                key="CACHE_SERVERS",
                reason="CACHE_URL (or REDIS_URL) says where the cache is, too",
                action="Set one of them.",
            )
        if self.tls == "disable" and self.url.reveal().lower().startswith("rediss"):
            yield ConfigProblem(
                key="CACHE_TLS",
                value="disable",
                reason="CACHE_URL asks for TLS with rediss://",
                action="Write redis:// there, or leave CACHE_TLS out.",
            )
        if target.kind == "memory" and self.local:
            yield ConfigProblem(
                key="CACHE_LOCAL",
                value="true",
                reason="the cache is in this process already",
                action="Leave it out, or name a server in CACHE_URL.",
            )
        if self.tls_key is not None and self.tls_certificate is None:
            yield ConfigProblem(
                key="CACHE_TLS_KEY",
                value=str(self.tls_key),
                reason="there is no certificate that it belongs to",
                action="Set CACHE_TLS_CERTIFICATE too.",
            )


class CachePolicy(Settings, family="CACHE_KINDS", prefix="CACHE_"):
    """How long values are kept and how many: all of them, and those of each kind."""

    ttl: Duration | None = env(
        "CACHE_TTL",
        default=None,
        default_doc="no end",
        reload=True,
        own=True,
        doc="How long a value is kept when the code does not say, for example 10m.",
    )
    max_entries: int | None = env(
        "CACHE_MAX_ENTRIES",
        default=None,
        default_doc="100000",
        ge=1,
        reload=True,
        costly=True,
        own=True,
        doc="The most values that are kept in this process.",
    )
    stale: Duration | None = env(
        "CACHE_STALE",
        default=None,
        default_doc="0s",
        reload=True,
        own=True,
        doc="How long after its time a computed value is still served while a new one is made.",
    )
    ttl_jitter: float | None = env(
        "CACHE_TTL_JITTER",
        default=None,
        default_doc="0.1",
        ge=0,
        le=0.9,
        reload=True,
        own=True,
        doc="Part of the time, at most, that is taken off at random: computed values do not expire all at once.",
    )

    def problems(self) -> Iterable[ConfigProblem]:
        """What is wrong across the settings."""
        if self.ttl == 0:
            yield ConfigProblem(
                key="CACHE_TTL",
                value="0s",
                reason="keeps nothing",
                action="Leave it out to keep values without an end, or give a time above 0.",
            )


def _key_problems(keys: Secret[str]) -> Iterable[ConfigProblem]:
    try:
        checked_keys(keys.reveal())
    except EncryptionKeyRefused as refused:
        which = f"key {refused.position} of {refused.count} is" if refused.count > 1 else "it is"
        yield ConfigProblem(
            key="CACHE_ENCRYPTION_KEY", reason=f"{which} not a Fernet key: 32 bytes in url-safe base64", action=MAKE_KEY
        )
