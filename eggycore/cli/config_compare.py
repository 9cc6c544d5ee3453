"""`eggycore config diff`: what is set otherwise in another environment."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from eggycore.cli.options import RuntimeOptions, echo_json, json_option, runtime_options
from eggycore.cli.table import table
from eggycore.errors import ConfigError

if TYPE_CHECKING:
    from eggycore.config.differences import Difference, Examined, Side

__all__ = ["diff"]


@click.command(short_help="Compare two environments.", epilog="Example: eggycore config diff staging production")
@click.argument("one", metavar="A")
@click.argument("other", metavar="B")
@runtime_options
@json_option
def diff(options: RuntimeOptions, one: str, other: str, as_json: bool) -> None:
    """Show the variables that differ between ENVIRONMENT=A and ENVIRONMENT=B, read in this folder.

    A variable differs in its value, or in the layer that it comes from. One that must be set and is not is shown as
    missing, because the environment may set it where the service is deployed. Secrets are compared and not shown.
    """
    from eggycore.config.differences import Examined, differences

    runtime = options.runtime()
    sides = one_side, other_side = tuple(
        Examined(environment, *runtime.examine(environment)) for environment in (one, other)
    )
    found = differences(one_side, other_side)
    if as_json:
        echo_json({"a": one, "b": other, "differences": [_dict(difference) for difference in found]})
    else:
        click.echo(_rendered(found, one, other))
    _report_other_problems(sides)


def _dict(difference: Difference) -> dict[str, object]:
    data = asdict(difference)
    a, b = data.pop("one"), data.pop("other")
    return {**data, "a": a, "b": b}


def _rendered(found: tuple[Difference, ...], one: str, other: str) -> str:
    if not found:
        return f"{one} and {other} do not differ."
    owners = dict.fromkeys(difference.owner for difference in found)
    columns = ("variable", f"in {one}", "from", f"in {other}", "from")
    blocks = []
    for owner in owners:
        rows = [_row(difference) for difference in found if difference.owner == owner]
        blocks.append(f"{owner}\n{table(columns, rows)}")
    return "\n\n".join(blocks)


def _row(difference: Difference) -> list[str]:
    one, other = difference.one, difference.other
    note = ""
    if difference.secret and one.state == other.state == "set":
        note = " (the same)" if difference.same_value else " (differs)"
    return [difference.key, _shown(one), one.origin, f"{_shown(other)}{note}", other.origin]


def _shown(side: Side) -> str:
    match side.state:
        case "set":
            return side.shown
        case "missing":
            return "(missing)"
        case "wrong":
            return f"(wrong: {side.shown})"
        case "absent":
            return "(not there)"


def _report_other_problems(sides: tuple[Examined, ...]) -> None:
    """Tell what the table does not: files that cannot be read, and values that do not go with each other."""
    problems = tuple(dict.fromkeys(problem for side in sides for problem in side.other_problems))
    if problems:
        raise ConfigError(problems)
