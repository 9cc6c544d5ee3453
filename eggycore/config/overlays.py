"""What may be laid over the environment while the process runs: reloadable variables that are no secrets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from eggycore.config.declared import FILE_SUFFIX, Owned
from eggycore.config.sources import Layer
from eggycore.diagnostics import did_you_mean

__all__ = ["IgnoredOverlayKey", "admitted", "ignored"]


@dataclass(frozen=True, kw_only=True)
class IgnoredOverlayKey:
    """A key of an overlay that no overlay can set. Its value is not kept.

    `str()` is a sentence for the log.
    """

    key: str
    origin: str
    reason: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.key}, set in {self.origin}, is ignored: {self.reason}.{self.hint}"


def admitted(overlays: Iterable[Layer], owned: Mapping[str, Owned]) -> tuple[Layer, ...]:
    """The overlays without the keys that they cannot set, the strongest first.

    Whoever may edit a ConfigMap must not be able to repoint the database.

    Args:
        overlays: What is laid over the environment; a later one wins.
        owned: The variables that there are.
    """
    names = {name for one in owned.values() if _why_not(one) is None for name in one.variable.names}
    return tuple(
        replace(
            layer,
            values={key: text for key, text in layer.values.items() if key in names},
            tables={key: origin for key, origin in layer.tables.items() if key in names},
        )
        for layer in reversed(tuple(overlays))
    )


def ignored(overlays: Iterable[Layer], owned: Mapping[str, Owned]) -> Iterator[IgnoredOverlayKey]:
    """The keys that `admitted` leaves out, each with the reason."""
    owners = {name: one for one in owned.values() for name in one.variable.names}
    for layer in overlays:
        for key in layer.values:
            one = owners.get(key)
            hint = ""
            if one is not None:
                reason = _why_not(one)
            elif owners.get(key.removesuffix(FILE_SUFFIX)) is not None:
                reason = "an overlay cannot name files"
            else:
                reason = "nobody declares it"
                hint = did_you_mean(key.upper(), sorted(name for name, own in owners.items() if _why_not(own) is None))
            if reason is not None:
                yield IgnoredOverlayKey(key=key, origin=layer.origin_of(key), reason=reason, hint=hint)


def _why_not(one: Owned) -> str | None:
    """Why no overlay can set the variable; None when one can."""
    if one.variable.kind.secret:
        return "a secret cannot come from an overlay"
    return None if one.variable.reload else "it only changes with a restart"
