"""Ports of the loopback that one process of the machine holds, also while nothing listens on them.

They lie below the range that the kernel gives to outgoing connections, so that a server which is down for a moment
finds its port free when it comes back.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOST = "127.0.0.1"
RANGE = (20_000, 30_000)
ATTEMPTS = 1_000

_random = random.SystemRandom()


def shared_folder() -> Path:
    """A folder that all test processes of this user share. Other users may pass through it and not look inside."""
    folder = Path(tempfile.gettempdir()).resolve() / f"eggycore-servers-{os.getuid()}"
    folder.mkdir(mode=0o711, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else")
    return folder


@contextmanager
def reserved_port(port: int | None = None) -> Iterator[int]:
    """A port that no other test takes until the end of the block.

    Args:
        port: The one wanted; None takes any that is free.
    """
    if port is not None:
        yield port
        return
    for _ in range(ATTEMPTS):
        candidate = _random.randrange(*RANGE)
        with _lock(candidate) as mine:
            if mine and _is_free(candidate):
                yield candidate
                return
    raise RuntimeError(f"none of {ATTEMPTS} ports between {RANGE[0]} and {RANGE[1]} is free")


@contextmanager
def _lock(port: int) -> Iterator[bool]:
    """Whether the lock of a port was free; it is held until the end of the block."""
    folder = shared_folder() / "ports"
    folder.mkdir(exist_ok=True)
    with (folder / str(port)).open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _is_free(port: int) -> bool:
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        return False
    return True
