from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest
import structlog

from eggycore import log

LEVELS = ("debug", "info", "warn", "error", "fatal")


def log_at_every_level(logger: Any) -> None:
    for level in LEVELS[:4]:
        getattr(logger, level)(level)


def test_lines_below_the_level_are_not_logged(log_file: Any) -> None:
    log_at_every_level(log)
    assert [line["level"] for line in log_file.lines()] == ["info", "warn", "error"]


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warn", 2), ("error", 1), ("fatal", 0)])
def test_the_level_changes_at_run_time_for_everything_that_logs(log_file: Any, level: Any, count: int) -> None:
    ours, theirs, library = log.get("ours"), structlog.get_logger(), logging.getLogger("library.changing")
    for logger in (ours, theirs):
        logger.error("made and used before the change")
    before = len(log_file.lines())
    log.set_level(level)
    assert log.level() == level
    for logger in (log, ours, theirs):
        log_at_every_level(logger)
    for number in (10, 20, 30, 40):
        library.log(number, "x")
    assert len(log_file.lines()) - before == 4 * count


def test_whether_a_level_is_enabled_can_be_asked(log_file: Any) -> None:
    assert [level for level in LEVELS if log.enabled(level)] == ["info", "warn", "error", "fatal"]


def test_an_unknown_level_is_refused(log_file: Any) -> None:
    with pytest.raises(ValueError, match="loud") as refused:
        log.set_level("loud")
    assert str(refused.value) == "'loud' is not a log level: use one of debug, info, warn, error, fatal"
    assert log.level() == "info"


def test_write_takes_a_dict(log_file: Any) -> None:
    log.write("info", "request", {"method": "GET", "status": 200, "token": "abc"})
    log.write("debug", "request", {})
    (line,) = log_file.lines()
    assert (line["message"], line["method"], line["status"], line["token"]) == ("request", "GET", 200, "******")


def test_exception_logs_the_one_being_handled(log_file: Any) -> None:
    for logger in (log, log.get()):
        try:
            raise LookupError("no form 7")
        except LookupError:
            logger.exception("not found", form=7)
    for line in log_file.lines():
        assert (line["level"], line["form"]) == ("error", 7)
        assert line["exception"]["type"] == "LookupError"


def test_fatal_ends_the_process_when_nobody_has_taken_over(log_file: Any) -> None:
    with pytest.raises(SystemExit) as exit_:
        log.fatal("no database", attempts=3)
    assert exit_.value.code == 1
    assert (log_file.last()["level"], log_file.last()["attempts"]) == ("fatal", 3)


def test_fatal_calls_who_has_taken_over_and_returns(log_file: Any) -> None:
    told: list[str] = []
    log.on_fatal(told.append)
    log.fatal("no database")
    log.get("x").bind(a=1).fatal("no cache")
    assert told == ["no database", "no cache"]
    assert (log_file.last()["logger"], log_file.last()["a"]) == ("x", 1)


def test_a_logger_has_a_name_and_fields_of_its_own(log_file: Any) -> None:
    logger = log.get("forms.store").bind(table="forms")
    logger.info("stored", form=7, event="created", method_name="m", self=1)
    line = log_file.last()
    assert (line["logger"], line["table"], line["form"]) == ("forms.store", "forms", 7)
    assert (line["message"], line["event_"], line["method_name_"], line["self_"]) == ("stored", "created", "m", 1)


def test_lines_of_those_who_use_structlog_itself_come_out_like_ours(log_file: Any) -> None:
    structlog.get_logger("their.module").bind(a=1).warning("theirs %s", "x", password="abc")
    line = log_file.last()
    assert (line["level"], line["message"], line["service"]) == ("warn", "theirs x", "forms")
    assert (line["logger"], line["a"], line["password"]) == ("their.module", 1, "******")


def test_structlog_can_capture_what_a_logger_logs(log_file: Any) -> None:
    with structlog.testing.capture_logs() as captured:
        log.get("forms").info("stored", form=7)
    assert captured == [{"logger": "forms", "form": 7, "event": "stored", "log_level": "info"}]
    assert log_file.lines() == []


def test_structlog_that_the_app_has_configured_is_left_alone(log_file: Any) -> None:
    from eggycore.log import loggers

    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    try:
        loggers.configure_structlog()
        assert structlog.get_config()["processors"] != loggers._PROCESSORS
    finally:
        structlog.reset_defaults()
        loggers.configure_structlog()


def test_logging_without_logger_objects_imports_neither_structlog_nor_the_settings() -> None:
    code = (
        "import sys; from eggycore import log; log.init(); log.info('x', a=1);"
        "log.write('info', 'y', {}); log.close();"
        "sys.exit(','.join({'structlog', 'rich', 'environs', 'asyncio', 'eggycore.config'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode, done.stdout.count("\n")) == ("\n", 1, 2)


def test_before_init_and_after_close_warnings_are_said_on_stderr() -> None:
    code = (
        "from eggycore import log; log.info('quiet'); log.warn('loud', a=1);"
        "log.init(); log.close(); log.close(); log.info('quiet'); log.error('late'); log.get().warn('later')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert [line.split(maxsplit=1)[1] for line in done.stderr.splitlines()] == [
        "WARN  loud                         a=1",
        "ERROR late",
        "WARN  later",
    ]
