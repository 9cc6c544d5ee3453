"""The options of a server's DSN: which there are, what they may be, and what they say of TLS."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from eggycore.diagnostics import nearest
from eggycore_db.dsn_refused import DsnRefused
from eggycore_db.targets import ServerKind, Tls, TlsMode

__all__ = ["PLACE_OPTIONS", "read_options", "read_tls"]

PLACE_OPTIONS: Final[dict[ServerKind, frozenset[str]]] = {
    "mysql": frozenset({"unix_socket"}),
    "postgresql": frozenset({"dbname", "host", "password", "port", "user"}),
}
"""Options that say where the database is; who takes a DSN apart reads them."""

_TLS_OPTIONS: Final[dict[ServerKind, frozenset[str]]] = {
    "mysql": frozenset(
        {
            "ssl",
            "ssl-mode",
            "ssl_ca",
            "ssl_cert",
            "ssl_key",
            "ssl_mode",
            "ssl_verify_cert",
            "ssl_verify_identity",
            "tls",
        }
    ),
    "postgresql": frozenset({"ssl", "sslcert", "sslkey", "sslmode", "sslrootcert"}),
}

_SESSION_ATTRIBUTES = ("any", "prefer-standby", "primary", "read-only", "read-write", "standby")

_GO_UNITS: Final[dict[str, float]] = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1,
    "m": 60,
    "h": 3600,
}
_GO_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_WORD = re.compile(r"\w+", re.ASCII)
_WHOLE = re.compile(r"\d{1,9}", re.ASCII)

_TRUE = frozenset({"1", "on", "true", "yes"})
_FALSE = frozenset({"0", "false", "no", "off"})


def _text(text: str) -> str:
    return text


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise ValueError("letters, digits and underscores")
    return text


def _first_word(text: str) -> str:
    return _word(text.partition(",")[0])  # Go tries several character sets in turn


def _whole(text: str) -> str:
    if not _WHOLE.fullmatch(text):
        raise ValueError("a whole number")
    return text


def _seconds(text: str) -> str:
    """Seconds as a decimal number, from a plain number or Go's "1m30s"."""
    if _WHOLE.fullmatch(text):
        return text
    parts = _GO_DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("a duration such as 5s or 500ms")
    return f"{sum(float(number) * _GO_UNITS[unit] for number, unit in parts):.9f}".rstrip("0").rstrip(".")


def _session_attributes(text: str) -> str:
    if text not in _SESSION_ATTRIBUTES:
        raise ValueError(f"one of {', '.join(_SESSION_ATTRIBUTES)}")
    return text


_KEPT: Final[dict[ServerKind, dict[str, tuple[str, Callable[[str], str]]]]] = {
    "mysql": {
        "charset": ("charset", _first_word),
        "collation": ("collation", _word),
        "connect_timeout": ("connect_timeout", _seconds),
        "read_timeout": ("read_timeout", _seconds),
        "readTimeout": ("read_timeout", _seconds),
        "timeout": ("connect_timeout", _seconds),
        "write_timeout": ("write_timeout", _seconds),
        "writeTimeout": ("write_timeout", _seconds),
    },
    "postgresql": {
        "application_name": ("application_name", _text),
        "channel_binding": ("channel_binding", _word),
        "client_encoding": ("client_encoding", _text),
        "connect_timeout": ("connect_timeout", _whole),
        "fallback_application_name": ("fallback_application_name", _text),
        "gssencmode": ("gssencmode", _word),
        "hostaddr": ("hostaddr", _text),
        "keepalives": ("keepalives", _whole),
        "keepalives_count": ("keepalives_count", _whole),
        "keepalives_idle": ("keepalives_idle", _whole),
        "keepalives_interval": ("keepalives_interval", _whole),
        "krbsrvname": ("krbsrvname", _text),
        "options": ("options", _text),
        "passfile": ("passfile", _text),
        "ssl_max_protocol_version": ("ssl_max_protocol_version", _text),
        "ssl_min_protocol_version": ("ssl_min_protocol_version", _text),
        "sslcrl": ("sslcrl", _text),
        "sslcrldir": ("sslcrldir", _text),
        "sslsni": ("sslsni", _whole),
        "target_session_attrs": ("target_session_attrs", _session_attributes),
        "tcp_user_timeout": ("tcp_user_timeout", _whole),
    },
}
"""Of each option that is kept: the name that the driver has for it, and how its value is checked."""

_DROPPED: Final[dict[ServerKind, frozenset[str]]] = {
    "mysql": frozenset(
        {
            "allowAllFiles",
            "allowCleartextPasswords",
            "allowFallbackToPlaintext",
            "allowNativePasswords",
            "allowOldPasswords",
            "checkConnLiveness",
            "clientFoundRows",
            "columnsWithAlias",
            "compress",
            "connectionAttributes",
            "interpolateParams",
            "loc",
            "maxAllowedPacket",
            "multiStatements",
            "parseTime",
            "rejectReadOnly",
            "serverPubKey",
            "timeTruncate",
            "tinyInt1IsBool",
        }
    ),
    "postgresql": frozenset({"TimeZone", "binary_parameters", "sslcompression"}),
}
"""Options of Go's drivers that mean nothing here: what they ask for is so anyway, or is Go's affair."""


