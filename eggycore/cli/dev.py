"""`eggycore run --dev`: a parent that supervises the app's process and starts it again when the code changes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType

import click

from eggycore.cli.options import RuntimeOptions

__all__ = ["DevSupervisor", "child_arguments", "run_dev", "snapshot"]

POLL_INTERVAL = 0.3
"""Seconds between two looks at the files."""

STOP_GRACE = 30.0
"""Seconds that the child gets to stop before it is killed; its own budget ends before."""

_WATCHED_SUFFIXES = frozenset({".py", ".pyi", ".toml", ".proto"})
_WATCHED_NAMES = frozenset({".env"})
_IGNORED_FOLDERS = frozenset({"__pycache__", "node_modules", "build", "dist", "site-packages"})


def run_dev(options: RuntimeOptions, *, timeline: bool) -> int:
    """Run the app under supervision in the current folder until Ctrl-C or SIGTERM; returns the exit code."""
    arguments = [sys.executable, "-m", "eggycore", "run", *child_arguments(options, timeline=timeline)]
    environ = {"LOG_FORMAT": "console", "CONFIG_WATCH": "false", **os.environ}  # whatever changes, it starts again
    return DevSupervisor(arguments, environ, Path.cwd()).run()


def child_arguments(options: RuntimeOptions, *, timeline: bool) -> list[str]:
    """The command line that means the same without --dev."""
    arguments = [options.app] if options.app else []
    if options.plugins is not None:
        arguments += ["--plugins", options.plugins]
    for name in options.exclude:
        arguments += ["-x", name]
    for key, value in options.overrides.items():
        arguments += ["--set", f"{key}={value}"]
    return arguments + ["-v"] * options.verbose + ["--timeline"] * timeline


def snapshot(folder: Path) -> dict[str, int]:
    """When each watched file below the folder was last changed, in nanoseconds; symbolic links are not followed.

    Watched are code, `.env`, and what is read as configuration in the folder `config`.
    """
    return dict([*_stamps(str(folder), _is_watched), *_stamps(str(folder / "config"), _is_configuration)])


def _stamps(folder: str, is_watched: Callable[[str], bool]) -> Iterator[tuple[str, int]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in _IGNORED_FOLDERS and not entry.name.startswith("."):
                        yield from _stamps(entry.path, is_watched)
                elif is_watched(entry.name):
                    yield entry.path, entry.stat(follow_symlinks=False).st_mtime_ns
    except OSError:  # it vanished meanwhile: the next look tells
        return


def _is_watched(name: str) -> bool:
    return name in _WATCHED_NAMES or os.path.splitext(name)[1] in _WATCHED_SUFFIXES  # noqa: PTH122 -- many, often


def _is_configuration(name: str) -> bool:
    return name.endswith((".json", ".toml", ".yaml", ".yml"))


class DevSupervisor:
    """Owns one child process at a time. Main thread only: it handles SIGINT, SIGTERM and SIGHUP while it runs.

    The child has a process group of its own, so that Ctrl-C reaches it once, through its parent.

    Args:
        arguments: The child's command line.
        environ: The child's environment.
        folder: Whose files are watched.
    """

    def __init__(self, arguments: list[str], environ: Mapping[str, str], folder: Path) -> None:
        self._arguments = arguments
        self._environ = dict(environ)
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None
        self._told: subprocess.Popen[bytes] | None = None  # the child that was sent SIGTERM
        self._stopping = False

    def run(self) -> int:
        """Run until a signal; returns the exit code of the last child, 1 when a signal ended it."""
        signals = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if sys.platform != "win32" else [])]
        before = {number: signal.signal(number, self._on_signal) for number in signals}
        try:
            code = self._supervise()
            return code if code >= 0 else 1
        finally:
            self._stop_child()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _supervise(self) -> int:
        code = 0
        while not self._stopping:
            seen = snapshot(self._folder)
            self._child = self._start()
            changed = self._wait_for_change(seen)
            code = self._stop_child()
            if changed and not self._stopping:
                click.echo(f"eggycore: {os.path.relpath(changed, self._folder)} changed, starting again", err=True)
        return code

    def _start(self) -> subprocess.Popen[bytes]:
        group = None if sys.platform == "win32" else 0
        return subprocess.Popen(self._arguments, env=self._environ, cwd=self._folder, process_group=group)

    def _wait_for_change(self, seen: dict[str, int]) -> str:
        """The file that changed; "" when a signal came first. A child that ends meanwhile is told, not replaced."""
        reported = False
        while not self._stopping:
            if not reported and self._child is not None and (code := self._child.poll()) is not None:
                click.echo(f"eggycore: the app ended with code {code}; waiting for a change", err=True)
                reported = True
            if differing := seen.items() ^ snapshot(self._folder).items():
                return min(path for path, _ in differing)
            time.sleep(POLL_INTERVAL)
        return ""

    def _stop_child(self) -> int:
        child = self._child
        if child is None:
            return 0
        if self._told is not child:
            self._tell(child)
        try:
            return child.wait(STOP_GRACE)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Passed on every time: a second one forces the child's exit."""
        self._stopping = True
        if self._child is not None:
            self._tell(self._child)

    def _tell(self, child: subprocess.Popen[bytes]) -> None:
        self._told = child
        if child.poll() is None:
            child.terminate()
