"""`eggycore run --dev`: a change of the code starts the app again, and Ctrl-C ends parent and child."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eggycore.cli import dev
from eggycore.cli.dev import DevSupervisor, child_arguments, run_dev, snapshot
from eggycore.cli.options import RuntimeOptions

SUPERVISE = """
import os, sys
from pathlib import Path
from eggycore.cli.dev import DevSupervisor
sys.exit(DevSupervisor([sys.executable, "child.py"], os.environ, Path.cwd()).run())
"""
COUNTING_CHILD = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
print("started", flush=True)
print("stopped by", signal.sigwait({signal.SIGINT, signal.SIGTERM}).name, flush=True)
print("then by", signal.sigtimedwait({signal.SIGINT, signal.SIGTERM}, 0.6), flush=True)
"""
CHILD = """
import signal, sys, time
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
print("started", flush=True)
while not stopped:
    signal.pause()
print("stopped", flush=True)
"""


class Supervised:
    """A supervisor in a process of its own, and what it and its children write."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISE],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # as in a terminal: Ctrl-C goes to a whole process group
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip()


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    (tmp_path / "child.py").write_text(CHILD)
    started = Supervised(tmp_path)
    yield started
    if started.process.poll() is None:
        started.process.terminate()  # not SIGKILL: the supervisor ends its child
    started.process.communicate(timeout=30)


def touch(file: Path, text: str) -> None:
    """Write, and make sure that the time of the change differs, however coarse the file system's clock is."""
    file.write_text(text)
    stamp = file.stat()
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1_000_000))


def test_a_change_stops_the_child_and_starts_another(supervised: Supervised, tmp_path: Path) -> None:
    assert supervised.line() == "started"
    touch(tmp_path / "child.py", CHILD.replace('"started"', '"started again"'))
    assert supervised.line() == "stopped"
    assert supervised.line() == "eggycore: child.py changed, starting again"
    assert supervised.line() == "started again"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_child_and_parent_cleanly(number: signal.Signals, supervised: Supervised) -> None:
    assert supervised.line() == "started"
    supervised.process.send_signal(number)
    assert supervised.line() == "stopped"
    assert supervised.line() == ""
    assert supervised.process.wait(10) == 0


def test_ctrl_c_reaches_the_child_once(supervised: Supervised, tmp_path: Path) -> None:
    assert supervised.line() == "started"
    touch(tmp_path / "child.py", COUNTING_CHILD)
    assert [supervised.line(), supervised.line()] == ["stopped", "eggycore: child.py changed, starting again"]
    assert supervised.line() == "started"
    os.killpg(supervised.process.pid, signal.SIGINT)
    assert [supervised.line(), supervised.line()] == ["stopped by SIGTERM", "then by None"]
    assert supervised.process.wait(10) == 0


def test_a_child_that_ends_by_itself_is_told_and_a_change_starts_another(
    supervised: Supervised, tmp_path: Path
) -> None:
    assert supervised.line() == "started"
    touch(tmp_path / "child.py", "import sys\nsys.exit(3)\n")
    assert [supervised.line(), supervised.line()] == ["stopped", "eggycore: child.py changed, starting again"]
    assert supervised.line() == "eggycore: the app ended with code 3; waiting for a change"
    touch(tmp_path / "child.py", CHILD)
    assert supervised.line() == "eggycore: child.py changed, starting again"
    assert supervised.line() == "started"


def test_code_and_settings_are_watched_and_what_tools_write_is_not(tmp_path: Path) -> None:
    watched = ["app.py", "pyproject.toml", ".env", "package/module.py", "protos/forms.proto"]
    watched += ["config/base.yaml", "config/production.json", "config/database/base.yml"]
    ignored = [".venv/lib.py", "__pycache__/app.py", "build/app.py", "forms.db", "notes.md", "node_modules/x.py"]
    ignored += ["data.json", "config/notes.md"]
    for name in (*watched, *ignored):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert snapshot(tmp_path).keys() == {str(tmp_path / name) for name in watched}


def test_a_dangling_link_or_a_missing_folder_disturbs_nobody(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("")
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere.py")
    assert str(tmp_path / "app.py") in snapshot(tmp_path)
    assert snapshot(tmp_path / "nowhere") == {}


def test_the_child_is_told_everything_but_dev() -> None:
    options = RuntimeOptions(
        app="forms", plugins="", exclude=("db", "cache"), overrides={"LOG_LEVEL": "debug"}, verbose=True
    )
    assert child_arguments(options, timeline=True) == [
        "forms",
        "--plugins",
        "",
        "-x",
        "db",
        "-x",
        "cache",
        "--set",
        "LOG_LEVEL=debug",
        "-v",
        "--timeline",
    ]
    assert child_arguments(RuntimeOptions(overrides={}), timeline=False) == []


def test_the_child_does_not_reload_what_starts_it_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[dict[str, str]] = []

    class Noted(DevSupervisor):
        def run(self) -> int:
            started.append(self._environ)
            return 0

    monkeypatch.setattr(dev, "DevSupervisor", Noted)
    monkeypatch.delenv("CONFIG_WATCH", raising=False)
    run_dev(RuntimeOptions(overrides={}), timeline=False)
    monkeypatch.setenv("CONFIG_WATCH", "true")
    run_dev(RuntimeOptions(overrides={}), timeline=False)
    assert [environ["CONFIG_WATCH"] for environ in started] == ["false", "true"]
