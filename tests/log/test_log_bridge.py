from __future__ import annotations

import io
import logging
import sys
import warnings
from typing import Any

import pytest

from eggycore import log
from eggycore.log.bridge import Bridge

LIBRARY = logging.getLogger("library.bridge")


def our_handler() -> logging.Handler:
    (bridge,) = [handler for handler in logging.getLogger().handlers if isinstance(handler, Bridge)]
    return bridge


def test_lines_of_libraries_come_out_like_ours(log_file: Any) -> None:
    with log.with_context(request_id="r-1"):
        LIBRARY.warning("retrying %s in %d s", "query", 5, extra={"attempt": 2, "password": "abc"})
    line = log_file.last()
    assert (line["level"], line["message"], line["logger"]) == ("warn", "retrying query in 5 s", "library.bridge")
    assert (line["service"], line["request_id"], line["attempt"], line["password"]) == ("forms", "r-1", 2, "******")
    assert line.keys() == {
        "timestamp", "level", "message", "service", "environment", "request_id", "logger", "attempt", "password",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("number", "level"), [(20, "info"), (25, "info"), (30, "warn"), (40, "error"), (50, "fatal"), (99, "fatal")]
)
def test_levels_of_libraries_fall_into_ours(log_file: Any, number: int, level: str) -> None:
    LIBRARY.log(number, "x")
    assert log_file.last()["level"] == level


def test_exceptions_of_libraries_are_data_too(log_file: Any) -> None:
    try:
        raise OSError("postgres://app:s3cret@db refused")
    except OSError:
        LIBRARY.exception("cannot connect")
    exception = log_file.last()["exception"]
    assert (exception["type"], exception["message"]) == ("OSError", "postgres://app:******@db refused")


def test_secrets_in_messages_of_libraries_are_masked(log_file: Any) -> None:
    LIBRARY.info("connecting to %s", "redis://:s3cret@cache/0?db=1")
    assert log_file.last()["message"] == "connecting to redis://:******@cache/0?db=1"
    LIBRARY.info("connecting with %r", {"user": "ann", "password": "s3cret"})
    assert log_file.last()["message"] == "connecting with {'user': 'ann', 'password': ******}"


def test_a_record_whose_arguments_do_not_fit_is_not_lost(log_file: Any) -> None:
    record = logging.LogRecord("library", logging.INFO, __file__, 1, "%d forms", ("many",), None)
    our_handler().handle(record)  # not through the root logger: pytest's own handler there raises
    assert log_file.last()["message"] == "%d forms (arguments do not fit: TypeError)"


def test_warnings_are_lines(log_file: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old way", DeprecationWarning, stacklevel=1)
    line = log_file.last()
    assert (line["level"], line["logger"]) == ("warn", "py.warnings")
    assert "DeprecationWarning: old way" in line["message"]


def test_a_filter_on_the_bridge_is_asked(log_file: Any) -> None:
    our_handler().addFilter(lambda record: "noise" not in record.getMessage())
    LIBRARY.info("noise")
    LIBRARY.info("signal")
    assert [line["message"] for line in log_file.lines()] == ["signal"]


def test_handlers_that_print_are_put_aside_and_brought_back(start_log: Any) -> None:
    root = logging.getLogger()
    printing, other = logging.StreamHandler(sys.stderr), logging.StreamHandler(io.StringIO())
    before = (list(root.handlers), root.level)
    root.addHandler(printing)
    root.addHandler(other)
    try:
        start_log()
        assert printing not in root.handlers
        assert other in root.handlers
        log.close()
        assert printing in root.handlers
    finally:
        root.removeHandler(printing)
        root.removeHandler(other)
    assert (root.handlers, root.level) == before


def test_a_second_init_does_not_double_lines(start_log: Any) -> None:
    start_log()
    file = start_log()
    LIBRARY.info("once")
    log.info("once")
    assert [line["message"] for line in file.lines()] == ["once", "once"]
