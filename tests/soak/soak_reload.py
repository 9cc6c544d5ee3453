"""A thousand reloads of the sample app under HTTP load, in every way that one can ask for one.

EGGYCORE_SOAK_RELOADS (1000, at least 50) says how many. Every tenth is wrong and is refused; every tenth has the
database called by another user with another password.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression
from typing import Any

import aiohttp
import pytest

from tests.e2e.conftest import Instance, started
from tests.e2e.traffic import Address, Answers, ask, load, read_answer, request
from tests.servers import PostgresServer, postgres_server
from tests.soak.following import Line, following

RELOADS = int(os.environ.get("EGGYCORE_SOAK_RELOADS", "1000"))
WARM_UP = RELOADS // 5
"""Reloads in which memory may still grow to its size: pools have their first connections, caches their first values."""

LAP = 10
CLIENTS = 8
FORMS = 200
PATIENCE = 30.0
BETWEEN_POLLS = 0.01

MOST_GROWTH = 2.0
"""MiB between the warm-up and the end, along the line that fits best. A thousand that are kept have some 6."""

SLACK = 4
"""Descriptors, threads and tasks by which a busy moment may differ from the busiest before."""

MOST_CONFIGURATIONS = 3 + 10
"""At one moment, without that of the start: the one in force, one being read, one that a request has; and those to
which probation may return, one for each tenth of its 30 s, as the changes of a tenth stand or fall together."""

TOKEN = "soak"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
APPS = Path(__file__).parent / "apps"
LEVELS = ("info", "warn", "debug", "error")
USERS = ("forms_a", "forms_b")

BY_HAND = ("SIGHUP", "the management endpoint")
"""Who asks, as the process tells it; else it names the files."""


class Files:
    """The files that the process reads its configuration from; each is replaced at once."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        self.server = server
        self._folder = folder
        (folder / "config").mkdir()
        for user in USERS:
            server.execute(f"CREATE ROLE {user} SUPERUSER LOGIN")
        self.user = ""
        self.rotate(0)
        self.write(0)

    def write(self, number: int) -> None:
        """The settings of a reload: every one differs from those of the reload before."""
        self._replace("config/base.toml", _settings(number))

    def write_half(self, number: int) -> None:
        """What a reader sees who comes too early."""
        text = _settings(number)
        self._replace("config/base.toml", text[: text.index("[flag]") + 3])

    def rotate(self, number: int) -> None:
        """Connect as the other user from now on, with a password that nobody has had yet."""
        self.user, password = USERS[number % len(USERS)], f"password-{number}"
        self.server.execute(f"ALTER ROLE {self.user} PASSWORD '{password}'")
        self._replace(".env", f"DATABASE_USER={self.user}\nDATABASE_PASSWORD={password}\n")

    def _replace(self, name: str, text: str) -> None:
        draft = self._folder / "draft"
        draft.write_text(text)
        draft.rename(self._folder / name)


def _settings(number: int) -> str:
    flag = 60 + number
    return f"""\
log_level = "{LEVELS[number % len(LEVELS)]}"
http_keepalive_timeout = "{75 + number % 3}s"

[database]
max_open_conns = {4 + number % 5}
max_idle_conns = {2 + number % 2}
acquire_timeout = "{10 + number % 4}s"

[cache]
ttl = "{flag}s"
max_size = "{8 + number % 4}MB"

[forms]
page_limit = {100 + number % 50}

[flag]
left = {flag}
right = {flag}
"""


