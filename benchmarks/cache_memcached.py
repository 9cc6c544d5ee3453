"""`CacheService` over Memcached beside pymemcache in threads."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.data.caches import beside_raw_client
from benchmarks.data.contender import OURS, Contender
from benchmarks.processes import free_ports
from benchmarks.rows import Row

PATIENCE = 10.0
"""Seconds until Memcached has to listen."""

THREADS = (6, 32)
"""Of pymemcache: what asyncio.to_thread has on two cores, and one for each task."""


def rows() -> list[Row]:
    """Operations per second, as multiples of pymemcache's with the better number of threads."""
    with _memcached() as port:
        ours = Contender("eggycore", OURS, "cache_eggycore.py", [f"memcached://127.0.0.1:{port}"])
        raw = [
            Contender(f"pymemcache, {count} threads", OURS, "cache_pymemcache.py", ["127.0.0.1", str(port), str(count)])
            for count in THREADS
        ]
        return beside_raw_client("Memcached", "pymemcache", ours, raw)


@contextmanager
def _memcached() -> Iterator[int]:
    """A Memcached of 256 MB on a free port of the loopback.

    Raises:
        RuntimeError: It is not installed, or does not listen in time.
    """
    if (program := shutil.which("memcached")) is None:
        raise RuntimeError(
            "memcached is not installed. Install it: sudo apt-get install memcached (Debian), "
            "brew install memcached (macOS)."
        )
    (port,) = free_ports(1)
    words = [program, "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "256", "-t", "2"]
    if os.geteuid() == 0:
        words += ["-u", "root"]
    process = subprocess.Popen(words)
    try:
        until = time.monotonic() + PATIENCE
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("memcached does not listen")
            time.sleep(0.01)
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return False
    return True
