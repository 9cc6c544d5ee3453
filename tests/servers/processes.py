"""One server as processes of this machine: started, stopped, killed and paused as a test needs it."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.servers.ports import HOST, shared_folder

PATIENCE = 60.0
"""Seconds that a server may take until it answers."""

STOP_PATIENCE = 10.0
"""Seconds that a server may take to stop before it is killed."""

BETWEEN_POLLS = 0.01
"""Seconds."""

BINARY_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/opt/homebrew/bin")


ROOM = 2 * 1024**3
"""Bytes that must be free in memory for data to be put there; a container's /dev/shm may be much smaller."""

_MEMORY = Path("/dev/shm")


@dataclass
class ServerMissing(Exception):
    """A server's binary is not on this machine. The pytest plugin skips the test, or fails it where CI=true."""

    binary: str
    package: str

    def __str__(self) -> str:
        return f"{self.binary} is not installed. Install it: sudo apt-get install {self.package} (Debian)."


class ServerFailed(Exception):
    """A server did not come up; the message ends with the end of its log."""


def binary(name: str, package: str, folders: Sequence[str] = ()) -> str:
    """The path of a server's binary.

    Args:
        name: Of the binary.
        package: Debian's package that has it.
        folders: Where to look before the usual places.

    Raises:
        ServerMissing: It is nowhere.
    """
    path = os.pathsep.join([*folders, os.environ.get("PATH", ""), *BINARY_FOLDERS])
    found = shutil.which(name, path=path)
    if found is None:
        raise ServerMissing(name, package)
    return found


def account(name: str) -> str | None:
    """The user to run a server as that refuses to run as root: None when this process is not root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(name).pw_name
    except KeyError:
        return "nobody"


def run(words: Sequence[str], *, user: str | None, cwd: Path, given: str = "") -> None:
    """Run a command to its end, as another user where one is named.

    Raises:
        ServerFailed: It failed; with all that it printed.
    """
    command = _as_user(words, user)
    done = subprocess.run(command, input=given, cwd=cwd, capture_output=True, text=True, env=environ())
    if done.returncode != 0:
        raise ServerFailed(f"{words[0]} exited with {done.returncode}:\n{done.stdout}{done.stderr}")


def environ() -> dict[str, str]:
    """What a server sees of the environment: nothing that would change it from one machine to the next."""
    return {"PATH": os.pathsep.join([os.environ.get("PATH", ""), *BINARY_FOLDERS]), "LC_ALL": "C.UTF-8"}


@contextmanager
def folder_for(user: str | None) -> Iterator[Path]:
    """A folder of the server's own, away from pytest's, which no other user may enter.

    In memory where there is room: a database's thousand files are copied there forty times as fast as to a disk.
    """
    memory = _MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > ROOM else None
    folder = Path(tempfile.mkdtemp(prefix="eggycore-", dir=memory)).resolve()
    try:
        give(folder, user)
        yield folder
    finally:
        shutil.rmtree(folder)


def give(path: Path, user: str | None) -> None:
    """Make a file or folder the server's own."""
    if user is not None:
        shutil.chown(path, user, pwd.getpwnam(user).pw_gid)


