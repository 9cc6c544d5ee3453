"""What is wrong between the settings of a database, and between databases. No message holds a secret."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os.path import normpath
from pathlib import Path
from typing import TYPE_CHECKING

from eggycore.config.units import format_duration
from eggycore.errors import ConfigError, ConfigProblem
from eggycore_db.dsn import DsnRefused, parse_dsn
from eggycore_db.places import has_parts, replica_texts, target_of, tls_mode
from eggycore_db.targets import ServerTarget, SqliteTarget, Target

if TYPE_CHECKING:
    from eggycore_db.settings import DatabaseSettings

__all__ = ["check_databases", "database_problems", "shared_databases"]

_TLS_FILES = {"tls_ca": "DATABASE_TLS_CA", "tls_certificate": "DATABASE_TLS_CERTIFICATE", "tls_key": "DATABASE_TLS_KEY"}
_HERE = frozenset({"127.0.0.1", "::1", "localhost"})


def database_problems(settings: DatabaseSettings) -> Iterator[ConfigProblem]:
    """What is wrong with the settings of one database."""
    yield from _limit_problems(settings)
    place_problems = list(_place_problems(settings))
    yield from place_problems
    if place_problems:
        return
    try:
        target = target_of(settings)
    except DsnRefused as refused:
        yield _refusal("DATABASE_DSN", refused) if settings.dsn is not None else _refused_part(settings, refused)
        return
    if isinstance(target, SqliteTarget):
        yield from _embedded_problems(settings)
    else:
        yield from _tls_problems(settings, target)
    yield from _replica_problems(settings, target)


def shared_databases(databases: Iterable[DatabaseSettings]) -> Iterator[ConfigProblem]:
    """A problem for each database that another one is already.

    Args:
        databases: The settings of those that are used; each is free of problems by itself.
    """
    seen: dict[tuple[object, ...], DatabaseSettings] = {}
    for settings in databases:
        target = target_of(settings)
        identity = _identity(target)
        if identity is not None and (first := seen.setdefault(identity, settings)) is not settings:
            yield _same_database(first.member, settings, target)


def check_databases(databases: Iterable[DatabaseSettings]) -> None:
    """See that no two databases are one and the same.

    Args:
        databases: The settings of those that are used; each is free of problems by itself.

    Raises:
        ConfigError: Two of them are.
    """
    if problems := tuple(shared_databases(databases)):
        raise ConfigError(problems)


def _same_database(first: str, settings: DatabaseSettings, target: Target) -> ConfigProblem:
    key = "DATABASE_NAME" if settings.dsn is None and has_parts(settings) else "DATABASE_DSN"
    other = f"the database {first}" if first else "the database without a name"
    return ConfigProblem(
        key=_of_member(key, settings.member),
        reason=f"it is {target.location}, and so is {other}",
        action=f"Name another database, or use {other} for both.",
    )


def _of_member(key: str, member: str) -> str:
    return f"DATABASE_{member.upper()}_{key.removeprefix('DATABASE_')}" if member else key


def _identity(target: Target) -> tuple[object, ...] | None:
    """What two targets have in common that are one database; None for one that is nobody else's."""
    if isinstance(target, SqliteTarget):
        return None if target.path is None else ("sqlite", normpath(Path.cwd() / target.path))
    host = target.host.lower().rstrip(".")
    place = str(target.socket) if target.socket is not None else "localhost" if host in _HERE else host
    return target.kind, place, target.port, target.name


def _limit_problems(settings: DatabaseSettings) -> Iterator[ConfigProblem]:
    if settings.min_conns > settings.max_open_conns:
        yield ConfigProblem(
            key="DATABASE_MIN_CONNS",
            value=str(settings.min_conns),
            reason=f"more than DATABASE_MAX_OPEN_CONNS, which is {settings.max_open_conns}",
            action="Set DATABASE_MIN_CONNS to at most DATABASE_MAX_OPEN_CONNS.",
        )
    if settings.query_timeout and settings.query_timeout < settings.statement_timeout:
        yield ConfigProblem(
            key="DATABASE_QUERY_TIMEOUT",
            value=format_duration(settings.query_timeout),
            reason=f"less than DATABASE_STATEMENT_TIMEOUT, which is {format_duration(settings.statement_timeout)}",
            action="Leave DATABASE_QUERY_TIMEOUT out, or set it higher: the server is to give up first.",
        )


