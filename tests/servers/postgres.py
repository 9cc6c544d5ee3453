"""PostgreSQL for tests: a server, and one that follows it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.servers.certificates import TLS, TLSMode, identity
from tests.servers.ports import reserved_port
from tests.servers.processes import (
    Server,
    account,
    binary,
    copied_template,
    flags,
    folder_for,
    give,
    run,
    started,
    wait_until,
)

DATABASE = "test"
SUPERUSER = "postgres"
FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "dynamic_shared_memory_type": "mmap",  # in the data folder, so that a killed server leaves nothing behind
    "wal_level": "replica",
}


class PostgresServer(Server):
    """A PostgreSQL server with the database `test` and the superuser `postgres`."""

    user = SUPERUSER

    def __init__(self, data: Path, *, port: int, folder: Path, options: Mapping[str, str]) -> None:
        settings = {**FAST, "listen_addresses": self.host, "port": str(port), "unix_socket_directories": str(folder)}
        words = [_binary("postgres"), "-D", str(data), *flags({**settings, **options})]
        # SIGTERM would wait for the clients to leave.
        super().__init__(words, port=port, folder=folder, user=account(SUPERUSER), stop_signal=signal.SIGINT)
        self.data = data
        self.options = dict(options)

    def dsn(self, name: str = DATABASE) -> str:
        """The URL of one of its databases."""
        password = f":{quote(self.password, safe='')}" if self.password is not None else ""
        return f"postgresql://{self.user}{password}@{self.host}:{self.port}/{name}"

    def answers(self) -> bool:
        """As pg_ctl finds out: the eighth line of the file that the postmaster keeps."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[7].strip() == "ready" and lines[0].strip() == str(self.pid)

    def execute(self, sql: str, *, name: str = DATABASE) -> list[tuple[Any, ...]]:
        """Run one statement as the superuser through the Unix socket, where no password is asked.

        Returns:
            Its rows; [] when it has none.
        """
        import psycopg2

        connection = psycopg2.connect(host=str(self.folder), port=self.port, user=SUPERUSER, dbname=name)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def set_password(self, password: str) -> None:
        """Change the superuser's password. Connections that are open stay."""
        self.execute(_password_statement(password))
        self.password = password

    def set_read_only(self, on: bool) -> None:
        """Refuse writes, also in sessions that are open; reading goes on. Comes into force within milliseconds."""
        self.execute(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}")
        self.execute("SELECT pg_reload_conf()")
        wanted = "on" if on else "off"
        wait_until(lambda: self.execute("SHOW default_transaction_read_only") == [(wanted,)])

    def disconnect_clients(self) -> None:
        """End every session of a client, as an administrator does."""
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

    def promote(self) -> None:
        """Make a replica a primary; returns when it takes writes."""
        self.execute("SELECT pg_promote(true)")
        wait_until(lambda: self.execute("SELECT pg_is_in_recovery()") == [(False,)])

    def catch_up(self, primary: PostgresServer) -> None:
        """Wait until this replica has everything that the primary has written so far."""
        # Commits are flushed later (synchronous_commit = off), and with this one at once.
        primary.execute("SET synchronous_commit = on; SELECT pg_logical_emit_message(true, 'catch up', '')")
        written = primary.execute("SELECT pg_current_wal_flush_lsn()")[0][0]
        sql = f"SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn"
        wait_until(lambda: self.execute(sql) == [(True,)])

    def close(self) -> None:
        """Immediate shutdown: the postmaster takes its shared memory away, which a killed one cannot."""
        if self.running:
            self.resume()
            self._stop_signal = signal.SIGQUIT
            self.stop()
        self._remove_shared_memory()

    def _remove_shared_memory(self) -> None:
        pid_file = self.data / "postmaster.pid"
        lines = pid_file.read_text().splitlines() if pid_file.exists() else []
        if len(lines) > 6 and len(lines[6].split()) == 2:
            segment = lines[6].split()[1]
            subprocess.run(["ipcrm", "-m", segment], capture_output=True)  # it may be gone already