@dataclass
class Held:
    """What the process held at some moments.

    Attributes:
        memory: Resident, in MiB.
    """

    memory: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    tasks: list[int] = field(default_factory=list)
    configurations: list[int] = field(default_factory=list)

    def look(self, pid: int, told: dict[str, int]) -> None:
        """Another moment."""
        status = Path(f"/proc/{pid}/status").read_text()
        self.memory.append(int(status.partition("VmRSS:")[2].split()[0]) / 1024)
        self.descriptors.append(len(list(Path(f"/proc/{pid}/fd").iterdir())))
        self.threads.append(int(status.partition("Threads:")[2].split()[0]))
        self.tasks.append(told["tasks"])
        self.configurations.append(told["configurations"])

    @property
    def growth(self) -> float:
        """MiB by which memory has grown from the first to the last moment, along the line that fits best."""
        slope, _ = linear_regression(range(len(self.memory)), self.memory)
        return float(slope * (len(self.memory) - 1))

    def grown(self) -> Iterator[str]:
        """What was held more of in the second half than ever in the first."""
        for name in ("descriptors", "threads", "tasks"):
            numbers: list[int] = getattr(self, name)
            middle = len(numbers) // 2
            before, after = max(numbers[:middle]), max(numbers[middle:])
            if after > before + SLACK:
                yield f"{name}: at most {before}, then {after}"


