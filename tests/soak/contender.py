"""A process that contends for a Lease and writes fenced rows while it leads: `python -m tests.soak.contender`.

It takes down, a few hundred times a second, that it believes to lead: "<monotonic seconds> <token>" per line.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import threading
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import peewee

from eggycore import log
from eggycore.metrics import Registry
from eggycore_db import Database, Fenced, Model, PoolLimits
from eggycore_k8s_watch.access import find_access
from eggycore_k8s_watch.api import ApiClient
from eggycore_k8s_watch.election import Election
from eggycore_k8s_watch.identity import new_identity
from eggycore_k8s_watch.leadership import LeaseLeadership
from eggycore_k8s_watch.leases import LeaseStore

LEADING, STANDING_BY = 0.003, 0.015
"""Seconds between two looks."""

PROMPT = 0.005
"""Seconds: a look that took longer may have been interrupted, and says only that it began."""


class Written(Model):
    """A row that a leader has written."""

    token = peewee.BigIntegerField()
    writer = peewee.CharField()


@dataclass
class Control:
    """What the runtime hands to a service."""

    name: str = "election"
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def started(self) -> None:
        """Nobody waits for it."""


async def main() -> None:
    """Contend until SIGTERM."""
    asked = arguments()
    log.init("warn", "json", service="contender")
    skew = timedelta(seconds=asked.skew)
    election = Election(new_identity(), duration=asked.duration, wall=lambda: datetime.now(UTC) + skew)

    @asynccontextmanager
    async def store():  # type: ignore[no-untyped-def]  # a generator of a store
        async with ApiClient(find_access(kubeconfig=asked.kubeconfig)) as api:
            yield LeaseStore(api, "soak")

    control = Control()

    def leave() -> None:
        control.draining.set()
        control.stopping.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave)
    leadership = LeaseLeadership(store, election, metrics=Registry())
    over = threading.Event()
    looking = threading.Thread(target=look, args=(leadership, asked.beliefs, over))
    looking.start()
    try:
        async with (
            Database(asked.dsn, pool=PoolLimits(max_open=2)) as database,
            leadership.opened(wanted=False),
            asyncio.TaskGroup() as tasks,
        ):
            writing = tasks.create_task(
                write(leadership, database, election.identity, asked.beliefs.with_suffix(".refused"))
            )
            await leadership.run(control)
            writing.cancel()
    finally:
        over.set()
        looking.join()
        log.close(1.0)


async def write(leadership: LeaseLeadership, database: Database, writer: str, refused: Path) -> None:
    """Write as fast as it goes while a term lasts, and once more when it is over, as one that was paused does."""

    async def write_one(token: int) -> None:
        try:
            async with database.transaction():
                await database.fence("soak", token)
                await database.create(Written, token=token, writer=writer)
        except Fenced as late:
            with refused.open("a") as file:
                file.write(f"{late.token} {late.seen}\n")

    while True:
        async with leadership.lead() as term:
            while not term.over.is_set() and term.seconds_left() > 0:
                await write_one(term.token)
                await asyncio.sleep(0.001)
        await write_one(term.token)


def look(leadership: LeaseLeadership, beliefs: Path, over: threading.Event) -> None:
    """Take down when this process believes to lead, in a thread that no loop holds up."""
    file = os.open(beliefs, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        leads = False
        while not over.wait(LEADING if leads else STANDING_BY):
            began = time.monotonic()
            term = leadership._election.term
            leads = leadership._election.leads
            if leads and term is not None:
                ended = time.monotonic()
                at = ended if ended - began < PROMPT else began
                os.write(file, f"{at:.6f} {term.token}\n".encode())
    finally:
        os.close(file)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--beliefs", type=Path, required=True)
    parser.add_argument("--duration", type=float, required=True)
    parser.add_argument("--skew", type=float, default=0.0)
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main())
