"""Commands that plugins bring: entry points of group "eggycore.commands", listed without importing any."""

from __future__ import annotations

from typing import Any, NamedTuple

import click

from eggycore import entry_points
from eggycore.cli.errors import VERBOSE

__all__ = ["PluginCommand", "load_command", "plugin_commands"]


class PluginCommand(NamedTuple):
    """A command that plugins offer; more than one entry point under a name is a mistake."""

    name: str
    offers: tuple[entry_points.EntryPoint, ...]
    taken: bool

    @property
    def summary(self) -> str:
        """Its line in the list of commands."""
        dists = " and ".join(str(offer.dist) for offer in self.offers)
        if self.taken:
            return f"From {dists}. Broken: eggycore has a command of this name."
        return f"From {dists}.{' Broken: two commands of one name.' if len(self.offers) > 1 else ''}"


class _BrokenCommand(click.Command):
    """Stands in for a command that cannot be imported; says so when it is called, with whatever arguments."""

    def __init__(self, offered: PluginCommand, error: BaseException | None) -> None:
        super().__init__(offered.name, add_help_option=False, help="Broken: it cannot be imported.")
        self.context_settings = {"ignore_unknown_options": True, "allow_extra_args": True}
        self._offered = offered
        self._error = error

    def invoke(self, ctx: click.Context) -> Any:
        from eggycore.cli.broken_command import BrokenCommand

        dists = tuple(str(offer.dist) for offer in self._offered.offers)
        ctx.meta[VERBOSE] = ctx.meta.get(VERBOSE, False) or "-v" in ctx.args
        raise BrokenCommand(self._offered.name, dists, self._error) from self._error


def plugin_commands() -> dict[str, PluginCommand]:
    """Every command that an installed distribution offers, by name."""
    from eggycore.cli.group import COMMANDS

    found: dict[str, tuple[entry_points.EntryPoint, ...]] = {}
    for offer in entry_points.find(entry_points.COMMANDS):
        found[offer.name] = (*found.get(offer.name, ()), offer)
    return {name: PluginCommand(name, offers, name in COMMANDS) for name, offers in found.items()}


def load_command(name: str) -> click.Command | None:
    """The command of this name, imported; a stand-in when that fails; None when nobody offers it."""
    offered = plugin_commands().get(name)
    if offered is None:
        return None
    if len(offered.offers) > 1:
        return _BrokenCommand(offered, None)
    value = offered.offers[0].value
    try:
        command = entry_points.load(value)
        if not isinstance(command, click.Command):
            raise TypeError(f"{value} is not a click command")
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- the border: a plugin may raise anything on import
        return _BrokenCommand(offered, error)
    return command
