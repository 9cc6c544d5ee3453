"""Where the cache is: the outcome of reading CACHE_URL. It may hold a password, so no message repeats a part."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import unquote_to_bytes

from eggycore.config import Secret
from eggycore.diagnostics import Diagnosis, diagnose, did_you_mean
from eggycore.errors import UsageError
from eggycore_cache.tls import Tls

__all__ = ["DEFAULT_PORTS", "MEMORY", "CacheTarget", "CacheUrlRefused", "Host", "Kind", "parse_servers", "parse_url"]

Kind: TypeAlias = Literal["memory", "memcached", "redis"]

Host: TypeAlias = tuple[str, int]
"""Name or address without brackets, and TCP port."""

MEMORY = "memory://"
DEFAULT_PORTS = {"memcached": 11211, "redis": 6379, "sentinel": 26379}
EXAMPLES = "memory://, memcached://host1:11211,host2:11211 or redis://:password@host:6379/0"

_SCHEMES = ("memory", "memcached", "redis", "rediss", "redis+sentinel", "rediss+sentinel")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?\]")
_PORT = re.compile(r"[0-9]{1,5}")
_DB = re.compile(r"[0-9]{1,4}")
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_PERCENT_HINT = "Percent-encode what is special in user and password: %40 for @, %2F for /, %3A for :, %23 for #."


@dataclass(frozen=True, kw_only=True)
class CacheTarget:
    """Where the cache is.

    Args:
        kind: What speaks there, or "memory" for this process.
        hosts: The servers; of Redis one, or any nodes of the cluster, or the sentinels.
        user: Who connects, "" for nobody in particular.
        password: Their password, None for none.
        db: Number of the Redis database.
        cluster: The hosts are nodes of a Redis Cluster.
        sentinel_master: Name of the group that the hosts watch as sentinels; "" when they are no sentinels.
        sentinel_user: Who connects to the sentinels, "" for nobody in particular.
        sentinel_password: The sentinels' own password, None for none.
        tls: How connections are encrypted, None for not at all.
    """

    kind: Kind
    hosts: tuple[Host, ...] = ()
    user: str = ""
    password: Secret[str] | None = None
    db: int = 0
    cluster: bool = False
    sentinel_master: str = ""
    sentinel_user: str = ""
    sentinel_password: Secret[str] | None = None
    tls: Tls | None = None

    @property
    def location(self) -> str:
        """Where it is, without user and password: "redis://h1:6379/0"."""
        if self.kind == "memory":
            return MEMORY
        servers = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        if self.kind == "memcached":
            return f"memcached://{servers}"
        scheme = ("rediss" if self.tls else "redis") + ("+sentinel" if self.sentinel_master else "")
        group = f"/{self.sentinel_master}" if self.sentinel_master else ""
        return f"{scheme}://{servers}{group}/{self.db}{'?cluster=true' if self.cluster else ''}"

    def __str__(self) -> str:
        return self.location


@dataclass(eq=False)
class CacheUrlRefused(UsageError):
    """A cache URL cannot be used. Holds nothing of the URL itself but the name of a well-known scheme."""

    reason: str
    action: str


@diagnose.register
def _(error: CacheUrlRefused) -> Diagnosis:
    return Diagnosis(description=f"The cache URL {error.reason}.", action=error.action)


def parse_url(url: str) -> CacheTarget:
    """The cache that a URL names.

    Args:
        url: `memory://`, `memcached://h1:11211,h2:11211`, `redis://user:password@host:6379/0` (`rediss://` over TLS),
            `redis://h1,h2,h3/0?cluster=true`, or `redis+sentinel://h1:26379,h2:26379/group/0`, whose options
            `sentinel_user` and `sentinel_password` are for the sentinels. User and password are percent-decoded.

    Raises:
        CacheUrlRefused: It names another kind of cache or does not parse.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise CacheUrlRefused("is not a URL", f"Write it as {EXAMPLES}.")
    scheme = scheme.lower()
    if scheme not in _SCHEMES:
        hint = ", perhaps a misspelt one" if did_you_mean(scheme, _SCHEMES) else ""
        raise CacheUrlRefused(f"names a kind of cache that is not known{hint}", f"Write it as {EXAMPLES}.")
    if scheme == "memory":
        return _memory(rest)
    parts = _split(rest)
    return _memcached(parts) if scheme == "memcached" else _redis(scheme, parts)


