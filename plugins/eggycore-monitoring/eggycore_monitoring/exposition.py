"""Writes a registry as text: which format a scraper wants, and the bytes in that format."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["Exposition", "TextFormat", "expose", "wants_gzip", "wanted_format"]

TextFormat = Literal["prometheus", "openmetrics"]

_CONTENT_TYPES: dict[TextFormat, str] = {
    "prometheus": "text/plain; version=0.0.4; charset=utf-8",
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
}


class Collects(Protocol):
    """A registry, as far as it is needed here."""

    def collect(self) -> Iterable[Metric]:
        """Every metric family."""


@dataclass(frozen=True)
class Exposition:
    """Metrics as they are sent.

    Args:
        content_type: What the body is.
        body: The text, compressed or not.
    """

    content_type: str
    body: bytes


def expose(registry: Collects, text_format: TextFormat, *, compress: bool) -> Exposition:
    """Collect and write every metric. Blocks for as long as the slowest collector: call it in a thread.

    A family whose name came up before is left out: a name that comes twice makes a scraper refuse everything.
    """
    from prometheus_client import exposition
    from prometheus_client.openmetrics import exposition as openmetrics

    write = openmetrics.generate_latest if text_format == "openmetrics" else exposition.generate_latest
    text = write(_FirstOfEachName(registry))
    return Exposition(_CONTENT_TYPES[text_format], gzip.compress(text, compresslevel=5) if compress else text)


class _FirstOfEachName:
    def __init__(self, registry: Collects) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        seen: set[str] = set()
        for metric in self._registry.collect():
            if metric.name not in seen:
                seen.add(metric.name)
                yield metric


def wanted_format(accept: str) -> TextFormat:
    """The format that an Accept header asks for: OpenMetrics where it is liked at least as much as plain text."""
    liking = dict.fromkeys(_CONTENT_TYPES, 0.0)
    for choice in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in choice.split(";"))
        by_name = dict(parameter.partition("=")[::2] for parameter in parameters)
        quality = _quality(by_name.get("q", "1"))
        if media_type == "application/openmetrics-text" and by_name.get("version", "1.0.0").startswith("1."):
            liking["openmetrics"] = max(liking["openmetrics"], quality)
        elif media_type in ("text/plain", "text/*", "*/*"):
            liking["prometheus"] = max(liking["prometheus"], quality)
    return (
        "openmetrics" if liking["openmetrics"] > 0 and liking["openmetrics"] >= liking["prometheus"] else "prometheus"
    )


def wants_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header names gzip and does not refuse it."""
    for choice in accept_encoding.split(","):
        coding, *parameters = (part.strip().lower() for part in choice.split(";"))
        if coding == "gzip":
            return all(_quality(parameter[2:]) > 0 for parameter in parameters if parameter.startswith("q="))
    return False


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
