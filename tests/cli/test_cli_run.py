"""`eggycore run`: exit codes, signals, and what is said when the start fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

Run = Callable[..., Result]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts `eggycore run` with these arguments as a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "eggycore", "run", *arguments]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True, env={**os.environ})
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=30)


def await_message(process: subprocess.Popen[str], message: str) -> dict[str, Any]:
    assert process.stdout is not None
    for line in process.stdout:
        entry: dict[str, Any] = json.loads(line)
        if entry["message"] == message:
            return entry
    raise AssertionError(f"no line {message!r}; stderr: {process.stderr.read() if process.stderr else ''}")


def test_it_runs_until_sigterm_and_ends_with_0(start: Start) -> None:
    process = start("--timeline", "--set", "LOG_FORMAT=json")
    assert await_message(process, "ready")["service"] == "eggyapp_greeting"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    phases = {tuple(line.split()[4:]) for line in err.splitlines()}
    assert {("open", "words"), ("start", "greeter"), ("stop", "greeter"), ("close", "words")} <= phases


def test_dev_runs_the_app_again_after_a_change_and_ends_with_0(start: Start, folder: Path) -> None:
    process = start("--dev", "--set", "LOG_FORMAT=json")
    await_message(process, "ready")
    app = folder / "eggyapp_greeting.py"
    app.write_text(app.read_text().replace('"greeter"', '"second greeter"'))
    await_message(process, "stopped")
    await_message(process, "ready")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert err == "eggycore: eggyapp_greeting.py changed, starting again\n"


def test_a_failed_start_is_told_without_a_traceback_and_ends_with_1(start: Start) -> None:
    process = start("--set", "GREETING_BROKEN=true", "--set", "GREETING_TOKEN=x")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "eggycore: " in err
    assert "cannot greet with x" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(("log_format", "told"), [("console", 1), ("json", 2)])
def test_on_one_stream_people_read_the_reason_once_and_programs_leave_theirs_to_people(
    folder: Path, log_format: str, told: int
) -> None:
    command = (sys.executable, "-m", "eggycore", "run", "--set", "GREETING_BROKEN=true", "--set", "GREETING_TOKEN=x")
    both = subprocess.run(
        (*command, "--set", f"LOG_FORMAT={log_format}"),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert both.returncode == 1
    assert both.stdout.count("cannot greet with x") == told


def test_where_the_log_goes_elsewhere_stderr_has_the_reason(start: Start) -> None:
    process = start("--set", "GREETING_BROKEN=true", "--set", "GREETING_TOKEN=x", "--set", "LOG_FORMAT=console")
    out, err = process.communicate(timeout=30)
    assert "cannot greet with x" in out
    assert err.startswith("eggycore: RuntimeError: cannot greet with x\n")


def test_wrong_configuration_of_two_owners_is_one_report_with_exit_code_2(run: Run) -> None:
    result = run("run", "--set", "BUSINESS_GRPC_PORT=http", "--set", "GREETING_BROKEN=perhaps")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "1. BUSINESS_GRPC_PORT 'http'" in result.stderr
    assert "2. GREETING_BROKEN 'perhaps'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("no_such_app",), "eggycore: App 'no_such_app' was not found.\n"),
        (("--plugins", "tea"), "eggycore: Plugin 'tea' is not installed.\n"),
    ],
)
def test_a_name_that_is_not_there_is_exit_code_2(arguments: tuple[str, ...], said: str, run: Run) -> None:
    result = run("run", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(said)


def test_a_folder_without_an_app_is_exit_code_2(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "pyproject.toml").write_text("[tool.eggycore]\nplugins = []\n")
    monkeypatch.setattr("eggycore.entry_points.find", lambda group, path=None: [])
    result = run("run")
    assert result.exit_code == 2
    assert result.stderr.startswith("eggycore: No app is named.\n")


def test_an_error_nobody_foresaw_is_one_line_and_its_traceback_comes_on_request(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(runtime: object, **options: object) -> int:
        raise LookupError("postgresql://app:hunter2@db is away")

    monkeypatch.setattr("eggycore.runtime.Runtime.run", fail)
    result = run("run")
    assert result.exit_code == 1
    assert (
        result.stderr
        == """\
eggycore: LookupError: postgresql://app:***@db is away
  action: Run again with -v for the traceback.
"""
    )
    assert "Traceback" in run("run", "-v").stderr
