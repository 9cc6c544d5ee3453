"""An app with a service that dies: a number of times, or for good."""

import os

from eggycore import Restart, Service, hookimpl

DEATHS = int(os.environ.get("DEATHS", "1"))
LIMIT = int(os.environ.get("LIMIT", "5"))


@hookimpl
def register_services(runtime):
    runs = []

    async def run(control):
        runs.append(1)
        if len(runs) > 1:
            await runtime.get(type(runtime)).launcher.ready.wait()
        control.started()
        if len(runs) <= DEATHS:
            await runtime.launcher.ready.wait()
            raise RuntimeError("worker lost its mind")
        await control.stopping.wait()

    return Service(name="worker", run=run, restart=Restart(backoff=0.01, backoff_max=0.05, limit=LIMIT))
