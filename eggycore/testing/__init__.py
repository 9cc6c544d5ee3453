"""A test kit for authors of apps and plugins: real runtimes on free ports, clients to them, and a fake clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eggycore.testing.clock import FakeClock

if TYPE_CHECKING:
    from eggycore.testing.kit import Running, running

__all__ = ["FakeClock", "Running", "running"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from eggycore.testing import kit

    return getattr(kit, name)