def copied_template(name: str, target: Path, make: Callable[[Path], None], *, user: str | None) -> None:
    """Copy a data folder that is made once per machine, because making one takes a second and more.

    Args:
        name: Of the template; with everything in it that the content depends on.
        target: Where the copy goes; must not exist.
        make: Fills the folder that it is given the path of.
        user: Whose the files are.
    """
    templates = shared_folder() / "templates"
    templates.mkdir(mode=0o711, exist_ok=True)
    template, part = templates / name, templates / f"{name}.part"
    with (templates / f"{name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not template.exists():
            with folder_for(user) as draft:
                make(draft / "data")
                shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
                shutil.copytree(draft / "data", part)
            part.rename(template)
    shutil.copytree(template, target)
    if user is not None:
        subprocess.run(["chown", "-R", f"{user}:", str(target)], check=True)


class Server(ABC):
    """One server on a port of the loopback. Made by the context managers of this package, which end it.

    Args:
        command: The command line of its first process, which stays in the foreground.
        port: Where it listens.
        folder: Its own folder; `server.log` there has its output.
        user: The account that it runs as; None for this process's own.
        stop_signal: What makes it stop in good order.
    """

    host = HOST
    user = ""
    password: str | None = None

    def __init__(
        self,
        command: Sequence[str],
        *,
        port: int,
        folder: Path,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.port = port
        self.folder = folder
        self.log = folder / "server.log"
        self._command = list(command)
        self._account = user
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None
        self._log_begins = 0

    @property
    def address(self) -> str:
        """host:port."""
        return f"{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """Of its first process; only while it runs."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its first process lives."""
        return self._process is not None and self._process.poll() is None

    @abstractmethod
    def answers(self) -> bool:
        """Whether it serves clients now."""

    def start(self) -> None:
        """Start it on the port and the data that it had, and wait until it answers. Does nothing while it runs.

        Raises:
            ServerFailed: It ended, or did not answer in PATIENCE.
        """
        if self.running:
            return
        process = self._launched()
        until = time.monotonic() + PATIENCE
        while not self.answers():
            if process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise ServerFailed(f"{self._command[0]} did not come up:\n{self.since_start()[-4000:]}")
            time.sleep(BETWEEN_POLLS)

    def _launched(self) -> subprocess.Popen[bytes]:
        self._log_begins = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                _as_user(self._command, self._account),
                cwd=self.folder,
                env=environ(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # the terminal's Ctrl-C is for pytest, which then ends the server
            )
        return self._process

    def stop(self) -> None:
        """Stop it in good order; past STOP_PATIENCE it is killed."""
        if self._process is None:
            return
        self.resume()
        self._process.send_signal(self._stop_signal)
        try:
            self._process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End every process of it at once, as a power cut does."""
        if self._process is None:
            return
        if self.running:
            self.pause()  # dead, it would not tell any more who its children are
        for pid in [*reversed(descendants(self._process.pid)), self._process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Freeze every process of it: connections stay open and nothing is answered. Returns when all are frozen."""
        until = time.monotonic() + PATIENCE
        self._signal_all(signal.SIGSTOP)
        while self.running and not all(_is_frozen(pid) for pid in [self.pid, *descendants(self.pid)]):
            assert time.monotonic() < until, "it does not freeze"
            time.sleep(BETWEEN_POLLS)
            self._signal_all(signal.SIGSTOP)  # also to a child that was born meanwhile

    def resume(self) -> None:
        """Let a paused server go on."""
        self._signal_all(signal.SIGCONT)

    def since_start(self) -> str:
        """What it has logged since it was last started."""
        with self.log.open("rb") as log:
            log.seek(self._log_begins)
            return log.read().decode(errors="replace")

    def close(self) -> None:
        """The end: nothing of it is needed any more."""
        self.kill()

    def _signal_all(self, number: signal.Signals) -> None:
        """Children have sessions of their own in PostgreSQL, so that a signal to the group would miss them."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(number)  # first, so that it makes no more children
        for pid in descendants(self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def wait_until(condition: Callable[[], bool]) -> None:
    """Ask again and again; fails after PATIENCE."""
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(BETWEEN_POLLS)


_S = TypeVar("_S", bound=Server)


@contextmanager
def started(server: _S) -> Iterator[_S]:
    """Run a server until the end of the block."""
    try:
        server.start()
        yield server
    finally:
        server.close()


def descendants(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    children = _children(pid)
    return [*children, *(deeper for child in children for deeper in descendants(child))]


def _children(pid: int) -> list[int]:
    if sys.platform != "linux":
        shown = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        return [int(child) for child, parent in map(str.split, shown.splitlines()) if int(parent) == pid]
    found: list[int] = []
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        pass
    return found


def _is_frozen(pid: int) -> bool:
    if sys.platform != "linux":
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return True
    return state in {"T", "Z"}


def _as_user(words: Sequence[str], user: str | None) -> list[str]:
    """The command line that runs as another user.

    Not Popen's `user=`: with it Python forks, and gRPC's handlers in the child may end it before it becomes the server.
    """
    if user is None:
        return list(words)
    group = str(pwd.getpwnam(user).pw_gid)
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--", *words]


def flags(options: Mapping[str, str]) -> list[str]:
    """Settings as `--name=value`."""
    return [f"--{name}={value}" for name, value in options.items()]
