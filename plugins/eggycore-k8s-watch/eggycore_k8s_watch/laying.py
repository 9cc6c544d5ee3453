"""Lays layers over the environment of a runtime, and remembers what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from eggycore.diagnostics import diagnose
from eggycore.errors import ConfigError, ConfigRefused

if TYPE_CHECKING:
    from eggycore.config import ReloadResult
    from eggycore.config.sources import Layer
    from eggycore.runtime import Runtime

__all__ = ["Laying"]


class Laying:
    """What one source lays over the environment. Belongs to one task.

    Args:
        runtime: Whose environment.
        source: The source's name, unique in the runtime.
    """

    def __init__(self, runtime: Runtime, source: str) -> None:
        self._runtime = runtime
        self._source = source
        self._laid: tuple[Layer, ...] = ()
        self._result: ReloadResult | None = None

    async def lay(self, layers: Sequence[Layer]) -> None:
        """Lay these in the place of what was laid before; the runtime logs what comes of it."""
        if tuple(layers) == self._laid:
            return  # only an annotation changed, or something that counts elsewhere
        self._laid = tuple(layers)
        self._result = await self._runtime.overlay(self._source, self._laid)

    @property
    def refusal(self) -> str:
        """Why the last layers were not taken over, in a sentence without values of secrets; "" when they were."""
        result, last = self._result, self._runtime.reload_status.last
        if result is None or result.error is None:
            return ""
        if last is None or last.error is None:
            self._result = None  # every reload reads all layers: one that goes well takes these over, whatever comes
            return ""
        return f"not taken over ({result.outcome}): {_why(result.error).rstrip('.')}"


def _why(error: Exception) -> str:
    """In a line. Of what a plugin raised the type is told and not the text, which may hold a secret."""
    told = diagnose(error)
    if isinstance(error, ConfigError) and told.parts:
        return told.parts[0].description
    if isinstance(error, ConfigRefused):
        return told.cause
    from eggycore.config.status import failure_dict  # here: only whoever has something to say pays for it

    found = failure_dict(error)
    return " ".join(part for part in (str(found["reason"]), str(found["cause"])) if part and "\n" not in part)
