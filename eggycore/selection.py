"""Which plugins are meant: the flag, then the environment, then pyproject.toml."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eggycore.project import Project

__all__ = ["Selection"]


@dataclass(frozen=True)
class Selection:
    """Plugin names, chosen before anything is imported.

    Args:
        names: Exactly these, in this order; None means all that are installed, by name.
        exclude: Left out whatever `names` says.
        optional: Skipped and shown as degraded when they are broken; any other broken plugin stops the start.
        source: What chose `names`, for messages.
    """

    names: tuple[str, ...] | None = None
    exclude: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    source: str = "--plugins"

    @classmethod
    def read(cls, flag: str | None, exclude: Iterable[str], environ: Mapping[str, str], project: Project) -> Selection:
        """The selection of a command line; the first of flag, EGGYCORE_PLUGINS and pyproject.toml that is given wins.

        Args:
            flag: Value of `--plugins`: names with commas between; "" selects none, None says nothing.
            exclude: Values of `-x`, each one name or several with commas between.
            environ: The process environment: EGGYCORE_PLUGINS (read like the flag), EGGYCORE_OPTIONAL_PLUGINS.
            project: The project of the current folder.
        """
        names, source = project.plugins, "[tool.eggycore] plugins"
        if (variable := environ.get("EGGYCORE_PLUGINS")) is not None:
            names, source = _split(variable), "EGGYCORE_PLUGINS"
        if flag is not None:
            names, source = _split(flag), "--plugins"
        optional = environ.get("EGGYCORE_OPTIONAL_PLUGINS")
        return cls(
            names=None if names is None else tuple(dict.fromkeys(names)),
            exclude=frozenset(name for value in exclude for name in _split(value)),
            optional=frozenset(project.optional if optional is None else _split(optional)),
            source=source,
        )


def _split(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))
