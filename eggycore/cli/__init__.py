"""The `eggycore` command. Importing this imports click and no sub-command; each is imported when it is called."""

from __future__ import annotations

from eggycore.cli.group import eggycore, main

__all__ = ["eggycore", "main"]
