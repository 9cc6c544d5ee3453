"""What a person is told about a Redis that does not answer."""

from __future__ import annotations

import socket
import ssl
from typing import get_args

import pytest
import redis.exceptions as theirs

from eggycore.diagnostics import diagnose, render
from eggycore_cache.errors import CacheDown
from eggycore_cache.redis_errors import RedisTrouble, TroubleKind, trouble_of_connecting, trouble_of_reply

MESSAGES = {
    "busy": (
        "Redis at h:6379: a script has been running there for longer than busy-reply-threshold.",
        "End it with 'redis-cli SCRIPT KILL', and look for it in 'redis-cli SLOWLOG GET'.",
    ),
    "certificate": (
        "Redis at h:6379: its certificate is signed by no authority known here, has expired, or names another host.",
        "Set CACHE_TLS_CA to the file of its authority, and write the host in CACHE_URL as the certificate does.",
    ),
    "cluster-down": (
        "Redis at h:6379: the cluster has keys that no primary serves.",
        "See which with 'redis-cli --cluster check HOST:PORT', and bring the missing node back.",
    ),
    "closed": (
        "Redis at h:6379: it closed the connection while requests waited for their answers.",
        "See its log: it was restarted, failed over, or has run out of memory for its clients.",
    ),
    "clients": (
        "Redis at h:6379: it has as many connections as its maxclients allows.",
        "Raise maxclients, or see with 'redis-cli CLIENT LIST' who holds them.",
    ),
    "disk": (
        "Redis at h:6379: it cannot save to its disk, and refuses every change until it can.",
        "Make room on its disk, or turn saving off where it is only a cache: 'redis-cli CONFIG SET save \"\"'.",
    ),
    "full": (
        "Redis at h:6379: it has reached its maxmemory, and its policy lets nothing go.",
        "Set maxmemory-policy to allkeys-lru for a server that is only a cache, or raise maxmemory.",
    ),
    "loading": (
        "Redis at h:6379: it has just started and is still reading its data from disk.",
        "Wait until it is done; 'redis-cli INFO persistence' shows how far it is.",
    ),
    "master-down": (
        "Redis at h:6379: it is a replica that has lost its primary.",
        "Let CACHE_URL name the primary, or use redis+sentinel:// so that it is found.",
    ),
    "needless-password": (
        "Redis at h:6379: it has no password, and one was given.",
        "Leave the password out of CACHE_URL and CACHE_PASSWORD, or set requirepass at the server.",
    ),
    "no-cluster": (
        "Redis at h:6379: none of the servers in CACHE_URL could tell which node of the cluster serves which keys.",
        "See that one of them is up and has cluster-enabled yes, or leave ?cluster=true out of CACHE_URL.",
    ),
    "no-database": (
        "Redis at h:6379: it has no database of this number.",
        "Use a number below its setting 'databases', which is 16 unless it says otherwise.",
    ),
    "no-master": (
        "Redis at h:6379: none of the sentinels knows a primary of this name that is up.",
        "See 'redis-cli -p 26379 SENTINEL MASTERS' on one of them, and write the name in CACHE_URL as it stands there.",
    ),
    "no-password": (
        "Redis at h:6379: it asks for a password, and none was given.",
        "Set CACHE_PASSWORD, and CACHE_USER when it has users.",
    ),
    "no-permission": (
        "Redis at h:6379: its user may not run a command, or not with these keys.",
        "Allow it there: 'ACL SETUSER name ~* +@read +@write +@scripting +@connection +scan +info +dbsize'.",
    ),
    "other": (
        "Redis at h:6379: it refused a command.",
        "See its log and its version: Redis 6.2 or later is expected.",
    ),
    "overdue": (
        "Redis at h:6379: it did not answer in time, though the connection stands.",
        "See its load and slow log ('redis-cli SLOWLOG GET'), the network, and CACHE_TIMEOUT.",
    ),
    "protocol": (
        "Redis at h:6379: what answers there does not speak the protocol of Redis.",
        "See the host and port in CACHE_URL.",
    ),
    "read-only": (
        "Redis at h:6379: it is a replica and takes no changes, perhaps since a fail-over.",
        "Let CACHE_URL name the primary, or use redis+sentinel:// so that it is found.",
    ),
    "refused": (
        "Redis at h:6379: nothing listens there.",
        "Start the server, or correct the host and port in CACHE_URL.",
    ),
    "replicas": (
        "Redis at h:6379: it has fewer replicas than min-replicas-to-write asks for, and refuses every change.",
        "Bring its replicas back, or set min-replicas-to-write to 0.",
    ),
    "timeout": (
        "Redis at h:6379: no connection was made in time.",
        "See that the host is up, that no firewall drops the packets and that both sides agree on TLS.",
    ),
    "tls": (
        "Redis at h:6379: the encrypted connection could not be agreed on.",
        "Use redis:// for a server without TLS, rediss:// for one with it, and CACHE_TLS_CERTIFICATE if it asks.",
    ),
    "unknown-host": (
        "Redis at h:6379: the name of its host is not known.",
        "Correct the host in CACHE_URL, or see the name server.",
    ),
    "unreachable": (
        "Redis at h:6379: the connection failed on the way.",
        "See the network, the host and port in CACHE_URL, and that both sides agree on TLS.",
    ),
    "wrong-password": (
        "Redis at h:6379: it does not know this user or password.",
        "Correct CACHE_USER and CACHE_PASSWORD; percent-encode what is special in CACHE_URL.",
    ),
}


