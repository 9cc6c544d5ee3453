"""Processes that contend for one Lease, what is done to them, and what they have believed and written."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from tests.servers.kubernetes import KubernetesAPI

ROOT = Path(__file__).parents[2]
NAMESPACE = "shop"
GAP = 0.025
"""Seconds between two looks of one process up to which it has believed all the time; after more it was stopped."""


@dataclass(frozen=True)
class Belief:
    """A time in which a process, running, believed to lead."""

    began: float
    ended: float
    token: int
    who: str


class Electorate:
    """Contenders for one Lease.

    Args:
        api: The API server.
        dsn: Of the PostgreSQL database they write to.
        folder: For their files.
        size: How many there are at once.
        duration: Of the Lease, in seconds.
        rng: What happens to whom.
    """

    def __init__(
        self, api: KubernetesAPI, dsn: str, folder: Path, *, size: int, duration: float, rng: random.Random
    ) -> None:
        self.api = api
        self.duration = duration
        self.rng = rng
        self._dsn, self._folder, self._size = dsn, folder, size
        self._kubeconfig = api.kubeconfig(folder, namespace=NAMESPACE)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stopped: set[str] = set()
        self._count = 0

    @contextmanager
    def contending(self) -> Iterator[None]:
        """All of them contend, for the length of the block; they are made to leave at its end."""
        with closing(psycopg2.connect(self._dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE written (id BIGSERIAL PRIMARY KEY, token BIGINT NOT NULL, writer TEXT NOT NULL)"
            )
        try:
            for _ in range(self._size):
                self._join()
            yield
        finally:
            self.api.resume()
            self.api.start()
            self.api.allow()
            for name in tuple(self._stopped):
                self.resume(name)
            for process in self._processes.values():
                process.terminate()
            for process in self._processes.values():
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _join(self) -> None:
        name = f"contender-{self._count}"
        self._count += 1
        command = [
            *(sys.executable, "-m", "tests.soak.contender"),
            *("--kubeconfig", str(self._kubeconfig), "--dsn", self._dsn),
            *("--beliefs", str(self._folder / f"{name}.beliefs"), "--duration", str(self.duration)),
            f"--skew={self.rng.uniform(-1e7, 1e7):.3f}",
        ]
        with (self._folder / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, "HOSTNAME": name}, stdout=subprocess.DEVNULL, stderr=log
            )

    # --- who leads

    @property
    def holder(self) -> str | None:
        """The process that holds the Lease by its word, when there is one and it is alive."""
        leases = self.api.list("leases", NAMESPACE)
        name = str(leases[0]["spec"].get("holderIdentity", "")).partition("_")[0] if leases else ""
        return name if name in self._processes else None

    def until_led(self, seconds: float, *, after: int = 0) -> int:
        """Wait until a term with a greater token than this is believed in; its token."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if (token := self.newest_token()) > after:
                return token
            time.sleep(0.02)
        raise AssertionError(f"nobody has led within {seconds:g} s after the term {after}:\n{self.logs()}")

    def newest_token(self) -> int:
        """The greatest token that anybody has believed in."""
        return max((_last_token(path) for path in self._folder.glob("*.beliefs")), default=0)

    # --- what is done to them

    def kill(self, name: str) -> None:
        """SIGKILL, and another one joins."""
        process = self._processes.pop(name)
        self._stopped.discard(name)
        process.kill()
        process.wait()
        self._join()

    def terminate(self, name: str) -> None:
        """SIGTERM, and another one joins."""
        process = self._processes.pop(name)
        process.terminate()
        process.wait(15)
        self._join()

    def stop(self, name: str) -> None:
        """SIGSTOP."""
        self._processes[name].send_signal(signal.SIGSTOP)
        self._stopped.add(name)

    def resume(self, name: str) -> None:
        """SIGCONT."""
        self._stopped.discard(name)
        if name in self._processes:
            self._processes[name].send_signal(signal.SIGCONT)

    @property
    def running(self) -> list[str]:
        """Those that are not stopped."""
        return [name for name in self._processes if name not in self._stopped]

    # --- what they have done

    def beliefs(self) -> list[Belief]:
        """When whom believed to lead, in the order of time."""
        found: list[Belief] = []
        for path in self._folder.glob("*.beliefs"):
            found.extend(_beliefs(path))
        return sorted(found, key=lambda belief: belief.began)

    def written(self) -> list[int]:
        """The tokens of all rows in the order in which they were written."""
        with closing(psycopg2.connect(self._dsn)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT token FROM written ORDER BY id")
            return [token for (token,) in cursor.fetchall()]

    def refused(self) -> int:
        """How many writes of an old term the fence has refused."""
        return sum(len(path.read_text().splitlines()) for path in self._folder.glob("*.refused"))

    def logs(self) -> str:
        """What they have logged last."""
        tails = ((path.name, path.read_text(errors="replace")[-300:]) for path in self._folder.glob("*.log"))
        return "\n".join(f"{name}: {tail}" for name, tail in tails if tail)


def overlaps(beliefs: list[Belief]) -> list[tuple[Belief, Belief]]:
    """Every two beliefs of different processes that share a moment."""
    found = []
    for number, one in enumerate(beliefs):
        for other in beliefs[number + 1 :]:
            if other.began >= one.ended:
                break
            if other.who != one.who:
                found.append((one, other))
    return found


def _beliefs(path: Path) -> Iterator[Belief]:
    began = last = 0.0
    token = 0
    for line in path.read_text().splitlines():
        at_text, _, token_text = line.partition(" ")
        if not token_text:
            continue  # the last line of one that was killed
        at, new = float(at_text), int(token_text)
        if token and (new != token or at - last > GAP):
            yield Belief(began, last, token, path.stem)
            began = at
        elif not token:
            began = at
        token, last = new, at
    if token:
        yield Belief(began, last, token, path.stem)


def _last_token(path: Path) -> int:
    with suppress(OSError, ValueError, IndexError), path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 100))
        return int(file.read().splitlines()[-1].split()[1])
    return 0
