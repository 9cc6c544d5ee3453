"""Structured logging: one JSON object per line, written without holding up the event loop.

    from eggycore import log

    log.info("form stored", form=form.id, title=form.title)

The functions here are what most code needs. `get` returns a structlog logger with fields of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from eggycore.log.context import CONTEXT, accept_request_id, new_request_id, request_id, with_context
from eggycore.log.errors import LogTargetError
from eggycore.log.levels import DEBUG, ERROR, INFO, NUMBERS, WARN, Level
from eggycore.log.options import Format, default_options
from eggycore.log.pipeline import PIPELINE

if TYPE_CHECKING:
    from eggycore.log.loggers import Logger
    from eggycore.log.settings import LogSettings

__all__ = [
    "CONTEXT",
    "Format",
    "Level",
    "LogSettings",
    "LogTargetError",
    "Logger",
    "accept_request_id",
    "close",
    "debug",
    "dropped",
    "enabled",
    "error",
    "exception",
    "fatal",
    "flush",
    "from_context",
    "get",
    "info",
    "init",
    "level",
    "new_request_id",
    "on_fatal",
    "request_id",
    "sampled",
    "set_level",
    "warn",
    "with_context",
    "write",
]

_HOME = {"LogSettings": "eggycore.log.settings", "Logger": "eggycore.log.loggers"}


def __getattr__(name: str) -> object:
    # Settings bring the configuration library with them, loggers bring structlog: only who names them pays for them.
    if (home := _HOME.get(name)) is None:
        raise AttributeError(f"module 'eggycore.log' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def init(
    level: Level = "info",
    format: Format = "json",
    *,
    service: str = "",
    environment: str = "",
    settings: LogSettings | None = None,
) -> None:
    """Open the outputs and take over the standard library's logging and warnings.

    Calling it again closes the former outputs once the new ones are open. Before it and after `close`, warnings and
    above are said on stderr and nothing else is logged. What is still queued when the interpreter exits is written.

    Args:
        level: Least severe level that is logged; `set_level` changes it.
        format: "json", or "console" for people; log files are always JSON.
        service: Field of every line.
        environment: Field of every line.
        settings: Outputs, rotation, flush mode and sampling; without them stdout, in batches.

    Raises:
        LogTargetError: A log file cannot be written; the log is as it was.
        ValueError: There is no such level.
    """
    options = default_options() if settings is None else settings.options()
    PIPELINE.start(level, format, options, service=service, environment=environment)


def debug(msg: str, /, **fields: object) -> None:
    """Log what only somebody who looks for a fault wants to know."""
    if PIPELINE.threshold <= DEBUG:
        PIPELINE.emit(DEBUG, msg, fields)


def info(msg: str, /, **fields: object) -> None:
    """Log what happens as it should."""
    if PIPELINE.threshold <= INFO:
        PIPELINE.emit(INFO, msg, fields)


def warn(msg: str, /, **fields: object) -> None:
    """Log what should not be, and what the service copes with. Written at once, as everything above it."""
    if PIPELINE.threshold <= WARN:
        PIPELINE.emit(WARN, msg, fields)


def error(msg: str, /, **fields: object) -> None:
    """Log what failed; `exc=error` adds an exception with its type, message and frames."""
    if PIPELINE.threshold <= ERROR:
        PIPELINE.emit(ERROR, msg, fields)


def exception(msg: str, /, **fields: object) -> None:
    """Log what failed, with the exception that is being handled."""
    fields.setdefault("exc", sys.exc_info()[1])
    error(msg, **fields)


def fatal(msg: str, /, **fields: object) -> None:
    """Log why the process cannot go on, and end it.

    Under a runtime it asks for a clean stop with exit code 1 and returns; see `on_fatal`.

    Raises:
        SystemExit: With code 1, when nobody has taken over with `on_fatal`.
    """
    PIPELINE.fatal(msg, fields)


def write(level: Level, message: str, fields: Mapping[str, object]) -> None:
    """Log a line whose fields are a dict already: the way of access lines. As `info` and its like otherwise."""
    number = NUMBERS[level]
    if PIPELINE.threshold <= number:
        PIPELINE.emit(number, message, fields)


def get(name: str = "") -> Logger:
    """A logger; its lines carry the field `logger` when it has a name. The first call imports structlog."""
    from eggycore.log.loggers import make_logger

    return make_logger(name)


def from_context() -> Logger:
    """A logger that carries the fields of the current context to where the context does not reach."""
    from eggycore.log.loggers import logger_from_context

    return logger_from_context()


def enabled(level: Level) -> bool:
    """Whether a line of this level would be logged: ask before computing a costly field."""
    return PIPELINE.threshold <= NUMBERS[level]


def set_level(level: Level) -> None:
    """Change the least severe level that is logged, for loggers that exist and for the standard library's too.

    Raises:
        ValueError: There is no such level.
    """
    PIPELINE.set_level(level)


def level() -> Level:
    """The least severe level that is logged now."""
    return PIPELINE.level()


def dropped() -> int:
    """Lines that an output never got since the process started: its queue was full, or it was gone."""
    return PIPELINE.dropped


def sampled() -> int:
    """Lines that sampling held back since the process started."""
    return PIPELINE.sampled


def on_fatal(callback: Callable[[str], None] | None) -> None:
    """Let `fatal` call this with its message and return, instead of raising SystemExit; None undoes it."""
    PIPELINE.on_fatal = callback


def flush(timeout: float = 1.0) -> bool:
    """Wait until everything logged before is written, at most `timeout` seconds. Blocks. Whether it is written."""
    return PIPELINE.flush(timeout)


def close(timeout: float = 1.0) -> None:
    """Write what waits, at most `timeout` seconds, end the writer thread and close the files. Idempotent."""
    PIPELINE.stop(timeout)
