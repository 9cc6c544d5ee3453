from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import datetime

import pytest

from eggycore.log.console import Console, wants_colour
from eggycore.log.lines import Lines

LINES = Lines({"service": "forms", "environment": "test", "pod": "p"})
PLAIN = Console(colour=False)


def shown(message: str, /, level: int = 20, **fields: object) -> str:
    text = PLAIN(LINES.line(level, message, fields)).decode()
    return re.sub(r"^\d\d:\d\d:\d\d\.\d{3}", "TIME", text)


def test_a_line_for_people_is_aligned_and_leaves_out_what_they_know() -> None:
    assert shown("form stored", form=7, title="two words", ok=True, none=None) == (
        'TIME INFO  form stored                  form=7 title="two words" ok=true none=null\n'
    )
    assert shown("started", level=30) == "TIME WARN  started\n"


def test_the_time_is_local_and_short() -> None:
    line = Lines({}, clock=lambda: 1_767_225_599.042).line(20, "x", {})
    expected = datetime.fromtimestamp(1_767_225_599.042).strftime("%H:%M:%S")
    assert PLAIN(line).decode() == f"{expected}.042 INFO  x\n"


def test_a_request_id_is_shortened() -> None:
    assert shown("x", request_id="0123456789abcdef") == f"TIME INFO  {'x':<28} request_id=01234567\n"


def test_characters_of_two_columns_and_of_none_keep_the_fields_in_line() -> None:
    assert shown("日本語", n=1) == f"TIME INFO  日本語{' ' * 22} n=1\n"
    assert shown("cafe\u0301", n=1) == f"TIME INFO  cafe\u0301{' ' * 24} n=1\n"


def test_no_line_of_a_message_looks_like_another_line_of_the_log() -> None:
    assert shown("name is\n12:00:00.000 ERROR fake") == "TIME INFO  name is\n    12:00:00.000 ERROR fake\n"


def test_a_text_of_several_lines_stands_below() -> None:
    assert shown("stacks", stacks="main:\n  run", n=1) == (
        f"TIME INFO  {'stacks':<28} n=1\n  stacks:\n    main:\n      run\n"
    )


def test_an_exception_is_a_traceback_with_source_lines() -> None:
    try:
        try:
            raise OSError("refused")
        except OSError as error:
            raise RuntimeError("no database") from error
    except RuntimeError as error:
        text = shown("failed", level=40, exc=error)
    assert re.sub(r'File "[^"]*", line \d+', "FILE", text) == (
        "TIME ERROR failed\n"
        "  RuntimeError: no database\n"
        "    FILE, in test_an_exception_is_a_traceback_with_source_lines\n"
        '      raise RuntimeError("no database") from error\n'
        "  caused by OSError: refused\n"
        "    FILE, in test_an_exception_is_a_traceback_with_source_lines\n"
        '      raise OSError("refused")\n'
    )


def test_the_members_of_a_group_are_shown() -> None:
    text = shown("failed", exc=ExceptionGroup("two", [ValueError("a"), LookupError("b")]))
    assert "    with ValueError: a\n    with LookupError: b\n" in text


@pytest.mark.parametrize("value", [{"a": 1}, {"type": 1, "message": 2, "frames": "abc"}, {"type": "", "frames": [1]}])
def test_a_field_named_like_an_exception_that_is_none_is_shown_as_json(value: object) -> None:
    line = LINES.line(20, "x", {"exception": value})
    assert PLAIN(line) == line


def test_control_characters_do_not_reach_the_terminal() -> None:
    text = shown("a\x1b[31mb\rc", field="x\x1b]0;title\x07", **{"key\x1b": 1})
    assert "\x1b" not in text
    assert "\r" not in text
    assert text.startswith("TIME INFO  a\\x1b[31mb\\x0dc")


def test_colours_are_used_when_asked_for() -> None:
    text = Console(colour=True)(LINES.line(40, "x", {"a": 1})).decode()
    assert "\x1b[31mERROR\x1b[0m" in text
    assert "\x1b[36ma\x1b[0m=1" in text


@pytest.mark.parametrize(
    ("environ", "wanted"), [({}, False), ({"FORCE_COLOR": "1"}, True), ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False)]
)
def test_colour_is_for_terminals_unless_the_environment_says_so(environ: dict[str, str], wanted: bool) -> None:
    read, write = os.pipe()
    try:
        assert wants_colour(write, environ) is wanted
    finally:
        os.close(read)
        os.close(write)


def test_a_terminal_gets_coloured_lines() -> None:
    code = "from eggycore import log; log.init('info', 'console'); log.info('hello', a=1); log.close()"
    controller, terminal = os.openpty()
    try:
        environ = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
        subprocess.run([sys.executable, "-c", code], stdout=terminal, env=environ, check=True)
        text = os.read(controller, 4096).decode()
    finally:
        os.close(terminal)
        os.close(controller)
    assert "\x1b[32mINFO \x1b[0m" in text
    assert "hello" in text
