"""The servers really speak TLS, and with the certificates that they are given."""

from __future__ import annotations

import socket
import ssl
from contextlib import ExitStack
from pathlib import Path

import psycopg2
import pymysql
import pytest
import redis

from tests.infra.clients import on_mariadb, on_postgres, trusting
from tests.servers import (
    Certificates,
    Identity,
    MemcachedServer,
    Server,
    mariadb_server,
    memcached_server,
    postgres_server,
    redis_server,
)

FULL = {"sslmode": "verify-full"}


def test_postgres_with_the_right_authority_and_with_wrong_ones(certificates: Certificates) -> None:
    with postgres_server(tls=certificates) as server:
        dsn = server.dsn()
        sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert on_postgres(dsn, sql, sslrootcert=str(certificates.authority), **FULL) == [(True,)]
        assert on_postgres(dsn, sql, sslmode="disable") == [(False,)]
        with pytest.raises(psycopg2.OperationalError, match="certificate verify failed"):
            on_postgres(dsn, sql, sslrootcert=str(certificates.other_authority), **FULL)


def test_postgres_that_demands_tls_refuses_plain_text(certificates: Certificates) -> None:
    with postgres_server(tls=certificates, tls_mode="required", password="secret") as server:
        assert on_postgres(server.dsn(), "SELECT 1", sslmode="require") == [(1,)]
        with pytest.raises(psycopg2.OperationalError, match="no encryption"):
            on_postgres(server.dsn(), "SELECT 1", sslmode="disable")


def test_postgres_that_demands_a_client_s_certificate(certificates: Certificates) -> None:
    mine = {"sslcert": str(certificates.client.certificate), "sslkey": str(certificates.client.key)}
    with postgres_server(tls=certificates, tls_mode="client") as server:
        assert on_postgres(server.dsn(), "SELECT 1", sslmode="require", **mine) == [(1,)]
        with pytest.raises(psycopg2.OperationalError, match="client certificate"):
            on_postgres(server.dsn(), "SELECT 1", sslmode="require")


@pytest.mark.parametrize(
    ("name", "said"), [("expired", "certificate verify failed"), ("other_host", 'does not match host name "127.0.0.1"')]
)
def test_postgres_with_a_certificate_that_is_not_in_order(certificates: Certificates, name: str, said: str) -> None:
    with (
        postgres_server(tls=getattr(certificates, name)) as server,
        pytest.raises(psycopg2.OperationalError, match=said),
    ):
        on_postgres(server.dsn(), "SELECT 1", sslrootcert=str(certificates.authority), **FULL)


def test_mariadb_with_the_right_authority_and_with_wrong_ones(certificates: Certificates) -> None:
    with mariadb_server(tls=certificates) as server:
        sql = "SHOW STATUS LIKE 'Ssl_version'"
        assert on_mariadb(server.dsn(), sql, ssl=trusting(certificates.authority))[0][1].startswith("TLS")
        assert on_mariadb(server.dsn(), sql, ssl_disabled=True)[0][1] == ""
        with pytest.raises(pymysql.OperationalError, match="certificate verify failed"):
            on_mariadb(server.dsn(), sql, ssl=trusting(certificates.other_authority))


def test_mariadb_that_demands_tls_refuses_plain_text(certificates: Certificates) -> None:
    with mariadb_server(tls=certificates, tls_mode="required") as server:
        assert on_mariadb(server.dsn(), "SELECT 1", ssl=trusting(certificates.authority)) == ((1,),)
        with pytest.raises(pymysql.OperationalError, match=r"Access denied|insecure transport"):
            on_mariadb(server.dsn(), "SELECT 1", ssl_disabled=True)


def test_mariadb_that_demands_a_client_s_certificate(certificates: Certificates) -> None:
    with mariadb_server(tls=certificates, tls_mode="client") as server:
        context = trusting(certificates.authority)
        with pytest.raises(pymysql.OperationalError, match="Access denied"):
            on_mariadb(server.dsn(), "SELECT 1", ssl=context)
        context.load_cert_chain(certificates.client.certificate, certificates.client.key)
        assert on_mariadb(server.dsn(), "SELECT 1", ssl=context) == ((1,),)


def test_redis_with_the_right_authority_and_with_wrong_ones(certificates: Certificates) -> None:
    with redis_server(tls=certificates, password="secret") as server:
        assert server.dsn().startswith("rediss://:secret@127.0.0.1:")
        with redis.Redis.from_url(server.dsn(), ssl_ca_certs=str(certificates.authority)) as client:
            assert client.ping()
        with (
            redis.Redis.from_url(server.dsn(), ssl_ca_certs=str(certificates.other_authority)) as client,
            pytest.raises(redis.ConnectionError, match="certificate verify failed"),
        ):
            client.ping()


def test_redis_that_demands_a_client_s_certificate(certificates: Certificates) -> None:
    mine = {"ssl_certfile": str(certificates.client.certificate), "ssl_keyfile": str(certificates.client.key)}
    authority = str(certificates.authority)
    with redis_server(tls=certificates, tls_mode="client") as server:
        with redis.Redis.from_url(server.dsn(), ssl_ca_certs=authority, **mine) as client:
            assert client.ping()
        with redis.Redis.from_url(server.dsn(), ssl_ca_certs=authority) as client, pytest.raises(redis.ConnectionError):
            client.ping()


def test_memcached_with_the_right_authority_and_with_wrong_ones(certificates: Certificates) -> None:
    with memcached_server(tls=certificates) as server:
        assert _version(server, trusting(certificates.authority)).startswith(b"VERSION")
        with pytest.raises(ssl.SSLCertVerificationError):
            _version(server, trusting(certificates.other_authority))


def test_memcached_that_demands_a_client_s_certificate(certificates: Certificates) -> None:
    context = trusting(certificates.authority)
    with memcached_server(tls=certificates, tls_mode="client") as server:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            assert _version(server, context), "closed without a word"
        context.load_cert_chain(certificates.client.certificate, certificates.client.key)
        assert _version(server, context).startswith(b"VERSION")


def test_an_installed_key_can_be_read_by_its_owner_only(certificates: Certificates, tmp_path: Path) -> None:
    copy = certificates.server.installed(tmp_path, None)
    assert isinstance(copy, Identity)
    assert copy.key.stat().st_mode & 0o777 == 0o600


def _version(server: MemcachedServer, context: ssl.SSLContext) -> bytes:
    with ExitStack() as stack:
        plain = stack.enter_context(socket.create_connection((Server.host, server.port), timeout=5))
        secured = stack.enter_context(context.wrap_socket(plain, server_hostname=Server.host))
        secured.sendall(b"version\r\n")
        return secured.recv(64)
