"""Hook implementations only: the door into the plugin, imported when the plugin is selected."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from eggycore import CheckFailed, Control, HealthCheck, Initializer, Runtime, Service, hookimpl
from eggycore_heartbeat.heart import Heart
from eggycore_heartbeat.settings import HeartbeatSettings


@hookimpl
def register_settings() -> type[HeartbeatSettings]:
    return HeartbeatSettings


@hookimpl
def init_infra(runtime: Runtime) -> Initializer[Heart]:
    @asynccontextmanager
    async def open_heart() -> AsyncIterator[Heart]:
        heart = Heart(runtime.config[HeartbeatSettings].file)
        heart.beat()  # a file that cannot be written stops the start, here
        try:
            yield heart
        finally:
            heart.rest()

    return Initializer(name="heart", open=open_heart, provides=Heart)


@hookimpl
def register_services(runtime: Runtime) -> Service:
    beats = runtime.metrics.counter("heartbeat_beats_total", "Beats that reached the file.")

    async def run(control: Control) -> None:
        heart = runtime.get(Heart)
        control.started()
        while not control.stopping.is_set():
            heart.beat()
            beats.inc()
            await _stopping_within(control, runtime.config[HeartbeatSettings].every)

    runtime.http.get("/heartbeat", read)
    return Service(name="heartbeat", run=run, requires=(Heart,))


@hookimpl
def register_health_checks(runtime: Runtime) -> HealthCheck:
    def beating() -> None:
        age, every = runtime.get(Heart).age(), runtime.config[HeartbeatSettings].every
        if age > 3 * every:
            raise CheckFailed(f"the last beat is {age:.1f} s old, one is due every {every:g} s")

    return HealthCheck(name="heartbeat", check=beating, critical=False, interval=1)


async def read(request: object, heart: Heart) -> dict[str, int]:
    """GET /heartbeat. The runtime passes the `Heart` that `init_infra` opened."""
    return {"beats": heart.beats}


async def _stopping_within(control: Control, seconds: float) -> None:
    try:
        await asyncio.wait_for(control.stopping.wait(), seconds)
    except TimeoutError:
        return
