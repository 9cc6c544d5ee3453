"""MariaDB for tests: a server, and one that follows it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.servers.certificates import TLS, TLSMode, identity
from tests.servers.ports import reserved_port
from tests.servers.processes import PATIENCE, Server, account, binary, copied_template, flags, folder_for, run, started

DATABASE = "test"
USER = "tester"
ACCOUNT = "mysql"
FAST = {
    "innodb-flush-log-at-trx-commit": "0",
    "innodb-flush-method": "nosync",
    "innodb-doublewrite": "0",
    "innodb-log-file-size": "8M",
    "innodb-buffer-pool-size": "32M",
    "innodb-buffer-pool-dump-at-shutdown": "0",
    "sync-binlog": "0",
    "binlog-format": "ROW",
    "log-bin": "binlog",
    "performance-schema": "0",
    "character-set-server": "utf8mb4",
}


class MariaDBServer(Server):
    """A MariaDB server with the database `test` and the user `tester`, who may do all but write when read-only."""

    user = USER

    def __init__(self, data: Path, *, port: int, folder: Path, options: Mapping[str, str]) -> None:
        settings = {
            **FAST,
            "datadir": str(data),
            "bind-address": self.host,
            "port": str(port),
            "socket": str(folder / "socket"),
            "pid-file": str(folder / "pid"),
            "server-id": str(port),
            "tmpdir": str(folder),
        }
        words = [_binary("mariadbd"), "--no-defaults", "--skip-name-resolve", *flags({**settings, **options})]
        super().__init__(words, port=port, folder=folder, user=account(ACCOUNT))

    def dsn(self, name: str = DATABASE) -> str:
        """The URL of one of its databases."""
        password = f":{quote(self.password, safe='')}" if self.password is not None else ""
        return f"mysql://{self.user}{password}@{self.host}:{self.port}/{name}"

    def answers(self) -> bool:
        """It has logged that it listens."""
        return "ready for connections" in self.since_start()

    def execute(self, *statements: str, name: str | None = None) -> list[tuple[Any, ...]]:
        """Run statements as root through the Unix socket, in one session.

        Returns:
            The rows of the last one.
        """
        import pymysql

        connection = pymysql.connect(
            unix_socket=str(self.folder / "socket"), user="root", database=name, autocommit=True
        )
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def set_password(self, password: str) -> None:
        """Change the user's password. Connections that are open stay."""
        self.execute(f"ALTER USER {USER}@'%' IDENTIFIED BY {_quoted(password)}")
        self.password = password

    def set_read_only(self, on: bool) -> None:
        """Refuse the writes of everyone but root; reading goes on."""
        self.execute(f"SET GLOBAL read_only = {int(on)}")

    def disconnect_clients(self) -> None:
        """End every session of the user, as an administrator does."""
        self.execute(f"KILL CONNECTION USER {USER}")

    def promote(self) -> None:
        """Make a replica a primary that takes writes."""
        self.execute("STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only = 0")

    def catch_up(self, primary: MariaDBServer) -> None:
        """Wait until this replica has everything that the primary has written so far."""
        position = primary.execute("SELECT @@gtid_binlog_pos")[0][0]
        assert self.execute(f"SELECT MASTER_GTID_WAIT('{position}', {PATIENCE})") == [(0,)], self.since_start()


@contextmanager
def mariadb_server(
    *,
    options: Mapping[str, str] = {},
    tls: TLS | None = None,
    tls_mode: TLSMode = "offered",
    password: str | None = None,
    port: int | None = None,
    data: Path | None = None,
) -> Iterator[MariaDBServer]:
    """A MariaDB server of the test's own, on a free port.

    Args:
        options: Settings of the section [mariadbd], such as {"max-connections": "5"}.
        tls: The server's certificate; None for a server without TLS.
        tls_mode: Whether clients may, must, or must with a certificate of their own use TLS.
        password: Of the user `tester` (mysql_native_password); None for an empty one.
        port: Where it listens; None for a free one.
        data: A data folder that is there already; None for a fresh one.
    """
    user = account(ACCOUNT)
    with reserved_port(port) as chosen, folder_for(user) as folder:
        if data is None:
            data = folder / "data"
            copied_template(f"mariadb-{_version()}", data, _make_template, user=user)
        settings: dict[str, str] = {}
        if tls is not None:
            files = identity(tls).installed(folder, user)
            settings = {"ssl-cert": str(files.certificate), "ssl-key": str(files.key), "ssl-ca": str(files.authority)}
            settings |= {"require-secure-transport": "0" if tls_mode == "offered" else "1"}
        with started(MariaDBServer(data, port=chosen, folder=folder, options={**settings, **options})) as server:
            server.password = password
            server.execute(
                "SET sql_log_bin = 0",  # a replica does the same for itself
                f"CREATE DATABASE IF NOT EXISTS {DATABASE}",
                f"CREATE OR REPLACE USER {USER}@'%' IDENTIFIED BY {_quoted(password or '')}"
                + (" REQUIRE X509" if tls is not None and tls_mode == "client" else ""),
                f"GRANT ALL PRIVILEGES ON *.* TO {USER}@'%' WITH GRANT OPTION",
                f"REVOKE READ_ONLY ADMIN ON *.* FROM {USER}@'%'",
            )
            yield server


@contextmanager
def mariadb_replica(primary: MariaDBServer, *, options: Mapping[str, str] = {}) -> Iterator[MariaDBServer]:
    """A read-only server that follows a primary by streaming; see `catch_up` and `promote`.

    The primary must have been started by `mariadb_server` without `data`: the replica begins at its first event.
    """
    with mariadb_server(options={"read-only": "1", **options}, password=primary.password) as replica:
        replica.execute(
            f"CHANGE MASTER TO MASTER_HOST = '{primary.host}', MASTER_PORT = {primary.port}, MASTER_USER = '{USER}', "
            f"MASTER_PASSWORD = {_quoted(primary.password or '')}, "
            "MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1",
            "START SLAVE",
        )
        yield replica


def _make_template(data: Path) -> None:
    words = [_binary("mariadb-install-db"), "--no-defaults", f"--datadir={data}", "--skip-test-db"]
    words += ["--auth-root-authentication-method=normal", *flags({"innodb-log-file-size": "8M"})]
    words += [f"--user={ACCOUNT}"] if account(ACCOUNT) == ACCOUNT else []
    run(words, user=account(ACCOUNT), cwd=data.parent)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _binary(name: str) -> str:
    return binary(name, "mariadb-server")


def _version() -> str:
    return subprocess.run([_binary("mariadbd"), "-V"], capture_output=True, text=True, check=True).stdout.split()[2]
