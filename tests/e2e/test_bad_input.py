"""What a user gets who makes a mistake: the whole message, the exit code, and nothing opened."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Awaitable[Any]]

ENVIRON = {"PATH": os.environ["PATH"], "BIND_HOST": "127.0.0.1", "LOG_FORMAT": "json"}


def eggycore(*arguments: str, folder: Path, **environ: str) -> tuple[int, str]:
    """Exit code and stderr of a command that is expected to end by itself."""
    done = subprocess.run(
        [sys.executable, "-m", "eggycore", *arguments],
        cwd=folder,
        env=ENVIRON | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr


def test_an_unknown_plugin(apps: Path):
    assert eggycore("run", "busy_app", "--plugins", "chache", folder=apps) == (
        2,
        "eggycore: Plugin 'chache' is not installed. Did you mean 'cache'?\n"
        "  cause:  --plugins names it. Installed: cache, db, k8s-watch, monitoring.\n"
        "  action: Correct the name, or install it: pip install eggycore-chache\n",
    )


def test_an_app_that_is_not_there(apps: Path):
    assert eggycore("run", "bussy_app", "--plugins", "", folder=apps) == (
        2,
        "eggycore: App 'bussy_app' was not found. Did you mean 'busy_app'?\n"
        f"  cause:  There is no module 'bussy_app' in {apps}, nor among the installed distributions.\n"
        "  action: Give the module as you would import it, or start eggycore in the folder that holds it.\n",
    )


def test_wrong_settings_of_the_core_and_of_a_plugin_come_in_one_report_without_secrets(apps: Path):
    assert eggycore(
        "run", "busy_app", "--plugins", "db", folder=apps,
        BUSINESS_HTTP_PORT="70000", DATABASE_DSN="mongodb://root:hunter2@db/forms", LOG_LEVEL="loud",
    ) == (
        2,
        "eggycore: The configuration has 3 problems.\n"
        "\n"
        "1. BUSINESS_HTTP_PORT '70000': more than 65535.\n"
        "     cause:  It was set in the environment, declared by eggycore.\n"
        "     action: Set it to a port number from 0 to 65535 (0 takes any free port).\n"
        "\n"
        "2. LOG_LEVEL 'loud': not one of the choices.\n"
        "     cause:  It was set in the environment, declared by eggycore.\n"
        "     action: Set it to one of debug, info, warn, error, fatal.\n"
        "\n"
        "3. DATABASE_DSN: it names a kind of database that is not known; "
        "the kinds are SQLite, PostgreSQL, and MySQL with MariaDB and TiDB.\n"
        "     cause:  It was set in the environment, declared by plugin db (eggycore-db 0.1.0).\n"
        "     action: Write it as sqlite:///eggycore.db, postgresql://user:password@host/name or "
        "mysql://user:password@host/name.\n",
    )  # fmt: skip


def test_two_services_on_one_port(apps: Path):
    assert eggycore("run", "busy_app", "--plugins", "", folder=apps, BUSINESS_HTTP_PORT="9090") == (
        2,
        "eggycore: The configuration has 1 problem.\n"
        "\n"
        "1. BUSINESS_HTTP_PORT '9090': the same port as BUSINESS_GRPC_PORT.\n"
        "     cause:  It was set in the environment, declared by eggycore.\n"
        "     action: Set BUSINESS_HTTP_PORT or BUSINESS_GRPC_PORT to another port, or to 0 for any free one.\n",
    )


def test_an_app_without_hooks(tmp_path: Path):
    assert eggycore("run", "json", "--plugins", "", folder=tmp_path) == (
        2,
        "eggycore: App json implements no hook.\n"
        "  cause:  No function in the module is marked with @hookimpl (from eggycore import hookimpl).\n"
        "  action: Mark its hooks, or name the module that holds them.\n",
    )


def test_a_malformed_env_file(tmp_path: Path):
    (tmp_path / "app.py").write_text("import eggycore\n\n@eggycore.hookimpl\ndef register_services(runtime): ...\n")
    (tmp_path / ".env").write_text("LOG_LEVEL=info\nthis is no assignment\n")
    assert eggycore("run", "app", "--plugins", "", folder=tmp_path) == (
        2,
        "eggycore: The configuration has 1 problem.\n"
        "\n"
        f"1. {tmp_path}/.env, line 2: no '=' after a name.\n"
        "     action: Write NAME=value, or put a # before a comment.\n",
    )


def test_an_unwritable_log_file(apps: Path):
    code, stderr = eggycore(
        "run", "busy_app", "--plugins", "", folder=apps, LOG_OUTPUT="file", LOG_FILE="/proc/nowhere/app.log"
    )
    assert (code, stderr) == (
        2,
        "eggycore: The log file /proc/nowhere/app.log cannot be written: No such file or directory.\n"
        "  cause:  LOG_FILE names it.\n"
        "  action: Check the path and the volume of /proc/nowhere, or set LOG_FILE to a file that can be written.\n",
    )


@pytest.mark.parametrize(("setting", "server"), [("BUSINESS_HTTP_PORT", "http"), ("BUSINESS_GRPC_PORT", "grpc")])
def test_a_taken_port_names_port_setting_and_holder(setting: str, server: str, apps: Path):
    free = {"BUSINESS_HTTP_PORT": "0", "BUSINESS_GRPC_PORT": "0", "HEALTH_CHECK_PORT": "0"}
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        code, stderr = eggycore("run", "busy_app", "--plugins", "", folder=apps, **free | {setting: str(port)})
    assert code == 1
    lines = stderr.splitlines()
    assert lines[0] == f"eggycore: Port {port} ({setting}) is already in use."
    if sys.platform == "linux":
        assert lines[1].startswith(f"  cause:  Process {os.getpid()} listens there: ")
        assert f"  action: Stop it with `kill {os.getpid()}`, or set {setting} to another port." in lines
    assert lines[-1] == f"  where:  It happened while starting service '{server}' of eggycore."


@pytest.mark.parametrize(
    "command",
    [
        ("config", "show", "--app", "busy_app"),
        ("plugins",),
        ("--help",),
        ("config", "env-example", "--app", "busy_app"),
    ],
)
def test_a_closed_output_is_quiet(command: tuple[str, ...], apps: Path):
    with subprocess.Popen(
        [sys.executable, "-m", "eggycore", *command],
        cwd=apps,
        env=ENVIRON | {"SERVICE_NAME": "busy"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_a_service_whose_stdout_is_closed_serves_on(apps: Path):
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "eggycore", "run", "busy_app", "--plugins", ""],
        cwd=apps,
        env=ENVIRON | {"BUSINESS_HTTP_PORT": "0", "BUSINESS_GRPC_PORT": "0", "HEALTH_CHECK_PORT": "0"},
        stdin=subprocess.DEVNULL,
        stdout=write_end,
        stderr=subprocess.PIPE,
    )
    os.close(write_end)
    with os.fdopen(read_end, "rb") as output:
        while b'"message":"ready"' not in output.readline():
            assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 0
    assert b"Traceback" not in stderr


def test_closed_standard_streams_do_not_stop_the_service(apps: Path, tmp_path: Path):
    log = tmp_path / "app.log"
    run = f"exec {shlex.quote(sys.executable)} -m eggycore run phases_app --plugins '' <&- >&- 2>&-"
    environ = ENVIRON | {"HEALTH_CHECK_PORT": "0", "LOG_OUTPUT": "file", "LOG_FILE": str(log), "LOG_FLUSH": "line"}
    log.touch()
    with subprocess.Popen(["/bin/sh", "-c", run], cwd=apps, env=environ) as process, log.open() as lines:
        while '"message":"ready"' not in lines.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    assert '"message":"stopped"' in log.read_text()


async def test_a_full_disk_does_not_stop_the_service(start: Start):
    instance = await start("phases_app", "--plugins", "", LOG_OUTPUT="stdout,file", LOG_FILE="/dev/full")
    await instance.until("ready")
    instance.signal(signal.SIGTERM)
    assert await instance.ended() == 0
    assert "Traceback" not in await instance.stderr()