@contextmanager
def postgres_server(
    *,
    options: Mapping[str, str] = {},
    tls: TLS | None = None,
    tls_mode: TLSMode = "offered",
    password: str | None = None,
    port: int | None = None,
    data: Path | None = None,
) -> Iterator[PostgresServer]:
    """A PostgreSQL server of the test's own, on a free port.

    Args:
        options: Settings of postgresql.conf, such as {"max_connections": "5"}.
        tls: The server's certificate; None for a server without TLS.
        tls_mode: Whether clients may, must, or must with a certificate of their own use TLS.
        password: The superuser's (SCRAM); None lets everyone in from the loopback.
        port: Where it listens; None for a free one.
        data: A data folder that is there already; None for a fresh one.
    """
    user = account(SUPERUSER)
    with reserved_port(port) as chosen, folder_for(user) as folder:
        if data is None:
            data = folder / "data"
            copied_template(f"postgres-{_version()}", data, _make_template, user=user)
        with _serving(data, chosen, folder, options=options, tls=tls, tls_mode=tls_mode, password=password) as server:
            yield server


@contextmanager
def postgres_replica(primary: PostgresServer, *, options: Mapping[str, str] = {}) -> Iterator[PostgresServer]:
    """A hot standby that follows a primary by streaming; see `catch_up` and `promote`. It asks for no password."""
    user = account(SUPERUSER)
    with reserved_port() as port, folder_for(user) as folder:
        data = folder / "data"
        source = f"host={primary.folder} port={primary.port} user={SUPERUSER}"
        words = [_binary("pg_basebackup"), "-D", str(data), "-R", "-X", "stream", "--checkpoint=fast", "--no-sync"]
        run([*words, "-d", source], user=user, cwd=folder)
        primary_options = {name: value for name, value in primary.options.items() if name == "max_connections"}
        options = {**primary_options, **options}  # a standby with a smaller value refuses to start
        with _serving(data, port, folder, options=options, tls=None, tls_mode="offered", password=None) as server:
            yield server


@contextmanager
def _serving(
    data: Path,
    port: int,
    folder: Path,
    *,
    options: Mapping[str, str],
    tls: TLS | None,
    tls_mode: TLSMode,
    password: str | None,
) -> Iterator[PostgresServer]:
    user = account(SUPERUSER)
    method = "trust" if password is None else "scram-sha-256"
    _write(data / "pg_hba.conf", _access(method, tls_mode if tls else "offered"), user)
    settings: dict[str, str] = {}
    if tls is not None:
        files = identity(tls).installed(folder, user)
        settings = {"ssl": "on", "ssl_cert_file": str(files.certificate), "ssl_key_file": str(files.key)}
        settings |= {"ssl_ca_file": str(files.authority)} if tls_mode == "client" else {}
    if password is not None:
        _single_user(data, _password_statement(password))
    server = PostgresServer(data, port=port, folder=folder, options={**settings, **options})
    server.password = password
    with started(server):
        yield server


def _access(method: str, tls_mode: TLSMode) -> str:
    kind = "host" if tls_mode == "offered" else "hostssl"
    more = " clientcert=verify-ca" if tls_mode == "client" else ""
    remote = [f"{kind} {databases} all {net} {method}{more}" for databases in ("all", "replication") for net in _NETS]
    return "\n".join(["local all all trust", "local replication all trust", *remote, ""])


_NETS = ("127.0.0.1/32", "::1/128")


def _password_statement(password: str) -> str:
    escaped = password.replace("'", "''")
    return f"ALTER USER {SUPERUSER} PASSWORD '{escaped}'"


def _make_template(data: Path) -> None:
    user = account(SUPERUSER)
    words = [_binary("initdb"), "-D", str(data), "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--no-sync"]
    run([*words, "--locale=C.UTF-8"], user=user, cwd=data.parent)
    _single_user(data, f"CREATE DATABASE {DATABASE}")


def _single_user(data: Path, sql: str) -> None:
    words = [_binary("postgres"), "--single", "-D", str(data), "-c", "fsync=off", "postgres"]
    run(words, user=account(SUPERUSER), cwd=data.parent, given=f"{sql}\n")


def _write(path: Path, text: str, user: str | None) -> None:
    path.write_text(text)
    path.chmod(0o600)
    give(path, user)


def _binary(name: str) -> str:
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name))
    return binary(name, "postgresql", [str(path) for path in newest])


def _version() -> str:
    return subprocess.run([_binary("postgres"), "-V"], capture_output=True, text=True, check=True).stdout.split()[2]
