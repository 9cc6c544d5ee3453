"""`eggycore plan`: what would be opened and started, without opening anything."""

from __future__ import annotations

import click

from eggycore.cli.options import RuntimeOptions, echo_json, json_option, run_options
from eggycore.plan import Plan

__all__ = ["command", "render_plan"]

_TITLES = {"initializers": "Opened, in this order", "services": "Started, stage by stage", "checks": "Checked"}


@click.command(epilog="Example: eggycore plan --plugins db,cache --json")
@run_options
@json_option
def command(options: RuntimeOptions, as_json: bool) -> None:
    """Show what would be opened and started, and in which order. Nothing is opened."""
    plan = options.runtime().make_plan()
    if as_json:
        echo_json(plan.to_dict())
    else:
        click.echo(render_plan(plan))


def render_plan(plan: Plan) -> str:
    """The plan as lines for a terminal."""
    sections = [_section(_TITLES[kind], components) for kind, components in plan.to_dict().items()]
    return "\n\n".join(sections)


def _section(title: str, components: list[dict[str, object]]) -> str:
    if not components:
        return f"{title}: nothing."
    lines = [f"{title}:"]
    for component in components:
        lines.append(f"  {component['name']}  ({component['from']})")
        hidden = ("name", "from") if component.get("leader_only") else ("name", "from", "leader_only")
        facts = {key.replace("_", " "): value for key, value in component.items() if key not in hidden}
        lines.append(f"    {', '.join(f'{key} {_shown(value)}' for key, value in facts.items())}")
    return "\n".join(lines)


def _shown(value: object) -> str:
    match value:
        case None | []:
            return "nothing"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g} s"
        case list():
            return " and ".join(map(str, value))
        case _:
            return str(value)
