"""What really happened, and how long it took: per plugin and component, on the way up and on the way down."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Span", "Timeline"]


@dataclass(frozen=True, kw_only=True)
class Span:
    """One thing that was done.

    Args:
        phase: "import", "settings", "configure", "plan", "open", "start", "ready", "drain", "stop" or "close".
        component: The plugin, initializer or service it was done to; "" for the runtime as a whole.
        started: Seconds since the timeline began.
        seconds: How long it took.
        failed: Whether it ended with an exception.
    """

    phase: str
    component: str
    started: float
    seconds: float
    failed: bool = False


class Timeline:
    """The spans of one runtime, in the order in which they ended. Written by one thread."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._epoch = clock()
        self._spans: list[Span] = []

    @property
    def spans(self) -> tuple[Span, ...]:
        """Everything that has ended so far."""
        return tuple(self._spans)

    @contextmanager
    def span(self, phase: str, component: str = "") -> Iterator[None]:
        """Record what happens inside the block; an exception is recorded as failed and passed on."""
        started = self._clock()
        failed = True
        try:
            yield
            failed = False
        finally:
            self.record(phase, component, started, self._clock() - started, failed=failed)

    def record(self, phase: str, component: str, started: float, seconds: float, *, failed: bool = False) -> None:
        """Record something measured elsewhere; `started` is a reading of this timeline's clock."""
        self._spans.append(
            Span(phase=phase, component=component, started=started - self._epoch, seconds=seconds, failed=failed)
        )

    def now(self) -> float:
        """A reading of this timeline's clock, in seconds."""
        return self._clock()

    def elapsed(self) -> float:
        """Seconds since the timeline began."""
        return self._clock() - self._epoch

    def render(self) -> str:
        """The spans as lines for a terminal: offset, duration, phase, component."""
        ordered = sorted(self._spans, key=lambda span: span.started)
        return "\n".join(
            f"{span.started * 1000:9.1f} ms  {span.seconds * 1000:8.1f} ms  {span.phase:<10} {span.component}"
            f"{'  FAILED' if span.failed else ''}".rstrip()
            for span in ordered
        )
