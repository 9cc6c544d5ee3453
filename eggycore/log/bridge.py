"""Brings the records of the standard library's logging, and warnings, into our log; never the reverse."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from eggycore.log.levels import number_in
from eggycore.log.masking import mask_text

__all__ = ["Bridge"]

Emit = Callable[[int, str, dict[str, object]], None]
"""Takes the level's number, the message and the fields."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Bridge(logging.Handler):
    """A handler on the root logger. Lines of libraries come out like ours, with `logger` naming the library.

    Args:
        emit: Takes every record that passes the level of its logger.
    """

    def __init__(self, emit: Emit) -> None:
        super().__init__()
        self._emit = emit
        self._removed: list[logging.Handler] = []
        self._former_level = logging.WARNING

    def install(self, level: int) -> None:
        """Put it on the root logger, in the place of handlers that print there: each line shall come out once."""
        root = logging.getLogger()
        self._former_level = root.level
        self._removed = [handler for handler in root.handlers if _prints(handler)]
        for handler in self._removed:
            root.removeHandler(handler)
        root.addHandler(self)
        root.setLevel(level)
        logging.captureWarnings(True)

    def set_root_level(self, level: int) -> None:
        """Let the libraries' records at this level and above through; loggers with a level of their own keep it."""
        logging.getLogger().setLevel(level)

    def uninstall(self) -> None:
        """Leave the root logger as it was found."""
        logging.captureWarnings(False)
        root = logging.getLogger()
        root.removeHandler(self)
        root.setLevel(self._former_level)
        for handler in self._removed:
            root.addHandler(handler)
        self._removed = []

    def handle(self, record: logging.LogRecord) -> bool:
        """Emit without the handler's lock: the log has its own, which a signal handler may take again."""
        passed = bool(self.filter(record))
        if passed:
            self.emit(record)
        return passed

    def emit(self, record: logging.LogRecord) -> None:
        """Bring one record into the log. A record whose arguments do not fit is logged with its template."""
        fields: dict[str, object] = {"logger": record.name}
        fields.update((name, value) for name, value in vars(record).items() if name not in _STANDARD)
        if record.exc_info and record.exc_info[1] is not None:
            fields["exc"] = record.exc_info[1]
        if record.stack_info:
            fields["stack"] = record.stack_info
        self._emit(number_in(record.levelno), _message(record), fields)


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception as failure:  # noqa: BLE001 - arguments of others; their mistake must not cost the line
        text = f"{record.msg} (arguments do not fit: {type(failure).__name__})"
    return mask_text(text)


def _prints(handler: logging.Handler) -> bool:
    """Whether it is one that `logging.basicConfig` or a library puts up to print."""
    return type(handler) is logging.StreamHandler and handler.stream in (
        sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__,
    )  # fmt: skip
