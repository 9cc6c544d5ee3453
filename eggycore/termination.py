"""The Kubernetes termination log: the last words of a container, shown by `kubectl describe pod`."""

from __future__ import annotations

from pathlib import Path

from eggycore import log

__all__ = ["TERMINATION_LOG", "leave_message"]

TERMINATION_LOG = Path("/dev/termination-log")
LIMIT = 4096
"""Bytes that Kubernetes keeps of it (kubelet, MaxContainerTerminationMessageLength)."""


def leave_message(text: str, path: Path | None = None) -> None:
    """Write the text there if Kubernetes has made the file; what does not fit is cut at the end.

    Args:
        text: What to leave.
        path: The file; TERMINATION_LOG when None.
    """
    path = path or TERMINATION_LOG
    if not path.is_file():
        return
    try:
        path.write_bytes(text.encode()[:LIMIT])
    except OSError as error:
        log.warn("the termination log cannot be written", path=str(path), exc=error)