class Process:
    """The sample app, and the ways to have it reload."""

    def __init__(self, instance: Instance, files: Files, session: aiohttp.ClientSession) -> None:
        self.files = files
        self.instance = instance
        self.generation = 1
        self.refused = 0
        self.asked_by: Counter[str] = Counter()
        self._session = session
        self._management = "http://{}:{}".format(*instance.addresses["HEALTH_CHECK_PORT"])
        self._ways: list[Callable[[], Awaitable[dict[str, Any]]]] = [self._by_file, self._by_signal, self._by_request]

    async def change(self, number: int) -> None:
        """One reload, which is applied, or refused."""
        if number % LAP == LAP - 1:
            await self._refuse(number)
            return
        if number % LAP == LAP // 2:
            await asyncio.to_thread(self.files.rotate, number // LAP + 1)
        else:
            self.files.write(number)
        self.generation += 1
        status = await self._ways[number % len(self._ways)]()
        by = status["last_reload"]["by"]
        self.asked_by[by if by in BY_HAND else "files"] += 1
        assert (status["generation"], status["pending"]) == (self.generation, []), status["last_reload"]

    async def status(self) -> dict[str, Any]:
        """What GET /config says."""
        async with self._session.get(f"{self._management}/config", headers=BEARER) as answer:
            assert answer.status == 200, await answer.text()
            status: dict[str, Any] = await answer.json()
            return status

    async def held(self) -> dict[str, int]:
        """What /held says."""
        status, body = await ask(self.instance.addresses["http"], "GET", "/held")
        assert status == 200
        held: dict[str, int] = json.loads(body)
        return held

    async def _refuse(self, number: int) -> None:
        self.files.write_half(number)
        self.refused += 1
        if number % (2 * LAP) < LAP:
            await self._until(lambda status: status["last_reload"]["outcome"] == "refused")
            return
        async with self._session.post(f"{self._management}/config/reload", headers=BEARER) as answer:
            assert answer.status == 409
            assert (await answer.json())["outcome"] == "refused"

    async def _by_file(self) -> dict[str, Any]:
        """The watch of the files sees it."""
        return await self._until(lambda status: status["generation"] >= self.generation)

    async def _by_signal(self) -> dict[str, Any]:
        self.instance.signal(signal.SIGHUP)
        return await self._until(lambda status: status["generation"] >= self.generation)

    async def _by_request(self) -> dict[str, Any]:
        async with self._session.post(f"{self._management}/config/reload", headers=BEARER) as answer:
            body = await answer.json()
            assert answer.status == 200, body
            assert body["outcome"] in ("applied", "unchanged"), body  # the watch may have been there before
        return await self.status()

    async def _until(self, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while not is_so(status := await self.status()):
            assert time.monotonic() < until, status["last_reload"]
            await asyncio.sleep(BETWEEN_POLLS)
        return status


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    """The files, and the server of which they tell."""
    with postgres_server(password="soak") as server:
        yield Files(tmp_path, server)


@asynccontextmanager
async def running(files: Files, folder: Path, took: Callable[[Line], None]) -> AsyncIterator[Process]:
    """The sample app on this server, with these files."""
    settings: dict[str, Any] = {
        "PYTHONPATH": str(APPS),
        "MANAGEMENT_TOKEN": TOKEN,
        "HTTP_ACCESS_LOG": "false",
        "DATABASE_SCHEME": "postgresql",
        "DATABASE_HOST": files.server.host,
        "DATABASE_PORT": str(files.server.port),
        "DATABASE_NAME": "test",
        "DATABASE_CONN_MAX_LIFETIME": "2s",  # so that connections are made anew all the time, with what is in force
    }
    words = ("flagged_app", "--plugins", "db,cache,monitoring")
    async with started(*words, folder=folder, **settings) as instance, aiohttp.ClientSession() as session:
        await instance.until("ready")
        async with following(instance, took):
            process = Process(instance, files, session)
            yield process
            instance.signal(signal.SIGTERM)
            async with asyncio.timeout(PATIENCE):
                assert await instance.process.wait() == 0


def requests() -> Iterator[bytes]:
    """Reads of the flags, of single forms and of pages, and now and then a new form."""
    for number in itertools.count():
        yield request("GET", "/flags")
        yield request("GET", f"/api/v1/forms/{1 + number % FORMS}")
        yield request("GET", f"/api/v1/forms?after={number % FORMS}&limit=5")
        if number % 20 == 0:
            yield request("POST", "/api/v1/forms", {"title": f"form {number}"})


async def test_a_thousand_reloads_fail_no_request_and_leave_nothing(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers, held, bad_lines = Answers(), Held(), list[Line]()

    def took(line: Line) -> None:
        if line["level"] in ("error", "fatal") and line["message"] != "configuration refused":
            bad_lines.append(line)

    async with running(files, tmp_path, took) as process:
        address = process.instance.addresses["http"]
        for number in range(FORMS):
            await create(address, f"form {number}")
        coming = requests()
        began = time.monotonic()
        async with load([lambda: address] * CLIENTS, lambda: next(coming), answers):
            for number in range(1, RELOADS + 1):
                await process.change(number)
                if number > WARM_UP and number % LAP == 0:
                    held.look(process.instance.process.pid, await process.held())
            seconds = time.monotonic() - began
        status = await process.status()
        await only_user(files, process)
    with capsys.disabled():
        print(
            f"\n{RELOADS} reloads in {seconds:.0f} s, {process.refused} of them refused, the others by"
            f" {dict(process.asked_by)};"
            f" {answers.statuses.total()} requests, the slowest {answers.slowest:.2f} s;"
            f" memory {held.memory[0]:.1f} to {held.memory[-1]:.1f} MiB, along the line {held.growth:+.2f} MiB;"
            f" at most {max(held.descriptors)} descriptors, {max(held.threads)} threads, {max(held.tasks)} tasks,"
            f" {max(held.configurations)} configurations"
        )
    assert answers.broken == []
    assert answers.statuses.keys() == {200, 201}
    assert status["generation"] == 1 + RELOADS - process.refused
    for way in (*BY_HAND, "files"):  # a third of what is applied, but the watch may be there before the other two
        assert process.asked_by[way] >= RELOADS // 5, process.asked_by
    assert bad_lines == []
    assert held.growth < MOST_GROWTH, held.memory
    assert list(held.grown()) == []
    assert max(held.configurations) <= MOST_CONFIGURATIONS
    stored = {number for (number,) in files.server.execute("SELECT id FROM forms")}
    assert set(answers.written) <= stored


async def create(address: Address, title: str) -> None:
    """Store a form."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request("POST", "/api/v1/forms", {"title": title}))
    status, _, _ = await read_answer(reader)
    assert status == 201
    writer.close()
    await writer.wait_closed()


async def only_user(files: Files, process: Process) -> None:
    """Wait until every connection is of the user whose turn it is."""
    sql = f"SELECT DISTINCT usename FROM pg_stat_activity WHERE usename IN {USERS}"
    until = time.monotonic() + PATIENCE
    while (users := await asyncio.to_thread(files.server.execute, sql)) != [(files.user,)]:
        assert time.monotonic() < until, users
        status, _ = await ask(process.instance.addresses["http"], "GET", "/api/v1/forms?limit=1")
        assert status == 200
        await asyncio.sleep(BETWEEN_POLLS)
