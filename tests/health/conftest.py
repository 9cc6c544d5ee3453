"""What the health tests share: a log that is only remembered."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partialmethod

import pytest


@dataclass
class RememberedLog:
    """Stands in for `eggycore.log`."""

    lines: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)

    def _remember(self, level: str, message: str, /, **fields: object) -> None:
        self.lines.append((level, message, fields))

    debug = partialmethod(_remember, "debug")
    info = partialmethod(_remember, "info")
    warn = partialmethod(_remember, "warn")
    error = partialmethod(_remember, "error")


@pytest.fixture(autouse=True)
def remembered_log(monkeypatch: pytest.MonkeyPatch) -> RememberedLog:
    """What the health code logs."""
    log = RememberedLog()
    monkeypatch.setattr("eggycore.health.log", log)
    return log
