"""Why a Redis server does not answer, and what a person is told about it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import redis.exceptions as theirs

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore_cache.errors import CacheDown

__all__ = ["RedisTrouble", "TroubleKind", "trouble_of_connecting", "trouble_of_reply"]

TroubleKind: TypeAlias = Literal[
    "busy",
    "certificate",
    "cluster-down",
    "closed",
    "clients",
    "disk",
    "full",
    "loading",
    "master-down",
    "needless-password",
    "no-cluster",
    "no-database",
    "no-master",
    "no-password",
    "no-permission",
    "other",
    "overdue",
    "protocol",
    "read-only",
    "refused",
    "replicas",
    "timeout",
    "tls",
    "unknown-host",
    "unreachable",
    "wrong-password",
]

_TOLD: dict[TroubleKind, tuple[str, str]] = {
    "busy": (
        "A script has been running there for longer than busy-reply-threshold",
        "End it with 'redis-cli SCRIPT KILL', and look for it in 'redis-cli SLOWLOG GET'.",
    ),
    "certificate": (
        "Its certificate is signed by no authority known here, has expired, or names another host",
        "Set CACHE_TLS_CA to the file of its authority, and write the host in CACHE_URL as the certificate does.",
    ),
    "cluster-down": (
        "The cluster has keys that no primary serves",
        "See which with 'redis-cli --cluster check HOST:PORT', and bring the missing node back.",
    ),
    "closed": (
        "It closed the connection while requests waited for their answers",
        "See its log: it was restarted, failed over, or has run out of memory for its clients.",
    ),
    "clients": (
        "It has as many connections as its maxclients allows",
        "Raise maxclients, or see with 'redis-cli CLIENT LIST' who holds them.",
    ),
    "disk": (
        "It cannot save to its disk, and refuses every change until it can",
        "Make room on its disk, or turn saving off where it is only a cache: 'redis-cli CONFIG SET save \"\"'.",
    ),
    "full": (
        "It has reached its maxmemory, and its policy lets nothing go",
        "Set maxmemory-policy to allkeys-lru for a server that is only a cache, or raise maxmemory.",
    ),
    "loading": (
        "It has just started and is still reading its data from disk",
        "Wait until it is done; 'redis-cli INFO persistence' shows how far it is.",
    ),
    "master-down": (
        "It is a replica that has lost its primary",
        "Let CACHE_URL name the primary, or use redis+sentinel:// so that it is found.",
    ),
    "needless-password": (
        "It has no password, and one was given",
        "Leave the password out of CACHE_URL and CACHE_PASSWORD, or set requirepass at the server.",
    ),
    "no-cluster": (
        "None of the servers in CACHE_URL could tell which node of the cluster serves which keys",
        "See that one of them is up and has cluster-enabled yes, or leave ?cluster=true out of CACHE_URL.",
    ),
    "no-database": (
        "It has no database of this number",
        "Use a number below its setting 'databases', which is 16 unless it says otherwise.",
    ),
    "no-master": (
        "None of the sentinels knows a primary of this name that is up",
        "See 'redis-cli -p 26379 SENTINEL MASTERS' on one of them, and write the name in CACHE_URL as it stands there.",
    ),
    "no-password": (
        "It asks for a password, and none was given",
        "Set CACHE_PASSWORD, and CACHE_USER when it has users.",
    ),
    "no-permission": (
        "Its user may not run a command, or not with these keys",
        "Allow it there: 'ACL SETUSER name ~* +@read +@write +@scripting +@connection +scan +info +dbsize'.",
    ),
    "other": ("It refused a command", "See its log and its version: Redis 6.2 or later is expected."),
    "overdue": (
        "It did not answer in time, though the connection stands",
        "See its load and slow log ('redis-cli SLOWLOG GET'), the network, and CACHE_TIMEOUT.",
    ),
    "protocol": ("What answers there does not speak the protocol of Redis", "See the host and port in CACHE_URL."),
    "read-only": (
        "It is a replica and takes no changes, perhaps since a fail-over",
        "Let CACHE_URL name the primary, or use redis+sentinel:// so that it is found.",
    ),
    "refused": ("Nothing listens there", "Start the server, or correct the host and port in CACHE_URL."),
    "replicas": (
        "It has fewer replicas than min-replicas-to-write asks for, and refuses every change",
        "Bring its replicas back, or set min-replicas-to-write to 0.",
    ),
    "timeout": (
        "No connection was made in time",
        "See that the host is up, that no firewall drops the packets and that both sides agree on TLS.",
    ),
    "tls": (
        "The encrypted connection could not be agreed on",
        "Use redis:// for a server without TLS, rediss:// for one with it, and CACHE_TLS_CERTIFICATE if it asks.",
    ),
    "unknown-host": ("The name of its host is not known", "Correct the host in CACHE_URL, or see the name server."),
    "unreachable": (
        "The connection failed on the way",
        "See the network, the host and port in CACHE_URL, and that both sides agree on TLS.",
    ),
    "wrong-password": (
        "It does not know this user or password",
        "Correct CACHE_USER and CACHE_PASSWORD; percent-encode what is special in CACHE_URL.",
    ),
}

_BY_CODE: dict[str, TroubleKind] = {
    "BUSY": "busy",
    "CLUSTERDOWN": "cluster-down",
    "LOADING": "loading",
    "MASTERDOWN": "master-down",
    "MISCONF": "disk",
    "NOAUTH": "no-password",
    "NOPERM": "no-permission",
    "NOREPLICAS": "replicas",
    "OOM": "full",
    "READONLY": "read-only",
    "WRONGPASS": "wrong-password",
}

_HARMLESS = frozenset({"full", "no-permission", "other"})
"""A server that says this still answers what else it is asked."""


@dataclass(eq=False)
class RedisTrouble(CacheDown):
    """A Redis server did not answer, or refused what it was asked.

    Args:
        server: Host and port, or the name of the group of servers; without user and password.
        kind: What is the matter. The reason follows from it.
    """

    reason: str = field(init=False, default="")
    kind: TroubleKind = "other"

    def __post_init__(self) -> None:
        cause = _TOLD[self.kind][0]
        self.reason = cause[0].lower() + cause[1:]

    @property
    def fatal(self) -> bool:
        """Whether nothing useful can be asked of the server now."""
        return self.kind not in _HARMLESS


@diagnose.register
def _(error: RedisTrouble) -> Diagnosis:
    action = _TOLD[error.kind][1]
    return Diagnosis(
        description="The cache does not answer.", cause=f"Redis at {error.server}: {error.reason}.", action=action
    )


def trouble_of_reply(server: str, text: str) -> RedisTrouble:
    """What an error reply means. Its text may repeat arguments, so nothing of it is kept."""
    kind = _BY_CODE.get(text.partition(" ")[0], "other")
    if kind == "other" and text.startswith("ERR max number of clients"):
        kind = "clients"
    elif kind == "other" and "DB index" in text:
        kind = "no-database"
    return RedisTrouble(server, kind)


def trouble_of_connecting(server: str, error: BaseException) -> RedisTrouble:
    """What an exception of redis-py or of the network means."""
    return RedisTrouble(server, _kind_of(error))


def _kind_of(error: BaseException) -> TroubleKind:
    for cause in _chain(error):
        if (kind := _kind_of_one(cause)) is not None:
            return kind
    return "unreachable"


def _kind_of_one(error: BaseException) -> TroubleKind | None:
    text = str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return "certificate"
    if isinstance(error, ssl.SSLError):
        return "tls"
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in text:
        return "refused"
    if type(error).__name__ == "gaierror":
        return "unknown-host"
    if isinstance(error, TimeoutError | theirs.TimeoutError):
        return "timeout"
    if isinstance(error, theirs.BusyLoadingError):
        return "loading"
    if "without any password configured" in text:
        return "needless-password"
    if isinstance(error, theirs.AuthenticationWrongNumberOfArgsError | theirs.AuthenticationError):
        return "no-password" if text.startswith("NOAUTH") or "required" in text.lower() else "wrong-password"
    if isinstance(error, theirs.NoPermissionError):
        return "no-permission"
    if isinstance(error, theirs.InvalidResponse):
        return "protocol"
    if "max number of clients" in text:
        return "clients"
    if "DB index" in text or "Invalid Database" in text:
        return "no-database"
    if isinstance(error, theirs.ResponseError):
        return _BY_CODE.get(text.partition(" ")[0])
    return None


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what it came from; the innermost first, which knows best."""
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__ or current.__context__
    return found[::-1]
