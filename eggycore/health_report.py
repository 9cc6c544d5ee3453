"""What probes and /healthz say, worked out from the lines of a report: pure functions, no clock and no task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import orjson

from eggycore.check_state import Status
from eggycore.types import CheckKind

__all__ = ["Line", "Phase", "ProbeResult", "details", "probe_result", "words"]

Phase = Literal["starting", "ready", "draining"]
"""Where the process stands; only "ready" is ready for traffic."""

_WORDS: Mapping[Status, str] = {"UP": "OK", "DEGRADED": "DEGRADED", "DOWN": "FAILED", "UNKNOWN": "UNKNOWN"}

_KINDS_OF_PROBE: Mapping[CheckKind, frozenset[CheckKind]] = {
    "ready": frozenset({"ready"}),
    "live": frozenset({"live"}),
    "startup": frozenset({"ready", "startup"}),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeResult:
    """The answer of a probe.

    Args:
        status: UP and DEGRADED are answered with 200, DOWN and UNKNOWN with 503.
        http_status: 200 or 503.
        body: JSON, without details.
    """

    status: Status
    http_status: int
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """The state of one check, or of something that reported itself, as it was at one moment.

    Args:
        name: Name of the check.
        status: Its status then.
        has_verdict: Whether it has ever been anything but UNKNOWN.
        kinds: The probes that look at it.
        critical: Whether it alone turns a probe red.
        origin: Who declared it.
        reason: Why it is not UP; fit for showing.
        failures: Failures in a row.
        since: When it took on its status.
        seconds: How long its last run took.
    """

    name: str
    status: Status
    has_verdict: bool
    kinds: frozenset[CheckKind]
    critical: bool
    origin: str = ""
    reason: str = ""
    failures: int = 0
    since: datetime | None = None
    seconds: float | None = None


def probe_result(kind: CheckKind, phase: Phase, step: str, lines: Iterable[Line]) -> ProbeResult:
    """The answer of one probe.

    Readiness is red outside "ready". Startup is red, naming the step, until the process was ready once. Liveness
    looks at live checks only, takes one without a verdict for well, and stays green while draining.

    Args:
        kind: Which probe.
        phase: Where the process stands.
        step: What it is doing, for the body.
        lines: All lines; those of other kinds are left out.
    """
    seen = [line for line in lines if line.kinds & _KINDS_OF_PROBE[kind]]
    status = _status(kind, phase, seen)
    body: dict[str, object] = {"status": status}
    if phase != "ready":
        body["step"] = step if phase == "starting" else "draining"
    body["checks"] = words(seen)
    return ProbeResult(status=status, http_status=http_status(status), body=orjson.dumps(body))


def _status(kind: CheckKind, phase: Phase, lines: Iterable[Line]) -> Status:
    match kind:
        case "startup":
            return "DOWN" if phase == "starting" else "UP"
        case "live":
            return "UP" if phase == "draining" else _worst(line for line in lines if line.has_verdict)
        case _:
            return _worst(lines) if phase == "ready" else "DOWN"


def _worst(lines: Iterable[Line]) -> Status:
    """The status of the whole; a line that is not critical degrades it and no more."""
    critical: set[Status] = set()
    others: set[Status] = set()
    for line in lines:
        (critical if line.critical else others).add(line.status)
    if "DOWN" in critical:
        return "DOWN"
    if "UNKNOWN" in critical:
        return "UNKNOWN"
    return "DEGRADED" if (critical | others) - {"UP"} else "UP"


def http_status(status: Status) -> int:
    """200 for what may have traffic, else 503."""
    return 200 if status in ("UP", "DEGRADED") else 503


def words(lines: Iterable[Line]) -> dict[str, str]:
    """Each line's status in one word: OK, DEGRADED, FAILED or UNKNOWN."""
    return {line.name: _WORDS[line.status] for line in lines}


def details(line: Line) -> dict[str, object]:
    """Everything about a line, for those who may see it."""
    return {
        "status": line.status,
        "kinds": sorted(line.kinds),
        "critical": line.critical,
        "origin": line.origin,
        "reason": line.reason,
        "failures": line.failures,
        "since": timestamp(line.since) if line.since is not None else None,
        "seconds": line.seconds,
    }


def timestamp(moment: datetime) -> str:
    """A moment in UTC as RFC 3339, to the millisecond."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