def parse_servers(servers: Sequence[str]) -> CacheTarget:
    """Memcached servers from a list of "host" or "host:port", as CACHE_SERVERS has them.

    Raises:
        CacheUrlRefused: One of them is not a host.
    """
    return CacheTarget(kind="memcached", hosts=_hosts(",".join(servers), DEFAULT_PORTS["memcached"]))


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What stands after the scheme."""

    user: str
    password: Secret[str] | None
    hosts: str
    path: str
    options: Mapping[str, str] = field(repr=False)


def _memory(rest: str) -> CacheTarget:
    if rest:
        raise CacheUrlRefused("has something after memory://, which takes nothing", f"Write {MEMORY} alone.")
    return CacheTarget(kind="memory")


def _memcached(parts: _Parts) -> CacheTarget:
    if parts.path or parts.options:
        raise CacheUrlRefused(
            "has something after its Memcached servers, which take no path and no options",
            f"Write it as memcached://host1:11211,host2:11211. {_PERCENT_HINT}",
        )
    hosts = _hosts(parts.hosts, DEFAULT_PORTS["memcached"])
    return CacheTarget(kind="memcached", hosts=hosts, user=parts.user, password=parts.password)


def _redis(scheme: str, parts: _Parts) -> CacheTarget:
    sentinel = scheme.endswith("+sentinel")
    _check_options(parts.options, ("sentinel_user", "sentinel_password") if sentinel else ("cluster", "db"))
    hosts = _hosts(parts.hosts, DEFAULT_PORTS["sentinel" if sentinel else "redis"])
    cluster = _truth(parts.options.get("cluster", "false"))
    group, db = _group_and_db(parts) if sentinel else ("", _db(parts.path or parts.options.get("db", "")))
    if len(hosts) > 1 and not (cluster or sentinel):
        raise CacheUrlRefused(
            "names several Redis servers and does not say what they are to each other",
            "Add ?cluster=true for a cluster, or use redis+sentinel://host1,host2/group/0 for sentinels.",
        )
    if cluster and db:
        raise CacheUrlRefused("names a database of a Redis Cluster, which has only number 0", "Leave the number out.")
    password = parts.options.get("sentinel_password")
    return CacheTarget(
        kind="redis",
        hosts=hosts,
        user=parts.user,
        password=parts.password,
        db=db,
        cluster=cluster,
        sentinel_master=group,
        sentinel_user=parts.options.get("sentinel_user", ""),
        sentinel_password=Secret(password) if password else None,
        tls=Tls(mode="verify-full") if scheme.startswith("rediss") else None,
    )


def _split(rest: str) -> _Parts:
    if "#" in rest:
        raise CacheUrlRefused("has a # in it", _PERCENT_HINT)
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    credentials, at, hosts = authority.rpartition("@")
    user, colon, password = credentials.partition(":")
    if not at and "@" in f"{path}{query}":
        raise CacheUrlRefused("has an @ after its servers, so its password is cut short", _PERCENT_HINT)
    return _Parts(
        user=_decoded(user),
        password=Secret(_decoded(password)) if colon and password else None,
        hosts=hosts,
        path=path,
        options=_options(query),
    )


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for item in filter(None, query.split("&")):
        name, _, value = item.partition("=")
        if name in options:
            raise CacheUrlRefused("has the same option twice", "Keep one of them.")
        options[name] = _decoded(value)
    return options


def _check_options(options: Mapping[str, str], known: Sequence[str]) -> None:
    if any(name not in known for name in options):
        raise CacheUrlRefused(
            "has an option that is not known", f"The options here are {' and '.join(known)}. {_PERCENT_HINT}"
        )


def _hosts(text: str, default_port: int) -> tuple[Host, ...]:
    hosts = tuple(_host(item.strip(), default_port) for item in text.split(",")) if text else ()
    if not hosts:
        raise CacheUrlRefused("names no server", f"Write it as {EXAMPLES}.")
    if len(set(hosts)) != len(hosts):
        raise CacheUrlRefused("names a server twice", "Name each once.")
    return hosts


def _host(text: str, default_port: int) -> Host:
    end = text.find("]") if text.startswith("[") else text.find(":") - 1
    name, rest = (text[: end + 1], text[end + 1 :]) if end >= 0 else (text, "")
    if not _HOST.fullmatch(name):
        raise CacheUrlRefused(
            "has a host that is neither a name nor an address",
            f"Write each server as host:port, an IPv6 address in brackets. {_PERCENT_HINT}",
        )
    return name.strip("[]").lower(), _port(rest, default_port)


def _port(text: str, default_port: int) -> int:
    if not text:
        return default_port
    digits = text.removeprefix(":")
    if digits == text or not _PORT.fullmatch(digits) or not 1 <= int(digits) <= 65535:
        raise CacheUrlRefused(
            "has a port that is not a number from 1 to 65535", f"Write each server as host:port. {_PERCENT_HINT}"
        )
    return int(digits)


def _group_and_db(parts: _Parts) -> tuple[str, int]:
    group, _, db = parts.path.partition("/")
    if not group:
        raise CacheUrlRefused(
            "does not name the group that its sentinels watch",
            "Write it as redis+sentinel://host1:26379,host2:26379/group/0.",
        )
    return _decoded(group), _db(db)


def _db(text: str) -> int:
    if not text:
        return 0
    if not _DB.fullmatch(text):
        raise CacheUrlRefused(
            "has a database that is not a number", f"Write it as redis://host:6379/0. {_PERCENT_HINT}"
        )
    return int(text)


def _truth(text: str) -> bool:
    if (truth := _TRUTH.get(text.lower())) is None:
        raise CacheUrlRefused("has an option cluster that is neither true nor false", "Write ?cluster=true.")
    return truth


def _decoded(text: str) -> str:
    raw = unquote_to_bytes(text)
    try:
        decoded = raw.decode()
    except UnicodeDecodeError:
        raise CacheUrlRefused("is not UTF-8 once it is percent-decoded", "Write it in UTF-8.") from None
    if any(character in decoded for character in "\0\r\n"):
        raise CacheUrlRefused("has a line break or null character in it", "Leave it out.")
    return decoded
