"""The configuration as lines for a terminal: one block for each owner, and what the last reload came to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from eggycore.cli.table import table
from eggycore.config import Configuration

__all__ = ["outcome_lines", "render_config", "render_status"]

Data = Mapping[str, Any]
"""What was JSON: see `eggycore.config.status`."""


def render_config(configuration: Configuration) -> str:
    """The variables of a configuration."""
    rows = ((entry.owner, [entry.key, entry.shown, entry.origin]) for entry in configuration.entries())
    return _blocks(rows)


def render_status(status: Data, source: str) -> str:
    """The variables below a line that says whose they are, and above what else there is to know.

    Args:
        status: As `status_dict` makes it.
        source: The URL of the process that was asked; "" when none was.
    """
    rows = ((entry["owner"], [entry["key"], _value(entry), entry["origin"]]) for entry in status["entries"])
    notes = "\n".join(_notes(status))
    return "\n\n".join(part for part in (_headline(status, source), _blocks(rows), notes) if part)


def outcome_lines(outcome: Data) -> Iterator[str]:
    """What a reload came to, as `outcome_dict` and `failure_dict` tell it."""
    yield f"{outcome['outcome']}: generation {outcome['generation']} is in force"
    label = "changed" if outcome["outcome"] == "applied" else "differs"
    yield from (f"  {label}: {key}" for key in outcome["changed"])
    yield from (f"  waits for a restart: {key}" for key in outcome["pending"])
    if outcome["blamed"]:
        yield f"  by: {outcome['blamed']}"
    yield from (f"  did not take the old values back: {name}" for name in outcome["stranded"])


def failure_lines(failure: Data) -> Iterator[str]:
    """Why a reload failed: one line, or for several problems one for each."""
    yield f"  reason: {failure['reason']}"
    for problem in failure["problems"]:
        value = f" {problem['value']!r}" if problem["value"] is not None else ""
        where = f" ({problem['origin']})" if problem["origin"] else ""
        yield f"    {problem['key']}{value}: {problem['reason']}{where}. {problem['action']}".rstrip()
    if failure["cause"]:
        yield f"  cause: {failure['cause']}"
    if failure["action"]:
        yield f"  action: {failure['action']}"


def _headline(status: Data, source: str) -> str:
    if not source:
        return "What a process would read that is started now."
    last = status["last_reload"]
    if last is None:
        history = "as read at its start"
    else:
        history = f"the last reload was {last['outcome']} at {last['at']}, asked for by {last['by']}"
    return f"Generation {status['generation']}, of the process at {source}: {history}."


def _value(entry: Data) -> str:
    return f"{entry['shown']} (another value waits for a restart)" if entry["pending"] else str(entry["shown"])


def _notes(status: Data) -> Iterator[str]:
    if status["scheduled_at"]:
        yield f"A change that costs something is taken over at {status['scheduled_at']}."
    if status["on_probation"]:
        yield "The last change is on probation: it is taken back if readiness is lost now."
    last = status["last_reload"]
    if last is not None and last["error"] is not None:
        yield f"The last reload was {last['outcome']}:"
        yield from failure_lines(last["error"])
    yield from (f"warning: {text}" for text in (*status["warnings"], *status["ignored"]))


def _blocks(rows: Iterable[tuple[str, list[str]]]) -> str:
    by_owner: dict[str, list[list[str]]] = {}
    for owner, row in rows:
        by_owner.setdefault(owner, []).append(row)
    columns = ("variable", "value", "from")
    return "\n\n".join(f"{owner}\n{table(columns, several)}" for owner, several in by_owner.items())
