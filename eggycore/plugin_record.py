"""One plugin as it is reported: who it is, its state and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from eggycore.entry_points import EntryPoint
from eggycore.types import Origin

__all__ = ["PluginRecord", "PluginState"]

PluginState = Literal["active", "not selected", "broken"]


@dataclass(eq=False, kw_only=True)
class PluginRecord:
    """One plugin (or the app) and how it fares.

    Args:
        origin: Name, distribution and version.
        state: "active" also before `Plugins.load`, when it is merely selected.
        reason: Why it is broken, in one or two sentences.
        required: Whether a broken one stops the start.
        module: What was registered: a module, or an object with hookimpls.
        hooks: The hooks it implements.
        timings: Seconds spent, by step: "import" and the names of hooks.
        entries: The entry points that advertise it: one, none when it was given as an object, several by mistake.
    """

    origin: Origin
    state: PluginState = "active"
    reason: str = ""
    required: bool = True
    module: object | None = None
    hooks: tuple[str, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)
    entries: tuple[EntryPoint, ...] = ()

    @property
    def name(self) -> str:
        """The plugin's name, or the app's module."""
        return self.origin.name

    @property
    def dist(self) -> str:
        """Name of its distribution, "" when it has none."""
        return self.origin.dist

    @property
    def version(self) -> str:
        """Version of its distribution."""
        return self.origin.version

    @property
    def value(self) -> str:
        """What its entry point names: "module" or "module:object"; "" when it was given as an object."""
        return self.entries[0].value if self.entries else ""

    @property
    def import_seconds(self) -> float:
        """Seconds that its import took; 0.0 when it was not imported."""
        return self.timings.get("import", 0.0)
