"""An app that reports each mark that it is told of, with the moment, to the socket in TOLD."""

from __future__ import annotations

import os
import socket
import time

from eggycore import Settings, env, hookimpl
from eggycore.types import Change


class Marks(Settings):
    """The mark."""

    mark: int = env("MARK", default=0, ge=0, reload=True, doc="When it was written.")


TOLD = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
TOLD.connect(os.environ["TOLD"])


@hookimpl
def register_settings() -> type[Marks]:
    """MARK."""
    return Marks


@hookimpl
def config_changed(change: Change) -> None:
    """Report it."""
    told = time.monotonic_ns()
    TOLD.send(f"{change.new[Marks].mark} {told}".encode())