@pytest.mark.parametrize("kind", get_args(TroubleKind))
def test_each_trouble_is_told_with_cause_and_action(kind: TroubleKind) -> None:
    cause, action = MESSAGES[kind]
    trouble = RedisTrouble("h:6379", kind)
    assert render(diagnose(trouble)) == f"The cache does not answer.\n  cause:  {cause}\n  action: {action}"
    assert cause == f"Redis at h:6379: {trouble.reason}."
    assert isinstance(trouble, CacheDown)


@pytest.mark.parametrize(
    ("text", "kind", "fatal"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", "full", False),
        ("READONLY You can't write against a read only replica.", "read-only", True),
        ("LOADING Redis is loading the dataset in memory", "loading", True),
        ("NOAUTH Authentication required.", "no-password", True),
        ("WRONGPASS invalid username-password pair or user is disabled.", "wrong-password", True),
        ("NOPERM User app has no permissions to run the 'set' command", "no-permission", False),
        ("MISCONF Redis is configured to save RDB snapshots", "disk", True),
        ("NOREPLICAS Not enough good replicas to write.", "replicas", True),
        ("MASTERDOWN Link with MASTER is down", "master-down", True),
        ("CLUSTERDOWN The cluster is down", "cluster-down", True),
        ("BUSY Redis is busy running a script.", "busy", True),
        ("ERR max number of clients reached", "clients", True),
        ("ERR DB index is out of range", "no-database", True),
        ("ERR unknown command 'UNLINK', with args beginning with: 's3cret'", "other", False),
        ("", "other", False),
    ],
)
def test_an_error_reply_is_understood_and_not_repeated(text: str, kind: TroubleKind, fatal: bool) -> None:
    trouble = trouble_of_reply("h:6379", text)
    assert (trouble.kind, trouble.fatal) == (kind, fatal)
    assert "s3cret" not in f"{trouble!r}{render(diagnose(trouble))}"


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionRefusedError(111, "Connect call failed"), "refused"),
        (caused(theirs.ConnectionError("Error 111"), ConnectionRefusedError()), "refused"),
        (theirs.ConnectionError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1)"), "refused"),
        (caused(theirs.ConnectionError("Error -2"), socket.gaierror(-2, "Name or service not known")), "unknown-host"),
        (caused(theirs.ConnectionError("Error 1"), ssl.SSLCertVerificationError()), "certificate"),
        (caused(theirs.ConnectionError("Error 1"), ssl.SSLError()), "tls"),
        (theirs.TimeoutError("Timeout connecting to server"), "timeout"),
        (theirs.ConnectionError("Connection closed by server."), "unreachable"),
        (theirs.BusyLoadingError("Redis is loading"), "loading"),
        (theirs.AuthenticationError("invalid username-password pair"), "wrong-password"),
        (
            theirs.AuthenticationError("AUTH <password> called without any password configured for the default user."),
            "needless-password",
        ),
        (theirs.AuthenticationError("Authentication required."), "no-password"),
        (theirs.NoPermissionError("no permissions"), "no-permission"),
        (theirs.InvalidResponse("Protocol Error"), "protocol"),
        (theirs.ConnectionError("max number of clients reached"), "clients"),
        (theirs.ResponseError("DB index is out of range"), "no-database"),
        (theirs.ResponseError("MISCONF Redis is configured"), "disk"),
        (RuntimeError("what nobody thought of: s3cret"), "unreachable"),
    ],
)
def test_what_redis_py_raises_is_understood(error: Exception, kind: TroubleKind) -> None:
    trouble = trouble_of_connecting("h:6379", error)
    assert trouble.kind == kind
    assert "s3cret" not in f"{trouble!r}{render(diagnose(trouble))}"
