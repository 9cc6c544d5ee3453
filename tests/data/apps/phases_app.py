"""An app that stops and waits in the phase named by HANG_IN, and says what it opens and closes."""

import asyncio
import os
import time
from contextlib import asynccontextmanager

from eggycore import HealthCheck, Initializer, Service, hookimpl, log

HANG_IN = os.environ.get("HANG_IN", "")


def hang(phase):
    """Block like slow code does: no await, no signal handler of its own."""
    if phase == HANG_IN:
        os.write(1, b'{"message": "hanging"}\n')
        time.sleep(60)


async def wait(phase):
    if phase == HANG_IN:
        log.warn("hanging")
        await asyncio.sleep(60)


hang("import")


@hookimpl
def register_settings():
    hang("settings")


@hookimpl
def init_infra(runtime):
    hang("plan")

    @asynccontextmanager
    async def first():
        log.info("opened", what="first")
        try:
            yield
        finally:
            log.info("closed", what="first")
            if HANG_IN == "close":
                log.warn("hanging")
                await asyncio.Event().wait()

    @asynccontextmanager
    async def second():
        log.info("opened", what="second")
        try:
            await wait("open")
            yield
        finally:
            log.info("closed", what="second")

    return [Initializer(name="first", open=first), Initializer(name="second", open=second)]


@hookimpl
def register_services(runtime):
    async def run(control):
        log.info("opened", what="service")
        try:
            await wait("start")
            control.started()
            await control.stopping.wait()
        finally:
            log.info("closed", what="service")

    return Service(name="worker", run=run)


@hookimpl
def register_health_checks(runtime):
    async def check():
        await wait("check")

    return HealthCheck(name="slow", check=check, timeout=90)
