"""What is logged of reloads, for the tests of them."""

from __future__ import annotations

from typing import Any

import pytest


class Log:
    """In place of the log: keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def info(self, message: str, **fields: Any) -> None:
        self.lines.append(("info", message, fields))

    def warn(self, message: str, **fields: Any) -> None:
        self.lines.append(("warn", message, fields))

    def error(self, message: str, **fields: Any) -> None:
        self.lines.append(("error", message, fields))


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, dict[str, Any]]]:
    log = Log()
    monkeypatch.setattr("eggycore.reload_record.log", log)
    return log.lines
