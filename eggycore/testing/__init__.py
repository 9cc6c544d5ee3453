"""A test kit for authors of apps and plugins: real runtimes on free ports, clients to them, and a fake clock."""

from __future__ import annotations

from eggycore.testing.clock import FakeClock

__all__ = ["FakeClock"]
