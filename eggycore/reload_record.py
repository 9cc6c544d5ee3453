"""What became of the last reload, where people look for it: the log, the metrics, the health and the status."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from eggycore import log
from eggycore.diagnostics import explain
from eggycore.health import Health
from eggycore.metrics import Registry

if TYPE_CHECKING:
    from eggycore.config import ReloadResult

__all__ = ["ReloadRecord", "ReloadStatus"]

CONFIGURATION = "configuration"
"""The name under which /healthz tells of a reload that failed."""


@dataclass(frozen=True, kw_only=True)
class ReloadStatus:
    """Where the configuration of a process stands.

    Args:
        generation: The generation in force.
        last: How the last reload ended; None before the first.
        by: What asked for it: "SIGHUP", "config/production.toml", "ConfigMap forms".
        at: When it ended.
        pending: Variables whose new value waits for a restart.
        scheduled_at: When a costly change is taken over that waits for its turn (CONFIG_RELOAD_SPREAD).
        on_probation: Whether the configuration in force still may be taken back, because it is new.
    """

    generation: int
    last: ReloadResult | None = None
    by: str = ""
    at: datetime | None = None
    pending: frozenset[str] = frozenset()
    scheduled_at: datetime | None = None
    on_probation: bool = False


class ReloadRecord:
    """Keeps the last result, and shows it.

    Args:
        health: Where a reload that failed is told, as degraded.
        metrics: Where reloads are counted.
    """

    def __init__(self, health: Health, metrics: Registry) -> None:
        self.last: ReloadResult | None = None
        self.by = ""
        self.at: datetime | None = None
        self._health = health
        self._warned: tuple[str, ...] = ()
        self._counts = metrics.counter("config_reloads_total", "Reloads of the configuration.", ("outcome",))
        self._success = metrics.gauge(
            "config_last_reload_success", "Whether the last reload was right (1) or failed (0)."
        )
        self._moment = metrics.gauge(
            "config_reload_timestamp_seconds", "When the configuration was last read, in Unix time."
        )
        self._pending = metrics.gauge("config_pending_restart", "Variables whose new value waits for a restart.")
        for outcome in ("applied", "unchanged", "scheduled", "refused", "undone"):
            self._counts.labels(outcome)  # so that the first of a kind counts as an increase
        self._success.set(1)
        self._moment.set(datetime.now(UTC).timestamp())

    def warned(self, warnings: tuple[str, ...]) -> None:
        """These were told at start: they are not told again as long as they are the same."""
        self._warned = warnings

    def add(self, by: str, result: ReloadResult, *, quiet: bool = False) -> None:
        """Keep a result, and tell of it.

        Args:
            by: What asked for the reload.
            result: How it ended.
            quiet: Whether nothing is logged when nothing has changed.
        """
        self.last, self.by, self.at = result, by, datetime.now(UTC)
        self._counts.labels(result.outcome).inc()
        self._success.set(result.error is None)
        self._moment.set(self.at.timestamp())
        self._pending.set(len(result.pending))
        self._report(result)
        if not quiet or result.outcome != "unchanged" or result.pending:
            _log(by, result)
        for warning in result.warnings:
            if warning not in self._warned:
                log.warn(warning)
        self._warned = result.warnings

    def _report(self, result: ReloadResult) -> None:
        if result.error is not None:
            reason = f"the last reload was {result.outcome}: {explain(result.error)}"
            self._health.report(CONFIGURATION, "DEGRADED", reason, critical=False)
        elif result.ignored:
            self._health.report(CONFIGURATION, "DEGRADED", " ".join(result.ignored), critical=False)
        else:
            self._health.withdraw(CONFIGURATION)


def _log(by: str, result: ReloadResult) -> None:
    say = log.info if result.error is None else log.error
    say(
        f"configuration {result.outcome}",
        by=by,
        generation=result.generation,
        changed=sorted(result.changed),
        pending_restart=sorted(result.pending),
        blamed=result.blamed or None,
        stranded=[name for name, _ in result.stranded] or None,
        reason=explain(result.error) if result.error is not None else None,
    )
