"""The keyword form of libpq, compared with what libpq itself makes of it."""

from __future__ import annotations

from pathlib import Path

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg2.extensions import parse_dsn as parsed_by_libpq

from eggycore.config import Secret
from eggycore.diagnostics import diagnose, render
from eggycore_db.dsn import DsnRefused, parse_dsn
from eggycore_db.targets import ServerTarget, Tls

UNCLOSED = (
    "The database DSN has a keyword without a value, or a quote that is not closed.\n"
    "  cause:  In the form of libpq each keyword has an equals sign and a value, in single quotes where there is a "
    "space in it.\n"
    "  action: Write it as host=localhost port=5432 user=me password='a b' dbname=forms, with a backslash before each "
    "' and \\ of a value."
)


def server(**parts: object) -> ServerTarget:
    default: dict[str, object] = {"kind": "postgresql", "host": "db", "port": 5432, "name": "forms", "user": "me"}
    return ServerTarget(**{**default, **parts})  # type: ignore[arg-type]  # names and types are those of its fields


@pytest.mark.parametrize(
    ("dsn", "target"),
    [
        ("host=db user=me dbname=forms", server()),
        ("  host = db\tuser= me\n dbname =forms  ", server()),
        ("host=db port=6432 user=me password='a b' dbname=forms", server(port=6432, password=Secret("a b"))),
        (r"host=db user=me password=a\ \'b\\ dbname=forms", server(password=Secret("a 'b\\"))),
        (r"host=db user=me password='a \'b\\' dbname=forms", server(password=Secret("a 'b\\"))),
        ("host=db user=me password='' dbname=forms", server()),
        ("host=db user=me dbname=forms password=", server()),
        ("host=db user=me password=x@tcp(y)/z dbname=forms", server(password=Secret("x@tcp(y)/z"))),
        ("user=me dbname=forms", server(host="localhost")),
        ("host=/var/run/postgresql user=me dbname=forms", server(host="", socket=Path("/var/run/postgresql"))),
        ("host=::1 user=me dbname=forms", server(host="::1")),
        ("host=db user=me dbname=forms sslmode=verify-ca", server(tls=Tls(mode="verify-ca"))),
        ("host=db user=me dbname=forms TimeZone=UTC", server()),
        ("host=x user=me dbname=forms host=db", server()),
    ],
)
def test_it_means_what_it_means_to_libpq(dsn: str, target: ServerTarget) -> None:
    assert parse_dsn(dsn) == target


@pytest.mark.parametrize(
    ("dsn", "message"),
    [
        ("host=db password='hunter2", UNCLOSED),
        ("host=db password=hunter2 dbname", UNCLOSED),
        ("host=db password=hunter 2 dbname=forms", UNCLOSED),
        (
            "hots=db password=hunter2",
            "The database DSN has an option that is not known.\n"
            "  cause:  The name of an option is not one of those that this kind of database takes.\n"
            "  action: Did you mean host?",
        ),
    ],
)
def test_what_libpq_would_not_take_is_refused(dsn: str, message: str) -> None:
    with pytest.raises(DsnRefused) as refused:
        parse_dsn(dsn)
    assert render(diagnose(refused.value)) == message


def quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"))


@given(TEXTS, TEXTS, TEXTS.filter(lambda name: name != "" and name.isprintable()))
def test_every_user_and_password_can_be_quoted(user: str, password: str, name: str) -> None:
    dsn = f"host=db user={quoted(user)} password={quoted(password)} dbname={quoted(name)}"
    assert parse_dsn(dsn) == server(user=user, name=name, password=Secret(password) if password else None)


@given(st.text(st.sampled_from("ab'\\ =\t"), max_size=12))
def test_a_value_is_read_as_libpq_reads_it(text: str) -> None:
    dsn = f"dbname=forms user={text}"
    try:
        expected = parsed_by_libpq(dsn)
    except psycopg2.ProgrammingError:
        with pytest.raises(DsnRefused):
            parse_dsn(dsn)
    else:
        target = parse_dsn(dsn)
        assert isinstance(target, ServerTarget)
        assert target.user == expected.get("user", "")
