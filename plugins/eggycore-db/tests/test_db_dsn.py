"""What a DSN may be, and that no message repeats a part of one."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.config import Secret
from eggycore.diagnostics import diagnose, render
from eggycore_db.dsn import DsnRefused, parse_dsn
from eggycore_db.targets import ServerKind, ServerTarget, SqliteTarget, Tls

FORMS = "Write it as sqlite:///eggycore.db, postgresql://user:password@host/name or mysql://user:password@host/name."
ENCODE = (
    "Percent-encode what has a meaning in a DSN, in the password above all: @ is %40, : is %3A, / is %2F, % is %25."
)


def message_of(dsn: str) -> str:
    with pytest.raises(DsnRefused) as refused:
        parse_dsn(dsn)
    assert refused.value.exit_code == 2
    return render(diagnose(refused.value))


def server(kind: ServerKind = "postgresql", **parts: object) -> ServerTarget:
    default: dict[str, object] = {
        "kind": kind,
        "host": "db",
        "port": 5432 if kind == "postgresql" else 3306,
        "name": "forms",
        "user": "me",
    }
    return ServerTarget(**{**default, **parts})  # type: ignore[arg-type]  # names and types are those of its fields


@pytest.mark.parametrize(
    ("dsn", "path"),
    [
        ("sqlite:///eggycore.db", Path("eggycore.db")),
        ("sqlite:///data/eggycore.db", Path("data/eggycore.db")),
        ("sqlite:////var/lib/eggycore.db", Path("/var/lib/eggycore.db")),
        ("SQLite:///eggycore.db", Path("eggycore.db")),
        ("sqlite:///my%20data%3F.db", Path("my data?.db")),
        ("sqlite:///a#b.db", Path("a#b.db")),
        ("sqlite:///:memory:", None),
    ],
)
def test_a_dsn_names_a_file_or_memory(dsn: str, path: Path | None) -> None:
    assert parse_dsn(dsn) == SqliteTarget(path=path)


@pytest.mark.parametrize(
    ("dsn", "target"),
    [
        ("postgresql://me@db/forms", server()),
        ("postgres://me@db/forms", server()),
        ("PostgreSQL://me@db/forms", server()),
        ("postgresql+psycopg2://me@db:6432/forms", server(port=6432)),
        ("postgresql://me:p%40ss%2Fw%3Ard@db/forms", server(password=Secret("p@ss/w:rd"))),
        ("postgresql://me:p@ss@db/forms", server(password=Secret("p@ss"))),
        ("postgresql://me:p?ss@db/forms", server(password=Secret("p?ss"))),
        ("postgresql://me:p#ss@db/forms", server(password=Secret("p#ss"))),
        ("postgresql://me:@db/forms", server()),
        ("postgresql:///forms", server(host="localhost", user="")),
        ("postgresql://me@[::1]/forms", server(host="::1")),
        ("postgresql://me@[2001:db8::7]:6432/forms", server(host="2001:db8::7", port=6432)),
        ("postgresql://me@db/forms?", server()),
        ("postgresql://db/other?user=me@home&dbname=forms", server(user="me@home")),
        ("postgresql://me@/forms?host=/var/run/postgresql", server(host="", socket=Path("/var/run/postgresql"))),
        ("postgresql://me@%2Fvar%2Frun%2Fpostgresql/forms", server(host="", socket=Path("/var/run/postgresql"))),
        ("postgresql://me@other/other?host=db&port=7&dbname=forms&password=p", server(port=7, password=Secret("p"))),
        (
            "postgresql://me@db/forms?application_name=a%20b&connect_timeout=3&target_session_attrs=read-write",
            server(options={"application_name": "a b", "connect_timeout": "3", "target_session_attrs": "read-write"}),
        ),
        ("mysql://me@db/forms", server("mysql")),
        (
            "mysql+pymysql://me@db:3307/forms?charset=utf8mb4",
            server("mysql", port=3307, options={"charset": "utf8mb4"}),
        ),
        ("mariadb://me@db/forms", server("mysql")),
        ("tidb://me@db/forms", server("mysql", port=4000)),
        ("tidb://me@db:4001/forms", server("mysql", port=4001)),
        ("mysql://me@/forms?unix_socket=/run/mysqld.sock", server("mysql", host="", socket=Path("/run/mysqld.sock"))),
        (
            "mysql://me@db/forms?parseTime=true&loc=Local&collation=utf8mb4_bin",
            server("mysql", options={"collation": "utf8mb4_bin"}),
        ),
    ],
)
def test_a_url_names_a_database_on_a_server(dsn: str, target: ServerTarget) -> None:
    assert parse_dsn(dsn) == target


@pytest.mark.parametrize(
    ("options", "tls"),
    [
        ("sslmode=disable", Tls(mode="disable")),
        ("sslmode=allow", None),
        ("sslmode=prefer", None),
        ("sslmode=require", Tls(mode="require")),
        ("sslmode=verify-ca", Tls(mode="verify-ca")),
        ("sslmode=verify-full&sslrootcert=/ca.pem", Tls(mode="verify-full", ca=Path("/ca.pem"))),
        ("sslrootcert=system", Tls(mode="verify-full")),
        ("ssl=true", Tls(mode="require")),
        (
            "sslmode=verify-full&sslcert=/me.pem&sslkey=/me.key",
            Tls(mode="verify-full", certificate=Path("/me.pem"), key=Path("/me.key")),
        ),
    ],
)
def test_the_ssl_options_of_postgresql_become_tls(options: str, tls: Tls | None) -> None:
    assert parse_dsn(f"postgresql://me@db/forms?{options}") == server(tls=tls)


@pytest.mark.parametrize(
    ("options", "tls"),
    [
        ("tls=false", Tls(mode="disable")),
        ("tls=true", Tls(mode="verify-full")),
        ("tls=TRUE", Tls(mode="verify-full")),
        ("tls=skip-verify", Tls(mode="require")),
        ("tls=preferred", None),
        ("tls=verify-ca&ssl_ca=/ca.pem", Tls(mode="verify-ca", ca=Path("/ca.pem"))),
        ("ssl-mode=VERIFY_IDENTITY", Tls(mode="verify-full")),
        ("ssl_mode=REQUIRED", Tls(mode="require")),
        ("ssl=true", Tls(mode="require")),
        ("ssl=false", Tls(mode="disable")),
        ("ssl_ca=/ca.pem", Tls(mode="verify-ca", ca=Path("/ca.pem"))),
        (
            "ssl_ca=/ca.pem&ssl_verify_cert=true&ssl_verify_identity=true",
            Tls(mode="verify-full", ca=Path("/ca.pem")),
        ),
        ("ssl_ca=/ca.pem&ssl_verify_cert=true&ssl_verify_identity=false", Tls(mode="verify-ca", ca=Path("/ca.pem"))),
    ],
)
def test_the_tls_options_of_mysql_become_tls(options: str, tls: Tls | None) -> None:
    assert parse_dsn(f"mysql://me@db/forms?{options}") == server("mysql", tls=tls)


@pytest.mark.parametrize(
    ("dsn", "message"),
    [
        (
            "sqllite:///hunter2.db",
            "The database DSN has a misspelt scheme.\n"
            "  cause:  What stands before :// names the kind of database.\n"
            f"  action: Did you mean sqlite://? {FORMS}",
        ),
        (
            "postgresqll://me:hunter2@db/forms",
            "The database DSN has a misspelt scheme.\n"
            "  cause:  What stands before :// names the kind of database.\n"
            f"  action: Did you mean postgresql://? {FORMS}",
        ),
        (
            "mysqll://me:hunter2@tcp(db:3306)/forms",
            "The database DSN has a misspelt scheme.\n"
            "  cause:  What stands before :// names the kind of database.\n"
            f"  action: Did you mean mysql://? {FORMS}",
        ),
        (
            "oracle://me:hunter2@db/forms",
            "The database DSN names a kind of database that is not known.\n"
            "  cause:  The kinds are SQLite, PostgreSQL, and MySQL with MariaDB and TiDB.\n"
            f"  action: {FORMS}",
        ),
        (
            "hunter2",
            "The database DSN has none of the forms that are known.\n"
            "  cause:  It is no URL, and neither what Go's MySQL driver nor what libpq takes.\n"
            f"  action: {FORMS}",
        ),
        (
            "sqlite://hunter2.db",
            "The database DSN has two slashes before its file.\n"
            "  cause:  SQLite is in this process, so there is no host between the second slash and the third.\n"
            "  action: Write three for a relative path (sqlite:///eggycore.db) and four for an absolute one "
            "(sqlite:////var/lib/eggycore.db).",
        ),
        (
            "sqlite://",
            "The database DSN has no file after its slashes.\n"
            "  cause:  SQLite is in this process, so there is no host between the second slash and the third.\n"
            "  action: Write three for a relative path (sqlite:///eggycore.db) and four for an absolute one "
            "(sqlite:////var/lib/eggycore.db).",
        ),
        (
            "sqlite:///",
            "The database DSN names a folder and no file.\n"
            "  cause:  An SQLite database is a file.\n"
            "  action: Add a file name, for example sqlite:///eggycore.db.",
        ),
        (
            "sqlite:///a.db?password=hunter2",
            "The database DSN has options after a question mark.\n"
            "  cause:  SQLite takes none here.\n"
            "  action: Leave them out; a question mark that belongs to the file's name is written %3F.",
        ),
        (
            "sqlite:///%ff.db",
            "The database DSN is not UTF-8 once it is percent-decoded.\n"
            "  cause:  Percent-encoding stands for the bytes of UTF-8.\n"
            "  action: Write the path in UTF-8.",
        ),
        (
            "sqlite:///a%00.db",
            "The database DSN has a null character in its path.\n"
            "  cause:  No file has one in its name.\n"
            "  action: Leave it out.",
        ),
        (
            "mysql://me:hunter2@tcp(db:3306)/forms",
            "The database DSN mixes a URL with the form of the Go driver.\n"
            "  cause:  In a URL the password is percent-encoded and in the other form it is not, so it could mean two "
            "things.\n"
            "  action: Write mysql://user:password@host:3306/name, or user:password@tcp(host:3306)/name without the "
            "scheme.",
        ),
        (
            "postgresql://me:7/hunter2@db/forms",
            "The database DSN has a slash or an @ in the name of its database.\n"
            "  cause:  Either the name has one, or the user or the password has, and what follows it was taken for the "
            "name.\n"
            "  action: Percent-encode it: a slash is %2F, and @ is %40.",
        ),
        (
            "postgresql://me:hunter2/x",
            "The database DSN has a port that is not a number from 1 to 65535.\n"
            "  cause:  What follows the colon after the host is the port, unless the colon belongs to the password.\n"
            f"  action: {ENCODE}",
        ),
        (
            "postgresql://me@db:0/forms",
            "The database DSN has a port that is not a number from 1 to 65535.\n"
            "  cause:  What follows the colon after the host is the port, unless the colon belongs to the password.\n"
            f"  action: {ENCODE}",
        ),
        (
            "postgresql://me@hunter 2/forms",
            "The database DSN has a host that is neither a name nor an address.\n"
            "  cause:  A host is made of letters, digits, hyphens, underscores and dots, or is an IPv6 address in "
            "brackets.\n"
            f"  action: {ENCODE}",
        ),
        (
            "postgresql://me@[hunter2]/forms",
            "The database DSN has brackets around something that is no IPv6 address.\n"
            "  cause:  Brackets in the place of the host hold an IPv6 address.\n"
            f"  action: Write it as [::1]:5432. {ENCODE}",
        ),
        (
            "postgresql://me@db1,db2/forms",
            "The database DSN names several hosts.\n"
            "  cause:  One pool of connections goes to one server.\n"
            "  action: Name one here, and the replicas that may be read in DATABASE_REPLICA_DSNS.",
        ),
        (
            "postgresql://me:hunter2@db",
            "The database DSN names no database.\n"
            "  cause:  A server has many databases, and none is the default.\n"
            "  action: Add its name, as in postgresql://user@host/orders or user@tcp(host:3306)/orders.",
        ),
        (
            "postgresql://me@db/forms\n",
            "The database DSN has a line break or another control character in the name of its database.\n"
            "  cause:  It was perhaps copied from a file together with the end of its line.\n"
            "  action: Leave it out.",
        ),
        (
            "postgresql://me:hunter2%zz@db/forms",
            "The database DSN has a percent sign in its password that stands for nothing.\n"
            "  cause:  A percent sign begins the code of a character: two hexadecimal digits follow it.\n"
            "  action: Write a percent sign that stands for itself as %25.",
        ),
        (
            "postgresql://me:hunter2%ff@db/forms",
            "The database DSN has a password that is not UTF-8 once it is percent-decoded.\n"
            "  cause:  Percent-encoding stands for the bytes of UTF-8.\n"
            "  action: Encode the password from UTF-8.",
        ),
        (
            "postgresql://me:hunter2%00@db/forms",
            "The database DSN has a null character in it.\n  cause:  No server takes one.\n  action: Leave it out.",
        ),
        (
            "mysql://me@db/forms?unix_socket=hunter2",
            "The database DSN has a Unix socket that is no absolute path.\n"
            "  cause:  A socket is found by its path from the root.\n"
            "  action: Write it as /run/mysqld/mysqld.sock.",
        ),
        (
            "postgresql://me@db/forms?hunter2",
            "The database DSN has an option without a value.\n"
            "  cause:  What follows the question mark are options, each with an equals sign and a value.\n"
            "  action: Add the value, or write ? as %3F and & as %26 where it belongs to something else.",
        ),
        (
            "postgresql://me@db/forms?sslmod=require",
            "The database DSN has an option that is not known.\n"
            "  cause:  The name of an option is not one of those that this kind of database takes.\n"
            "  action: Did you mean sslmode?",
        ),
        (
            "mysql://me@db/forms?hunter2=x",
            "The database DSN has an option that is not known.\n"
            "  cause:  The name of an option is not one of those that this kind of database takes.\n"
            "  action: Correct its name, or leave it out.",
        ),
        (
            "postgresql://me@db/forms?sslmode=hunter2",
            "The database DSN has a value of the option sslmode that it cannot have.\n"
            "  cause:  The option sslmode takes one of allow, disable, prefer, require, verify-ca, verify-full.\n"
            "  action: Set sslmode to one of these, or leave it out.",
        ),
        (
            "postgresql://me@db/forms?connect_timeout=hunter2",
            "The database DSN has a value of the option connect_timeout that it cannot have.\n"
            "  cause:  The option connect_timeout takes a whole number.\n"
            "  action: Correct connect_timeout, or leave it out.",
        ),
        (
            "postgresql://me@db/forms?sslrootcert=/hunter2.pem",
            "The database DSN names files for TLS and does not ask for TLS.\n"
            "  cause:  Without sslmode the connection may go unencrypted, whatever the files are.\n"
            "  action: Add sslmode=verify-full, or leave the files out.",
        ),
        (
            "mysql://me@db/forms?tls=true&ssl_cert=/hunter2.pem",
            "The database DSN has one of ssl_cert and ssl_key without the other.\n"
            "  cause:  A client proves who it is by its certificate and its private key together.\n"
            "  action: Name both; they may be in one file.",
        ),
    ],
)
def test_another_dsn_is_refused_with_what_to_write_instead(dsn: str, message: str) -> None:
    assert message_of(dsn) == message
    assert "hunter2" not in message


FILES = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1).filter(
    lambda name: name != ":memory:" and not name.endswith("/")
)


@given(FILES)
def test_every_path_can_be_written_as_a_dsn(name: str) -> None:
    assert parse_dsn(f"sqlite:///{quote(name)}") == SqliteTarget(path=Path(name))


TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"))
NAMES = TEXTS.filter(lambda name: name != "" and name.isprintable())
HOSTS = st.one_of(
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z][a-z0-9-]{0,8})?", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)
PORTS = st.integers(1, 65535)
SCHEMES = st.sampled_from(["mysql", "mariadb", "mysql+pymysql", "tidb", "postgres", "postgresql", "postgresql+psycopg"])


@given(SCHEMES, TEXTS, TEXTS, HOSTS, PORTS, NAMES)
def test_every_server_can_be_written_as_a_url(
    scheme: str, user: str, password: str, host: str, port: int, name: str
) -> None:
    place = f"[{host}]" if ":" in host else host
    dsn = f"{scheme}://{quote(user, '')}:{quote(password, '')}@{place}:{port}/{quote(name, '')}"
    assert parse_dsn(dsn) == ServerTarget(
        kind="postgresql" if scheme.startswith("postgres") else "mysql",
        host=host,
        port=port,
        name=name,
        user=user,
        password=Secret(password) if password else None,
    )


PIECES = st.sampled_from(
    "postgresql:// mysql:// sqlite:/// :// @tcp( @unix( host= password=' ' \\ @ : / ? & = % %2 %41 [ ] ( ) sslmode= "
    "tls= timeout= 1s db 3306".split()
).flatmap(lambda piece: st.sampled_from([piece, f" {piece}"]))


@given(st.one_of(st.text(), st.lists(st.one_of(PIECES, st.text(max_size=3)), max_size=12).map("".join)))
def test_every_text_is_a_dsn_or_is_refused(text: str) -> None:
    try:
        parse_dsn(text)
    except DsnRefused as refused:
        assert str(refused).startswith("The database DSN ")


PASSWORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(lambda text: f"pw{text}wp")
WITH_A_PASSWORD = st.sampled_from(
    [
        "postgresql://me:{}@db/forms",
        "postgresql://me:{}@db",
        "postgresql://me:1{}@db/forms",
        "postgresql://db/forms?password={}",
        "postgresql://db/forms?passwort={}",
        "mysql://me:{}@tcp(db:3306)/forms",
        "me:{}@tcp(db:3306)/forms",
        "me:{}@db:3306/forms",
        "me:{}@tcp(db:3306/forms",
        "host=db password={} dbname=forms",
        "host=db password='{}' dbname=forms",
        "hots=db password={}",
        "sqlite://me:{}@/forms.db",
        "sqlite:///forms.db?key={}",
        "{}",
        "{}://db",
        "postgresqll://{}",
    ]
)


@given(WITH_A_PASSWORD, PASSWORDS)
def test_a_password_is_never_shown_wherever_it_is_taken_to_be(form: str, password: str) -> None:
    try:
        target = parse_dsn(form.format(password))
    except DsnRefused as refused:
        assert password not in render(diagnose(refused)) + repr(refused) + str(refused)
    else:
        assert isinstance(target, SqliteTarget) or password not in target.location
