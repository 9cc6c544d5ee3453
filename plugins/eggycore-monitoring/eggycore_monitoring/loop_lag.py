"""Measures how late the event loop comes to what is due."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from eggycore import Control, Service
from eggycore.metrics import HistogramChild, Registry

__all__ = ["LoopLag", "loop_lag_service"]

INTERVAL = 0.5
"""Seconds between measurements."""

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class LoopLag:
    """Asks the running loop for a call at every interval, and observes how late each one comes.

    Args:
        lag: Where the lag is observed, in seconds.
        clock: Seconds on a clock that never goes back. Not the loop's own: uvloop's counts whole milliseconds.
    """

    def __init__(self, lag: HistogramChild, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._lag = lag
        self._clock = clock
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure, on the running loop."""
        self._due = self._clock() + INTERVAL
        self._timer = asyncio.get_running_loop().call_later(INTERVAL, self.tick)

    def tick(self) -> None:
        """The call that was asked for: observe how late it is, and ask for the next one."""
        self._lag.observe(max(0.0, self._clock() - self._due))
        self.start()

    def stop(self) -> None:
        """Measure no more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def loop_lag_service(metrics: Registry) -> Service:
    """The measurement as a service that runs as long as probes are served."""
    lag = metrics.histogram(
        "event_loop_lag_seconds", "How late the event loop comes to what is due, twice a second.", buckets=BUCKETS
    )

    async def run(control: Control) -> None:
        loop_lag = LoopLag(lag.labels())
        loop_lag.start()
        control.started()
        try:
            await control.stopping.wait()
        finally:
            loop_lag.stop()

    return Service(name="event loop lag", run=run, stage="probe", critical=False)
