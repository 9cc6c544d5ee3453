"""structlog's part: bound loggers, and structlog itself set up so that its users' lines come out like ours.

Imported when a logger object is first asked for: `import structlog` takes 50 to 110 ms, most of it for rich, which
it imports whenever that is installed. The functions of `eggycore.log` do without.
"""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor

from eggycore.log.context import CONTEXT
from eggycore.log.levels import DEBUG, ERROR, FATAL, INFO, WARN, number_of
from eggycore.log.pipeline import PIPELINE

__all__ = ["Logger", "configure_structlog", "logger_from_context", "make_logger"]


class _Output:
    """What structlog hands finished lines to; it calls the method of the line's level."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def debug(self, line: bytes) -> None:
        PIPELINE.put(line, DEBUG)

    def info(self, line: bytes) -> None:
        PIPELINE.put(line, INFO)

    def warning(self, line: bytes) -> None:
        PIPELINE.put(line, WARN)

    def error(self, line: bytes) -> None:
        PIPELINE.put(line, ERROR)

    def critical(self, line: bytes) -> None:
        PIPELINE.put(line, FATAL)


def _fused(output: _Output, method: str, event: EventDict) -> bytes:
    """The only processor: level, sampling, context, masking, time and JSON in one step."""
    message = event.pop("event", "")
    if output.name:
        event.setdefault("logger", output.name)
    line = PIPELINE.rendered(number_of(method), message, event)
    if line is None:
        raise structlog.DropEvent
    return line


_PROCESSORS: list[Processor] = [_fused]

_PARAMETERS = frozenset({"self", "method_name", "event"})
"""Names of structlog's own parameters; a field of that name is written as `event_`."""


class Logger(structlog.BoundLoggerBase):
    """A structlog logger with fields of its own: `bind` returns one with more. Thread-safe, to be kept and shared.

    It asks for the level at each call, which a logger of `structlog.make_filtering_bound_logger` does not once it is
    made: `set_level` holds for loggers that are there already.
    """

    def debug(self, msg: str, /, **fields: object) -> None:
        """Log what only somebody who looks for a fault wants to know."""
        if PIPELINE.threshold <= DEBUG:
            self._log("debug", msg, fields)

    def info(self, msg: str, /, **fields: object) -> None:
        """Log what happens as it should."""
        if PIPELINE.threshold <= INFO:
            self._log("info", msg, fields)

    def warn(self, msg: str, /, **fields: object) -> None:
        """Log what should not be, and what the service copes with."""
        if PIPELINE.threshold <= WARN:
            self._log("warning", msg, fields)

    warning = warn

    def error(self, msg: str, /, **fields: object) -> None:
        """Log what failed; `exc=error` adds an exception."""
        if PIPELINE.threshold <= ERROR:
            self._log("error", msg, fields)

    def exception(self, msg: str, /, **fields: object) -> None:
        """Log what failed with the exception that is being handled."""
        fields.setdefault("exc", sys.exc_info()[1])
        self.error(msg, **fields)

    def fatal(self, msg: str, /, **fields: object) -> None:
        """Log why the process cannot go on, and end it: exit code 1 after a clean stop."""
        PIPELINE.fatal(msg, {**self._context, **fields})

    critical = fatal

    def _log(self, method: str, message: str, fields: dict[str, object]) -> None:
        for name in _PARAMETERS & fields.keys():
            fields[f"{name}_"] = fields.pop(name)
        self._proxy_to_logger(method, message, **fields)


_OUTPUT = _Output()


def make_logger(name: str = "") -> Logger:
    """A logger whose lines carry the field `logger` when it has a name."""
    return Logger(_OUTPUT, _PROCESSORS, {"logger": name} if name else {})


def logger_from_context() -> Logger:
    """A logger that carries the fields of the current context wherever it is handed to."""
    return Logger(_OUTPUT, _PROCESSORS, dict(CONTEXT.get()))


def configure_structlog() -> None:
    """Let the lines of everybody who uses structlog itself come out like ours, unless the app has configured it."""
    if structlog.is_configured():
        return
    structlog.configure(
        processors=_PROCESSORS,
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        context_class=dict,
        logger_factory=_Output,
        cache_logger_on_first_use=True,
    )


configure_structlog()
