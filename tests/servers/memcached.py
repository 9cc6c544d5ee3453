"""Memcached for tests."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.servers.certificates import TLS, TLSMode, identity
from tests.servers.ports import reserved_port
from tests.servers.processes import Server, account, binary, folder_for, started

USER = "tester"
PATIENCE = 5
"""Seconds for an answer."""

_ONE_LINE = re.compile(rb"(?!STAT |VALUE )[^\r]*\r\n")


class MemcachedServer(Server):
    """A Memcached server of 64 MB."""

    def __init__(self, words: list[str], *, port: int, folder: Path, tls: bool) -> None:
        super().__init__([binary("memcached", "memcached"), *words], port=port, folder=folder)
        self._tls = tls

    def dsn(self) -> str:
        """Its URL."""
        return f"memcached://{self.host}:{self.port}"

    def answers(self) -> bool:
        """It is this process that answers; with TLS or a password, a connection is taken."""
        try:
            if self._tls or self.password is not None:
                socket.create_connection((self.host, self.port), timeout=PATIENCE).close()
                return True
            return f"STAT pid {self.pid}\r" in self.command("stats")
        except OSError:
            return False

    def command(self, line: str) -> str:
        """Send one command of one line, such as `flush_all` or `stats`, and return its answer; not through TLS."""
        with socket.create_connection((self.host, self.port), timeout=PATIENCE) as connection:
            connection.sendall(f"{line}\r\n".encode())
            answer = b""
            while not answer.endswith(b"END\r\n") and not _ONE_LINE.fullmatch(answer):
                piece = connection.recv(65536)
                if not piece:
                    break
                answer += piece
            return answer.decode()


@contextmanager
def memcached_server(
    *,
    options: Mapping[str, str] = {},
    tls: TLS | None = None,
    tls_mode: TLSMode = "required",
    password: str | None = None,
    port: int | None = None,
) -> Iterator[MemcachedServer]:
    """A Memcached server of the test's own, on a free port.

    Args:
        options: A name of one letter is a flag ({"m": "1"}), a longer one goes to `-o` ({"maxconns_fast": ""}).
        tls: The server's certificate; None for a server without TLS.
        tls_mode: "client" asks clients for a certificate; the two others are the same here.
        password: Of the user `tester`, in the text protocol's authentication; None asks for none.
        port: Where it listens; None for a free one.
    """
    with reserved_port(port) as chosen, folder_for(None) as folder:
        extended = {name: value for name, value in options.items() if len(name) > 1}
        single = {"m": "64", "t": "2", **{name: value for name, value in options.items() if len(name) == 1}}
        words = ["-p", str(chosen), "-l", Server.host, "-U", "0"]
        words += ["-u", "root"] if account("root") else []
        words += [word for name, value in single.items() for word in (f"-{name}", value) if word]
        if tls is not None:
            files = identity(tls).installed(folder, None)
            words += ["-Z"]
            extended |= {"ssl_chain_cert": str(files.certificate), "ssl_key": str(files.key)}
            extended |= {"ssl_ca_cert": str(files.authority), "ssl_verify_mode": "2"} if tls_mode == "client" else {}
        if password is not None:
            users = folder / "users"
            users.write_text(f"{USER}:{password}\n")
            words += ["-Y", str(users)]
        if extended:
            words += ["-o", ",".join(f"{name}={value}" if value else name for name, value in extended.items())]
        server = MemcachedServer(words, port=chosen, folder=folder, tls=tls is not None)
        if password is not None:
            server.user, server.password = USER, password
        with started(server):
            yield server
