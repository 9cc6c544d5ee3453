"""An app with a service that does not stop: WAITS awaits for ever, BLOCKS holds the event loop."""

import asyncio
import os
import time

from eggycore import Service, hookimpl, log


@hookimpl
def register_services(runtime):
    async def never_ending_work():
        if os.environ["STUBBORN"] == "BLOCKS":
            log.warn("blocking")
            log.flush(1)
            time.sleep(60)
        await asyncio.Event().wait()

    async def run(control):
        control.started()
        await control.stopping.wait()
        while True:
            try:
                await never_ending_work()
            except asyncio.CancelledError:
                if os.environ["STUBBORN"] != "IGNORES":
                    raise

    return Service(name="stubborn", run=run)
