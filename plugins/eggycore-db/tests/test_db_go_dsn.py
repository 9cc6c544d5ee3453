"""The DSN of Go's MySQL driver, by the driver's own rules."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eggycore.config import Secret
from eggycore.diagnostics import diagnose, render
from eggycore_db.dsn import DsnRefused, parse_dsn
from eggycore_db.go_dsn import is_go_dsn, parse_go_dsn
from eggycore_db.targets import ServerTarget, Tls


def server(**parts: object) -> ServerTarget:
    default: dict[str, object] = {"kind": "mysql", "host": "db", "port": 3306, "name": "forms", "user": "me"}
    return ServerTarget(**{**default, **parts})  # type: ignore[arg-type]  # names and types are those of its fields


@pytest.mark.parametrize(
    ("dsn", "target"),
    [
        (
            "me:secret@tcp(db:3307)/forms?charset=utf8mb4&parseTime=True&loc=Local",
            server(port=3307, password=Secret("secret"), options={"charset": "utf8mb4"}),
        ),
        ("me@tcp(db)/forms", server()),
        ("me:p@ss:w/(o)rd@tcp(db)/forms", server(password=Secret("p@ss:w/(o)rd"))),
        ("me:100%25@tcp(db)/forms", server(password=Secret("100%25"))),
        ("me@home:x@tcp(db)/forms", server(user="me@home", password=Secret("x"))),
        ("me@unix(/run/mysqld.sock)/forms", server(host="", socket=Path("/run/mysqld.sock"))),
        ("me@unix/forms", server(host="", socket=Path("/tmp/mysql.sock"))),
        ("@/forms", server(user="", host="127.0.0.1")),
        ("me@tcp/forms", server(host="127.0.0.1")),
        ("tcp(db)/forms", server(user="")),
        ("me@tcp(:3307)/forms", server(host="127.0.0.1", port=3307)),
        ("me@tcp([2001:db8::7]:3307)/forms", server(host="2001:db8::7", port=3307)),
        ("me@tcp([::1])/forms", server(host="::1")),
        ("me@tcp(::1)/forms", server(host="::1")),
        ("me@tcp6([::1]:3306)/forms", server(host="::1")),
        ("me@tcp(db)/a%2Fb", server(name="a/b")),
        ("me@tcp(db)/forms?loc=Europe%2FBerlin&parseTime", server()),
        ("me@tcp(db)/forms?charset=utf8mb4,utf8", server(options={"charset": "utf8mb4"})),
        ("me@tcp(db)/forms?charset=latin1&charset=utf8mb4", server(options={"charset": "utf8mb4"})),
        (
            "me@tcp(db)/forms?timeout=1m1.5s&readTimeout=500ms&writeTimeout=2",
            server(options={"connect_timeout": "61.5", "read_timeout": "0.5", "write_timeout": "2"}),
        ),
        ("me@tcp(db)/forms?tls=true", server(tls=Tls(mode="verify-full"))),
        ("me@tcp(db)/forms?tls=skip-verify", server(tls=Tls(mode="require"))),
        ("me@tcp(db)/forms?tls=preferred", server()),
        ("me@tcp(db)/forms?tls=false", server(tls=Tls(mode="disable"))),
        ("other://pass@tcp(db)/forms", server(user="other", password=Secret("//pass"))),
    ],
)
def test_it_means_what_it_means_to_the_driver(dsn: str, target: ServerTarget) -> None:
    assert parse_dsn(dsn) == target


@pytest.mark.parametrize(
    ("dsn", "message"),
    [
        (
            "me:hunter2@tcp(db:3306)",
            "The database DSN has no slash before the name of its database.\n"
            "  cause:  It has the form of the Go driver, which wants one even where no name follows.\n"
            "  action: Write it as user:password@tcp(host:3306)/name.",
        ),
        (
            "me:hunter2@tcp(db:3306/forms",
            "The database DSN has a bracket after its host that is not closed.\n"
            "  cause:  In the form of the Go driver the host stands in brackets.\n"
            "  action: Write it as user:password@tcp(host:3306)/name.",
        ),
        (
            "me:hunter2@tcp(db:3306)/forms?loc=Europe/Berlin",
            "The database DSN has a slash in an option.\n"
            "  cause:  The last slash of this form comes before the name of the database.\n"
            "  action: Write a slash in an option as %2F, as in loc=Europe%2FBerlin.",
        ),
        (
            "me:hunter2@db:3306/forms",
            "The database DSN does not say tcp or unix before its host.\n"
            "  cause:  In the form of the Go driver the host stands in brackets after the name of a network.\n"
            "  action: Write it as user:password@tcp(host:3306)/name, or as mysql://user:password@host:3306/name.",
        ),
        (
            "me:hunter2@tcp(db:3306)/",
            "The database DSN names no database.\n"
            "  cause:  A server has many databases, and none is the default.\n"
            "  action: Add its name, as in postgresql://user@host/orders or user@tcp(host:3306)/orders.",
        ),
        (
            "me:hunter2@tcp(db:3306)/a%zz",
            "The database DSN has a percent sign in its name that stands for nothing.\n"
            "  cause:  A percent sign begins the code of a character: two hexadecimal digits follow it.\n"
            "  action: Write a percent sign that stands for itself as %25.",
        ),
        (
            "me:hunter2@tcp(db:3306)/forms?tls=custom",
            "The database DSN has a value of the option tls that it cannot have.\n"
            "  cause:  The option tls takes one of true, false, skip-verify, preferred, require, verify-ca, "
            "verify-full.\n"
            "  action: Set tls to one of these, or leave it out.",
        ),
        (
            "me:hunter2@tcp(db:3306)/forms?timeout=soon",
            "The database DSN has a value of the option timeout that it cannot have.\n"
            "  cause:  The option timeout takes a duration such as 5s or 500ms.\n"
            "  action: Correct timeout, or leave it out.",
        ),
        (
            "me:hunter2@tcp(db:3306)/forms?parsetime=true",
            "The database DSN has an option that is not known.\n"
            "  cause:  The name of an option is not one of those that this kind of database takes.\n"
            "  action: Did you mean parseTime?",
        ),
    ],
)
def test_what_the_driver_would_not_take_is_refused(dsn: str, message: str) -> None:
    with pytest.raises(DsnRefused) as refused:
        parse_dsn(dsn)
    assert render(diagnose(refused.value)) == message


TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"))
USERS = TEXTS.filter(lambda user: ":" not in user)
NAMES = TEXTS.filter(lambda name: name != "" and name.isprintable())
HOSTS = st.one_of(st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True), st.ip_addresses().map(str))


@given(USERS, TEXTS, HOSTS, st.integers(1, 65535), NAMES)
@example("me", "@tcp(x:1)/y", "db", 3306, "forms")
@example("me", "/@:(?)", "db", 3306, "forms")
def test_user_and_password_may_hold_any_character(user: str, password: str, host: str, port: int, name: str) -> None:
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    dsn = f"{user}:{password}@tcp({place})/{quote(name, '')}?parseTime=True"
    assert is_go_dsn(dsn)
    assert parse_go_dsn(dsn) == ServerTarget(
        kind="mysql",
        host=host,
        port=port,
        name=name,
        user=user,
        password=Secret(password) if password else None,
    )


@given(TEXTS, HOSTS)
def test_a_password_does_not_make_it_another_form(password: str, host: str) -> None:
    place = f"[{host}]" if ":" in host else host
    assert parse_dsn(f"me:{password}@tcp({place})/forms") == server(
        host=host, password=Secret(password) if password else None
    )
