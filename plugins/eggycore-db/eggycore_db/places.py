"""Where the settings say that a database and its replicas are."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eggycore.config import Secret
from eggycore_db.dsn import parse_dsn
from eggycore_db.server_parts import server_target
from eggycore_db.targets import SqliteTarget, Target, Tls, TlsMode

if TYPE_CHECKING:
    from eggycore_db.settings import DatabaseSettings

__all__ = ["has_parts", "replica_targets", "replica_texts", "target_of", "tls_mode"]

_SYNONYMS: Final[dict[str, TlsMode]] = {"true": "require", "false": "disable"}

_BEFORE_A_URL = re.compile(r"[,\s]+(?=(?:mariadb|mysql|postgres|postgresql|sqlite|tidb)(?:\+\w+)?://)", re.IGNORECASE)


def has_parts(settings: DatabaseSettings) -> bool:
    """Whether one of the variables is set that stand in place of a DSN."""
    parts = (settings.host, settings.port, settings.name, settings.user, settings.password)
    return any(part is not None for part in parts)


def tls_mode(settings: DatabaseSettings) -> TlsMode | None:
    """What DATABASE_TLS asks for; None when it is not set."""
    mode = settings.tls
    if mode == "true" or mode == "false":
        return _SYNONYMS[mode]
    return mode


def target_of(settings: DatabaseSettings) -> Target:
    """Where the database is: by its DSN, else by its parts, else in a file of its own name in the app's folder.

    Raises:
        DsnRefused: The DSN or a part cannot be used.
    """
    if settings.dsn is not None:
        return _with_tls(settings, parse_dsn(settings.dsn.reveal()))
    if not has_parts(settings):
        return SqliteTarget(path=Path(f"{settings.member or 'eggycore'}.db"))
    target = server_target(
        settings.scheme,
        user=settings.user or "",
        password=_revealed(settings.password),
        host=(settings.host or "").removeprefix("[").removesuffix("]"),
        port=str(settings.port or ""),
        name=settings.name or "",
    )
    return _with_tls(settings, target)


def replica_targets(settings: DatabaseSettings) -> tuple[Target, ...]:
    """Where the replicas are, in order.

    Raises:
        DsnRefused: One of their DSNs cannot be used.
    """
    return tuple(_with_tls(settings, parse_dsn(text)) for text in replica_texts(settings))


def replica_texts(settings: DatabaseSettings) -> tuple[str, ...]:
    """The DSNs of the replicas: one a line, or several URLs with commas or spaces between them.

    A comma or space is taken for the end of a DSN only where a URL follows, so that passwords may hold either.
    """
    lines = _revealed(settings.replica_dsns).splitlines()
    texts = (text.strip(", \t") for line in lines for text in _BEFORE_A_URL.split(line))
    return tuple(text for text in texts if text)


def _with_tls(settings: DatabaseSettings, target: Target) -> Target:
    """The target with what the settings say of TLS in place of what the DSN says."""
    if isinstance(target, SqliteTarget):
        return target
    mode = tls_mode(settings) or (target.tls.mode if target.tls else None)
    if mode is None or mode == "disable":
        return replace(target, tls=Tls(mode=mode) if mode else None)
    of_dsn = target.tls or Tls(mode=mode)
    client = settings.tls_certificate is not None or settings.tls_key is not None
    tls = Tls(
        mode=mode,
        ca=settings.tls_ca or of_dsn.ca,
        certificate=settings.tls_certificate if client else of_dsn.certificate,
        key=settings.tls_key if client else of_dsn.key,
    )
    return replace(target, tls=tls)


def _revealed(secret: Secret[str] | None) -> str:
    return secret.reveal() if secret is not None else ""
