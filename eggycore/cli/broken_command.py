"""The error of a plugin's command that cannot be used."""

from __future__ import annotations

from dataclasses import dataclass

from eggycore.diagnostics import Diagnosis, diagnose, raised_at, summary
from eggycore.errors import EggycoreError

__all__ = ["BrokenCommand"]


@dataclass(eq=False)
class BrokenCommand(EggycoreError):
    """A command cannot be imported, or is offered twice.

    Args:
        name: The command's name.
        dists: The distributions that offer it, with versions.
        cause: What its import raised; None when it is offered twice.
    """

    name: str
    dists: tuple[str, ...]
    cause: BaseException | None


@diagnose.register
def _(error: BrokenCommand) -> Diagnosis:
    if error.cause is None:
        return Diagnosis(
            description=f"The command {error.name!r} is offered by {' and '.join(error.dists)}.",
            cause="Nothing says which of them is meant.",
            action=f"Uninstall all but one, for example: pip uninstall {error.dists[-1].split()[0]}",
        )
    place = raised_at(error.cause)
    return Diagnosis(
        description=f"The command {error.name!r} of {error.dists[0]} cannot be imported.",
        cause=f"{summary(error.cause)}{f' ({place})' if place else ''}.",
        action=f"Repair or upgrade {error.dists[0].split()[0]}; every other command works.",
    )
