"""Encrypted connections to servers that really speak TLS, and everything that a person may have set wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import peewee
import pytest

from eggycore.config import Secret
from eggycore.diagnostics import diagnose, render
from eggycore_db import Database, DatabaseUnavailable
from eggycore_db.dsn import parse_dsn
from eggycore_db.server import ServerLimits
from eggycore_db.targets import ServerTarget, Tls, TlsMode
from tests.servers import (
    Certificates,
    MariaDBServer,
    PostgresServer,
    mariadb_server,
    postgres_server,
    reserved_port,
)

AnyServer = PostgresServer | MariaDBServer
Start = Callable[..., AbstractContextManager[AnyServer]]

PASSWORD = "hunter2-secret"  # of a server that lives as long as a test


@pytest.fixture(params=["postgresql", "mariadb"])
def start(request: pytest.FixtureRequest) -> Start:
    """Starts a server of each kind."""
    return postgres_server if request.param == "postgresql" else mariadb_server


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def plain(request: pytest.FixtureRequest) -> Iterator[AnyServer]:
    """A server of each kind with a password and without TLS."""
    begin = postgres_server if request.param == "postgresql" else mariadb_server
    with begin(password=PASSWORD) as server:
        yield server


@contextmanager
def speaking_tls(start: Start, certificates: Certificates, **options: object) -> Iterator[AnyServer]:
    with start(tls=certificates, password=PASSWORD, **options) as server:
        yield server


def target_of(server: AnyServer, **changes: object) -> ServerTarget:
    target = parse_dsn(server.dsn())
    assert isinstance(target, ServerTarget)
    return replace(target, **changes)  # type: ignore[arg-type]  # the changes are of its fields


async def is_encrypted(target: ServerTarget) -> bool:
    async with Database(target) as db:
        sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        if db.kind == "mysql":
            sql = "SHOW STATUS LIKE 'Ssl_version'"
        row = (await db.run(db.peewee.execute_sql, sql)).fetchone()
        return bool(row[-1])


async def refusal(target: ServerTarget) -> tuple[str, str, str]:
    """Trouble, detail and the report of a database that cannot be used."""
    database = Database(target, server=ServerLimits(connect=3.0))
    with pytest.raises(DatabaseUnavailable) as refused:
        await database.open()
    text = render(diagnose(refused.value))
    assert PASSWORD not in text + repr(refused.value) + str(refused.value) + repr(refused.value.__cause__)
    return refused.value.trouble, refused.value.detail, text


def report(location: str, cause: str, action: str) -> str:
    return f"The database cannot be used now.\n  cause:  {location}: {cause}\n  action: {action}"


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_a_connection_is_encrypted(start: Start, certificates: Certificates, mode: TlsMode) -> None:
    with speaking_tls(start, certificates) as server:
        ca = certificates.authority if mode != "require" else None
        assert await is_encrypted(target_of(server, tls=Tls(mode=mode, ca=ca)))
        assert not await is_encrypted(target_of(server, tls=Tls(mode="disable")))


async def test_a_client_shows_its_certificate(start: Start, certificates: Certificates) -> None:
    with speaking_tls(start, certificates, tls_mode="client") as server:
        client = certificates.client
        shown = Tls(mode="verify-full", ca=certificates.authority, certificate=client.certificate, key=client.key)
        assert await is_encrypted(target_of(server, tls=shown))
        trouble, _, _ = await refusal(target_of(server, tls=Tls(mode="require")))
        assert trouble in ("tls required", "password", "access", "other")


async def test_a_server_without_tls(plain: AnyServer) -> None:
    target = target_of(plain, tls=Tls(mode="require"))
    trouble, detail, text = await refusal(target)
    assert trouble == "tls missing", detail
    assert text == report(
        target.location,
        f"The server does not speak TLS ({detail}).",
        "Switch TLS on at the server, or set DATABASE_TLS=disable if the network may be read.",
    )


async def test_a_server_that_insists_on_tls(start: Start, certificates: Certificates) -> None:
    with speaking_tls(start, certificates, tls_mode="required") as server:
        target = target_of(server, tls=Tls(mode="disable"))
        trouble, detail, text = await refusal(target)
        if isinstance(server, MariaDBServer):  # it says so in other words
            assert trouble == "password"
            assert detail.endswith("(1045); one that insists on TLS may say the same")
            return
        assert trouble == "tls required", detail
        assert text == report(
            target.location,
            f"The server accepts encrypted connections only ({detail}).",
            "Set DATABASE_TLS=require, or verify-full with DATABASE_TLS_CA.",
        )


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
async def test_a_certificate_signed_by_somebody_else(start: Start, certificates: Certificates, mode: TlsMode) -> None:
    with speaking_tls(start, certificates) as server:
        target = target_of(server, tls=Tls(mode=mode, ca=certificates.other_authority))
        trouble, detail, text = await refusal(target)
        assert trouble == "tls untrusted", detail
        assert text == report(
            target.location,
            f"The server's certificate is signed by nobody trusted here ({detail}).",
            "Set DATABASE_TLS_CA to the file with the certificate of who signed it.",
        )


async def test_an_expired_certificate(start: Start, certificates: Certificates) -> None:
    with start(tls=certificates.expired, password=PASSWORD) as server:
        target = target_of(server, tls=Tls(mode="verify-full", ca=certificates.authority))
        trouble, detail, text = await refusal(target)
        assert trouble == "tls expired", detail
        assert text == report(
            target.location,
            f"The server's certificate is not valid now ({detail}).",
            "Renew the server's certificate, and look at the clocks of both machines.",
        )


async def test_a_certificate_for_another_name(start: Start, certificates: Certificates) -> None:
    with start(tls=certificates.other_host, password=PASSWORD) as server:
        target = target_of(server, tls=Tls(mode="verify-full", ca=certificates.authority))
        trouble, detail, text = await refusal(target)
        assert trouble == "tls name", detail
        assert text == report(
            target.location,
            f"The server's certificate is for another name ({detail}).",
            "Use the host name that the certificate names, or DATABASE_TLS=verify-ca to check only who signed it.",
        )
        assert await is_encrypted(target_of(server, tls=Tls(mode="verify-ca", ca=certificates.authority)))


@pytest.mark.parametrize("which", ["ca", "certificate", "not a certificate"])
async def test_a_file_that_cannot_be_used(start: Start, certificates: Certificates, which: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no certificate")
    client = certificates.client
    tls = {
        "ca": Tls(mode="verify-full", ca=tmp_path / "none.pem"),
        "certificate": Tls(mode="require", certificate=tmp_path / "none.crt", key=client.key),
        "not a certificate": Tls(mode="require", certificate=tmp_path / "text", key=client.key),
    }[which]
    with speaking_tls(start, certificates) as server:
        target = target_of(server, tls=tls)
        trouble, detail, text = await refusal(target)
        assert trouble == "tls file", detail
        assert text == report(
            target.location,
            f"A file of the TLS settings cannot be used ({detail}).",
            "Correct DATABASE_TLS_CA, DATABASE_TLS_CERTIFICATE and DATABASE_TLS_KEY.",
        )


@pytest.mark.parametrize("user", ["postgres or tester", "nobody_of_this_name"])
async def test_a_wrong_user_or_password(plain: AnyServer, user: str) -> None:
    user = plain.user if " " in user else user
    target = target_of(plain, user=user, password=Secret("wrong-" + PASSWORD))
    trouble, detail, text = await refusal(target)
    assert trouble == "password", detail
    assert text == report(
        target.location,
        f"The server refuses user {user} ({detail}).",
        "Correct user and password, in the DSN or in DATABASE_USER and DATABASE_PASSWORD.",
    )


async def test_a_user_that_is_not_there_where_no_password_is_asked() -> None:
    with postgres_server() as server:
        trouble, detail, _ = await refusal(target_of(server, user="nobody"))
        assert (trouble, detail) == ("password", 'role "nobody" does not exist')


async def test_an_unknown_database(plain: AnyServer) -> None:
    target = target_of(plain, name="no_such")
    trouble, detail, text = await refusal(target)
    assert trouble == "no database", detail
    assert text == report(
        target.location,
        f"The server has no database of this name ({detail}).",
        "Make it with `CREATE DATABASE`, or correct the name in the DSN.",
    )


async def test_an_unknown_host(plain: AnyServer) -> None:
    target = target_of(plain, host="no-such-host.invalid")
    trouble, detail, text = await refusal(target)
    assert trouble == "unknown host", detail
    assert text == report(
        target.location,
        f"The host's name does not resolve ({detail}).",
        "Correct the host in the DSN, or wait for its DNS.",
    )


async def test_a_host_that_refuses(plain: AnyServer) -> None:
    with reserved_port() as port:
        target = target_of(plain, port=port)
        trouble, detail, text = await refusal(target)
        assert trouble == "refused", detail
        assert text == report(
            target.location,
            f"Nothing listens there ({detail}).",
            "Start the server, or correct host and port in the DSN.",
        )


async def test_a_host_that_the_server_does_not_let_in() -> None:
    with postgres_server() as server:
        (server.data / "pg_hba.conf").write_text("local all all trust\nhost postgres postgres 127.0.0.1/32 trust\n")
        server.execute("SELECT pg_reload_conf()")
        target = target_of(server)
        trouble, detail, text = await refusal(target)
        assert trouble == "access", detail
        assert text == report(
            target.location,
            f"The server does not let postgres in from here ({detail}).",
            "Allow the host and user on the server (pg_hba.conf, or GRANT ... TO 'user'@'host').",
        )


async def test_a_server_that_takes_no_writes_is_not_up_yet(plain: AnyServer) -> None:
    reading = isinstance(plain, PostgresServer)
    if isinstance(plain, PostgresServer):
        plain.set_read_only(True)
    else:
        plain.execute("SET GLOBAL read_only = 1")
    try:
        target = target_of(plain)
        trouble, detail, text = await refusal(target)
        assert trouble == "read-only"
        assert detail == ("it is a standby or set to read-only" if reading else "its read_only is on")
        assert text == report(
            target.location,
            f"The server takes no writes ({detail}).",
            "Wait for the failover to end, or let the DSN name the primary; connections are made anew meanwhile.",
        )
        async with Database(target, writes=False) as replica:
            assert await replica.scalar(peewee.Select(columns=[peewee.SQL("7")])) == 7
    finally:
        if isinstance(plain, PostgresServer):
            plain.set_read_only(False)
        else:
            plain.execute("SET GLOBAL read_only = 0")