def read_options(kind: ServerKind, given: Mapping[str, str]) -> dict[str, str]:
    """The options that the driver is given, checked, under the driver's names; without those of place and TLS.

    The names are those of libpq for PostgreSQL. For MySQL they are `charset`, `collation`, `connect_timeout`,
    `read_timeout` and `write_timeout`, the last three in seconds, as decimal numbers.

    Raises:
        DsnRefused: One is not known or has a value that it cannot have.
    """
    kept: dict[str, str] = {}
    for name, value in given.items():
        if name in PLACE_OPTIONS[kind] or name in _TLS_OPTIONS[kind] or name in _DROPPED[kind]:
            continue
        if name not in _KEPT[kind]:
            raise _unknown(kind, name)
        driver_name, check = _KEPT[kind][name]
        try:
            kept[driver_name] = check(value)
        except ValueError as error:
            raise _bad_value(name, str(error)) from None
    return kept


def read_tls(kind: ServerKind, given: Mapping[str, str]) -> Tls | None:
    """What the options say of TLS; None when they leave it to the driver.

    Raises:
        DsnRefused: They contradict each other, or one has a value that it cannot have.
    """
    if kind == "postgresql":
        mode = _postgresql_mode(given)
        root, certificate, key = (given.get(name, "") for name in ("sslrootcert", "sslcert", "sslkey"))
        names = ("sslmode", "sslcert", "sslkey")
        if root == "system":
            root, mode = "", "verify-full"  # as libpq has it
    else:
        mode = _mysql_mode(given)
        root, certificate, key = (given.get(name, "") for name in ("ssl_ca", "ssl_cert", "ssl_key"))
        names = ("tls", "ssl_cert", "ssl_key")
    if mode in (None, "disable") and (root or certificate or key):
        raise DsnRefused(
            "names files for TLS and does not ask for TLS",
            f"Without {names[0]} the connection may go unencrypted, whatever the files are.",
            f"Add {names[0]}=verify-full, or leave the files out.",
        )
    if bool(certificate) != bool(key):
        raise DsnRefused(
            f"has one of {names[1]} and {names[2]} without the other",
            "A client proves who it is by its certificate and its private key together.",
            "Name both; they may be in one file.",
        )
    return None if mode is None else Tls(mode=mode, ca=_file(root), certificate=_file(certificate), key=_file(key))


def _file(text: str) -> Path | None:
    return Path(text) if text else None


_POSTGRESQL_MODES: Final[dict[str, TlsMode | None]] = {
    "allow": None,
    "disable": "disable",
    "prefer": None,
    "require": "require",
    "verify-ca": "verify-ca",
    "verify-full": "verify-full",
}

_MYSQL_MODES: Final[dict[str, TlsMode | None]] = {
    **_POSTGRESQL_MODES,
    "disabled": "disable",
    "preferred": None,
    "required": "require",
    "skip-verify": "require",
    "verify_ca": "verify-ca",
    "verify_identity": "verify-full",
}
"""Ours, Go's (`tls`) and those of the mysql client (`ssl-mode`), in lower case."""


def _postgresql_mode(given: Mapping[str, str]) -> TlsMode | None:
    if (text := given.get("sslmode")) is not None:
        if text not in _POSTGRESQL_MODES:
            raise _bad_value("sslmode", f"one of {', '.join(_POSTGRESQL_MODES)}")
        return _POSTGRESQL_MODES[text]
    return "require" if _flag(given, "ssl") else None


def _mysql_mode(given: Mapping[str, str]) -> TlsMode | None:
    if (text := given.get("tls")) is not None and text.lower() in _TRUE | _FALSE:
        return "verify-full" if text.lower() in _TRUE else "disable"
    for name in ("tls", "ssl-mode", "ssl_mode"):
        if (text := given.get(name)) is not None:
            if text.lower() not in _MYSQL_MODES:
                raise _bad_value(name, "one of true, false, skip-verify, preferred, require, verify-ca, verify-full")
            return _MYSQL_MODES[text.lower()]
    if _flag(given, "ssl_verify_identity"):
        return "verify-full"
    if _flag(given, "ssl_verify_cert"):
        return "verify-ca"
    if (wanted := _flag(given, "ssl")) is not None and not wanted:
        return "disable"
    if given.get("ssl_ca"):
        return "verify-ca"  # as the mysql client has it
    return "require" if wanted else None


def _flag(given: Mapping[str, str], name: str) -> bool | None:
    text = given.get(name)
    if text is None:
        return None
    if text.lower() not in _TRUE | _FALSE:
        raise _bad_value(name, "true or false")
    return text.lower() in _TRUE


def _bad_value(name: str, expected: str) -> DsnRefused:
    return DsnRefused(
        f"has a value of the option {name} that it cannot have",
        f"The option {name} takes {expected}.",
        f"Set {name} to one of these, or leave it out."
        if expected.startswith("one of")
        else f"Correct {name}, or leave it out.",
    )


def _unknown(kind: ServerKind, name: str) -> DsnRefused:
    known = sorted({*_KEPT[kind], *_DROPPED[kind], *_TLS_OPTIONS[kind], *PLACE_OPTIONS[kind]})
    near = nearest(name, known)
    return DsnRefused(
        "has an option that is not known",
        "The name of an option is not one of those that this kind of database takes.",
        f"Did you mean {near}?" if near else "Correct its name, or leave it out.",
    )
