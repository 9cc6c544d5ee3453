"""Hypothesis without deadlines: the first example pays for imports, and the machine may be busy."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("eggycore", deadline=None)
settings.load_profile("eggycore")
