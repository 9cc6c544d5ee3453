"""The name under which a process contends: nobody else has it, not even the same container started again."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping

__all__ = ["new_identity"]


def new_identity(environ: Mapping[str, str] = os.environ) -> str:
    """The pod's name, which is its host's, and eight random digits: "forms-7d9c5-x2x7p_3f9a1c04"."""
    pod = environ.get("HOSTNAME") or socket.gethostname()
    return f"{pod[:200]}_{secrets.token_hex(4)}"
