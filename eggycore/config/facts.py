"""What defaults may depend on: where the process runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Facts", "in_container", "in_kubernetes"]

_CONTAINER_MARKS = (".dockerenv", "run/.containerenv")


def in_kubernetes(environ: Mapping[str, str]) -> bool:
    """Whether the process runs in a pod: the kubelet sets KUBERNETES_SERVICE_HOST in each."""
    return bool(environ.get("KUBERNETES_SERVICE_HOST"))


def in_container(root: Path = Path("/")) -> bool:
    """Whether Docker or Podman has left its mark at the root of the file system."""
    return any((root / mark).exists() for mark in _CONTAINER_MARKS)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a default that is a function is given.

    Args:
        kubernetes: The process runs in a pod.
        container: The process runs in a container, in Kubernetes or not.
        terminal: Standard output is a terminal.
        environ: The process environment, for what the other facts do not say. Never shown by `repr`.
    """

    kubernetes: bool = False
    container: bool = False
    terminal: bool = False
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Facts:
        """The facts about this process, had it this environment."""
        kubernetes = in_kubernetes(environ)
        return cls(
            kubernetes=kubernetes,
            container=kubernetes or in_container(),
            terminal=_on_terminal(),
            environ=environ,
        )

    @classmethod
    def here(cls) -> Facts:
        """The facts about this process."""
        return cls.of(os.environ)


def _on_terminal() -> bool:
    stream = sys.stdout
    if stream is None or stream.closed:  # a daemon may have neither; typeshed does not know
        return False
    return stream.isatty()
