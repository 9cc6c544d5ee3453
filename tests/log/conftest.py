"""A log that writes to a file of the test, and is taken down again with nothing left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from eggycore import log
from eggycore.log.options import FileOutput, Options
from eggycore.log.pipeline import PIPELINE


@dataclass(frozen=True)
class LogFile:
    """The log file of a test; reading it waits for what is queued."""

    path: Path

    def lines(self) -> list[dict[str, Any]]:
        assert log.flush(10.0)
        return read_lines(self.path)

    def last(self) -> dict[str, Any]:
        return self.lines()[-1]


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def start_log(tmp_path: Path) -> Iterator[Callable[..., LogFile]]:
    def start(level: str = "info", **options: Any) -> LogFile:
        path = tmp_path / "service.log"
        outputs = options.pop("outputs", (FileOutput(path=path),))
        PIPELINE.start(level, "json", Options(outputs=outputs, **options), service="forms", environment="test")
        return LogFile(path)

    yield start
    log.on_fatal(None)
    log.close(10.0)


@pytest.fixture
def log_file(start_log: Callable[..., LogFile]) -> LogFile:
    return start_log()
