"""What the declaration of a metric must look like, so that every exporter and `promtool check metrics` accept it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import EggycoreError

__all__ = ["Kind", "MetricError", "checked_bounds", "checked_labels"]

Kind = Literal["counter", "gauge", "histogram"]

_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_LABEL = re.compile(r"(?!__)[a-z_][a-z0-9_]*")
_RESERVED_SUFFIXES = ("_bucket", "_sum", "_count", "_created")


@dataclass(eq=False)
class MetricError(EggycoreError):
    """An instrument was declared or used wrongly.

    Args:
        name: Name of the metric.
        reason: What is wrong with it, as the rest of a sentence.
        action: What to do.
    """

    name: str
    reason: str
    action: str


@diagnose.register
def _(error: MetricError) -> Diagnosis:
    return Diagnosis(description=f"Metric {error.name!r} {error.reason}.", action=error.action)


def checked_labels(name: str, doc: str, labels: Sequence[str], kind: Kind) -> tuple[str, ...]:
    """The label names of a declaration, as a tuple.

    Raises:
        MetricError: Name, text or labels break a rule of the Prometheus and OpenMetrics formats.
    """
    if not _NAME.fullmatch(name):
        raise MetricError(name, "has a name that is not allowed", "Use lower-case letters, digits and underscores.")
    if kind == "counter" and not name.endswith("_total"):
        raise MetricError(name, "is a counter without the ending _total", f"Name it {name + '_total'!r}.")
    if kind != "counter" and name.endswith(("_total", *_RESERVED_SUFFIXES)):
        ending = name.rpartition("_")[2]
        raise MetricError(name, f"is a {kind} with the reserved ending _{ending}", "Leave the ending away.")
    if not doc.strip():
        raise MetricError(name, "has no text", "Say in one sentence what it measures, with its unit.")
    for label in labels:
        if not _LABEL.fullmatch(label) or (kind == "histogram" and label == "le"):
            raise MetricError(name, f"has a label {label!r} that is not allowed", "Use a name like 'route'.")
    if len(set(labels)) != len(labels):
        raise MetricError(name, "names a label twice", "Name each label once.")
    return tuple(labels)


def checked_bounds(name: str, buckets: Sequence[float]) -> tuple[float, ...]:
    """The finite upper bounds of a histogram, as a tuple.

    Raises:
        MetricError: There are none, or they do not ascend.
    """
    bounds = tuple(float(bound) for bound in buckets if not math.isinf(bound))
    if not bounds or any(low >= high for low, high in pairwise(bounds)):
        raise MetricError(name, f"has buckets that do not ascend: {tuple(buckets)}", "Sort them and name each once.")
    return bounds
