"""Redis for tests: one server, or one that follows another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.servers.certificates import TLS, Identity, TLSMode, identity
from tests.servers.ports import reserved_port
from tests.servers.processes import Server, binary, folder_for, started

if TYPE_CHECKING:
    from redis import Redis


PATIENCE = 5
"""Seconds for an answer."""


class RedisServer(Server):
    """A Redis server that keeps nothing on disk."""

    def __init__(
        self, words: list[str], *, port: int, folder: Path, tls: Identity | None = None, password: str | None = None
    ) -> None:
        super().__init__([binary("redis-server", "redis-server"), *words], port=port, folder=folder)
        self.password = password
        self._tls = tls

    def dsn(self, name: str = "0") -> str:
        """The URL of one of its databases, which are numbers."""
        scheme = "redis" if self._tls is None else "rediss"
        password = f":{quote(self.password, safe='')}@" if self.password is not None else ""
        return f"{scheme}://{password}{self.host}:{self.port}/{name}"

    def client(self) -> Redis:
        """A client for the test's own look at the server, which does not try twice; close it."""
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        secured: dict[str, Any] = {}
        if self._tls is not None:
            secured = {
                "ssl": True,
                "ssl_cert_reqs": "none",
                "ssl_check_hostname": False,
                "ssl_certfile": str(self._tls.certificate),
                "ssl_keyfile": str(self._tls.key),
            }
        return redis.Redis(
            self.host,
            self.port,
            password=self.password,
            decode_responses=True,
            socket_timeout=PATIENCE,
            retry=Retry(NoBackoff(), 0),
            **secured,
        )

    def execute(self, *words: str) -> Any:
        """Send one command and return its answer."""
        with self.client() as client:
            return client.execute_command(*words)

    def answers(self) -> bool:
        """It is this process that answers, so it has also read its data."""
        import redis

        try:
            return bool(self.execute("INFO", "server")["process_id"] == self.pid)
        except (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError):
            return False

    def set_password(self, password: str) -> None:
        """Change the password. Connections that are open stay."""
        self.execute("CONFIG", "SET", "requirepass", password)
        self.password = password
        position = self._command.index("--requirepass") if "--requirepass" in self._command else None
        if position is not None:
            self._command[position + 1] = password  # what it is started with again

    def set_read_only(self, on: bool) -> None:
        """Refuse writes, as a primary does that has lost its replicas; reading goes on."""
        self.execute("CONFIG", "SET", "min-replicas-to-write", "9" if on else "0")

    def disconnect_clients(self) -> None:
        """End every client's connection."""
        self.execute("CLIENT", "KILL", "TYPE", "normal")


@contextmanager
def redis_server(
    *,
    options: Mapping[str, str] = {},
    tls: TLS | None = None,
    tls_mode: TLSMode = "required",
    password: str | None = None,
    port: int | None = None,
) -> Iterator[RedisServer]:
    """A Redis server of the test's own, on a free port.

    Args:
        options: Settings of redis.conf, such as {"maxmemory": "2mb"}.
        tls: The server's certificate; the port then speaks TLS only. None for a server without TLS.
        tls_mode: "client" asks clients for a certificate; the two others are the same here.
        password: Of the user `default`; None asks for none.
        port: Where it listens; None for a free one.
    """
    with reserved_port(port) as chosen, folder_for(None) as folder:
        settings = {"bind": Server.host, "dir": str(folder), "save": "", "appendonly": "no", "port": str(chosen)}
        files = identity(tls).installed(folder, None) if tls is not None else None
        if files is not None:
            settings |= {
                "port": "0",
                "tls-port": str(chosen),
                "tls-cert-file": str(files.certificate),
                "tls-key-file": str(files.key),
                "tls-ca-cert-file": str(files.authority),
                "tls-auth-clients": "yes" if tls_mode == "client" else "no",
            }
        if password is not None:
            settings["requirepass"] = password
        words = [word for name, value in {**settings, **options}.items() for word in (f"--{name}", value)]
        with started(RedisServer(words, port=chosen, folder=folder, tls=files, password=password)) as server:
            yield server