def _place_problems(settings: DatabaseSettings) -> Iterator[ConfigProblem]:
    """What is wrong with the way in which the place is given, before it is looked at."""
    parts = {
        "DATABASE_HOST": settings.host,
        "DATABASE_PORT": settings.port,
        "DATABASE_NAME": settings.name,
        "DATABASE_USER": settings.user,
        "DATABASE_PASSWORD": settings.password,
    }
    given = [key for key, value in parts.items() if value is not None]
    if settings.dsn is not None and given:
        yield ConfigProblem(
            key="DATABASE_DSN",
            reason=f"set, and so {'is' if len(given) == 1 else 'are'} {_listed(given)}",
            action="Leave out DATABASE_DSN, or the others: where the database is, is said once.",
        )
    elif has_parts(settings):
        for key in ("DATABASE_HOST", "DATABASE_NAME", "DATABASE_USER"):
            short = "" if settings.member else f" (or {key.replace('DATABASE_', 'DB_')})"  # only these have other names
            if not parts[key]:
                yield ConfigProblem(
                    key=key,
                    reason=f"missing, and {_listed(given)} {'is' if len(given) == 1 else 'are'} set",
                    action=f"Set {key}{short}, or use DATABASE_DSN alone.",
                )


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _refused_part(settings: DatabaseSettings, refused: DsnRefused) -> ConfigProblem:
    if not (settings.name or "").isprintable():
        return _refusal("DATABASE_NAME", refused)
    return ConfigProblem(
        key="DATABASE_HOST",
        value=settings.host,
        reason="neither the name nor the address of one host",
        action="Set DATABASE_HOST to a name or an address alone, and DATABASE_PORT to the port.",
    )


def _refusal(key: str, refused: DsnRefused) -> ConfigProblem:
    return ConfigProblem(key=key, reason=f"it {refused.reason}; {_uncapitalized(refused.cause)}", action=refused.action)


def _uncapitalized(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].removesuffix(".")


def _embedded_problems(settings: DatabaseSettings) -> Iterator[ConfigProblem]:
    unused = settings.allow_embedded is None and not settings.member and settings.dsn is None
    if not settings.allow_embedded and not unused:
        yield ConfigProblem(
            key="DATABASE_DSN",
            reason="an SQLite file, which every replica would have for itself",
            action="Set DATABASE_ALLOW_EMBEDDED=true if one replica with a volume of its own is what you want.",
        )
    if settings.member:
        return  # a member has the TLS settings of the database without a name, which may be on a server
    if (mode := tls_mode(settings)) not in (None, "disable"):
        yield ConfigProblem(
            key="DATABASE_TLS",
            value=mode,
            reason="the database is an SQLite file, and nothing goes over a network",
            action="Leave DATABASE_TLS out.",
        )
    for key in _files_set(settings):
        yield ConfigProblem(
            key=key,
            reason="the database is an SQLite file, and nothing goes over a network",
            action=f"Leave {key} out.",
        )


def _tls_problems(settings: DatabaseSettings, target: ServerTarget) -> Iterator[ConfigProblem]:
    if target.tls is None or target.tls.mode == "disable":
        for key in _files_set(settings):
            yield ConfigProblem(
                key=key,
                reason="set, and the connection is not encrypted",
                action=f"Set DATABASE_TLS=verify-full, or leave {key} out.",
            )
        return
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        key, other = "DATABASE_TLS_CERTIFICATE", "DATABASE_TLS_KEY"
        if settings.tls_certificate is None:
            key, other = other, key
        yield ConfigProblem(
            key=other,
            reason=f"missing, and {key} is set",
            action=f"Set {other} too: a client proves who it is by a certificate and its private key.",
        )
    yield from _file_problems(settings, target)


def _files_set(settings: DatabaseSettings) -> list[str]:
    return [key for attribute, key in _TLS_FILES.items() if getattr(settings, attribute) is not None]


def _file_problems(settings: DatabaseSettings, target: ServerTarget) -> Iterator[ConfigProblem]:
    assert target.tls is not None
    effective = {"tls_ca": target.tls.ca, "tls_certificate": target.tls.certificate, "tls_key": target.tls.key}
    for attribute, path in effective.items():
        if path is None or path.is_file():
            continue
        wrong = "not a file" if path.exists() else "does not exist"
        if getattr(settings, attribute) is None:  # it stands in the DSN, of which nothing is repeated
            yield ConfigProblem(
                key="DATABASE_DSN",
                reason=f"it names a file for TLS that {'is ' if path.exists() else ''}{wrong}",
                action=f"Correct the path in the DSN, or name the file in {_TLS_FILES[attribute]}.",
            )
        else:
            yield ConfigProblem(
                key=_TLS_FILES[attribute],
                value=str(path),
                reason=wrong,
                action="Correct the path, or put the file there.",
            )


def _replica_problems(settings: DatabaseSettings, target: Target) -> Iterator[ConfigProblem]:
    key = "DATABASE_REPLICA_DSNS"
    texts = replica_texts(settings)
    if texts and isinstance(target, SqliteTarget):
        yield ConfigProblem(
            key=key,
            reason="set, and the database is an SQLite file, which has no replicas",
            action=f"Leave {key} out.",
        )
        return
    for number, text in enumerate(texts, 1):
        which = f"number {number} of {len(texts)}"
        try:
            replica = parse_dsn(text)
        except DsnRefused as refused:
            yield ConfigProblem(
                key=key,
                reason=f"{which} {refused.reason}; {_uncapitalized(refused.cause)}",
                action=refused.action,
            )
            continue
        if isinstance(target, ServerTarget) and (isinstance(replica, SqliteTarget) or replica.kind != target.kind):
            yield ConfigProblem(
                key=key,
                reason=f"{which} is of another kind than the database, which is {target.kind}",
                action="Name servers that replicate this database.",
            )
