"""Where the configuration of a process stands, as data for JSON: what is in force, and how the last reload ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from eggycore.config.configuration import Configuration
from eggycore.config.explain import entry_of
from eggycore.diagnostics import diagnose
from eggycore.errors import ConfigError, EggycoreError

if TYPE_CHECKING:
    from datetime import datetime

    from eggycore.config.reload import ReloadResult
    from eggycore.reload_record import ReloadStatus

__all__ = ["failure_dict", "outcome_dict", "status_dict"]

_ASK_THE_LOG = "The log of the process says more."


def status_dict(configuration: Configuration, status: ReloadStatus | None = None) -> dict[str, object]:
    """What `config show --json` prints, and GET /config answers. Secrets are masked.

    Args:
        configuration: What is in force.
        status: Of the process that runs with it; None when none does.
    """
    pending = status.pending if status is not None else frozenset()
    return {
        "generation": configuration.generation,
        "running": status is not None,
        "last_reload": _last_reload(status) if status is not None else None,
        "scheduled_at": _moment(status.scheduled_at) if status is not None else None,
        "on_probation": status is not None and status.on_probation,
        "pending": sorted(pending),
        "ignored": [str(one) for one in configuration.ignored],
        "warnings": [str(one) for one in configuration.unknown],
        "entries": [asdict(entry_of(configuration, key)) | {"pending": key in pending} for key in configuration.owned],
    }


def outcome_dict(result: ReloadResult) -> dict[str, object]:
    """How a reload ended, without the reason."""
    return {
        "outcome": result.outcome,
        "generation": result.generation,
        "changed": sorted(result.changed),
        "pending": sorted(result.pending),
        "blamed": result.blamed,
        "stranded": [name for name, _ in result.stranded],
    }


def _last_reload(status: ReloadStatus) -> Mapping[str, object] | None:
    if status.last is None:
        return None
    by = {"by": status.by, "at": _moment(status.at)}
    error = failure_dict(status.last.error) if status.last.error is not None else None
    return outcome_dict(status.last) | by | {"error": error}


def _moment(at: datetime | None) -> str | None:
    return at.isoformat(timespec="milliseconds") if at is not None else None


def failure_dict(error: Exception) -> dict[str, object]:
    """Why a reload failed. Of an exception that a plugin raised, the type is told and not the text."""
    reason, cause, action = _reasons(error)
    problems = error.problems if isinstance(error, ConfigError) else ()
    return {"reason": reason, "cause": cause, "action": action, "problems": [asdict(problem) for problem in problems]}


def _reasons(error: Exception) -> tuple[str, str, str]:
    """What happened, why, and what to do."""
    if not isinstance(error, EggycoreError) or diagnose.dispatch(type(error)) is diagnose.dispatch(object):
        return f"{type(error).__name__} was raised.", "", _ASK_THE_LOG
    diagnosis = diagnose(error)
    foreign = next((value for value in vars(error).values() if isinstance(value, BaseException)), None)
    if foreign is not None:
        return diagnosis.description, f"{type(foreign).__name__} was raised.", _ASK_THE_LOG
    return diagnosis.description, diagnosis.cause, diagnosis.action
