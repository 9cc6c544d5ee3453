"""What the log is set up with, resolved: outputs with their levels, rotation, flush mode, sampling."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from eggycore.log.backups import Rotation
from eggycore.log.levels import DEBUG, number_of
from eggycore.log.sampling import Sampling
from eggycore.log.sink import Flush

__all__ = [
    "Destination",
    "FileOutput",
    "Format",
    "Options",
    "StreamOutput",
    "default_options",
    "place_fields",
    "read_output",
]

Format = Literal["json", "console"]
Destination = Literal["stdout", "stderr", "file"]

_DESTINATIONS: dict[str, Destination] = {"stdout": "stdout", "stderr": "stderr", "file": "file"}


@dataclass(frozen=True, kw_only=True)
class StreamOutput:
    """Lines at `level` and above go to stdout or stderr, in the format that was asked for."""

    stream: Literal["stdout", "stderr"] = "stdout"
    level: int = DEBUG


@dataclass(frozen=True, kw_only=True)
class FileOutput:
    """Lines at `level` and above go to a file, always as JSON. `setting` is the variable that names the file."""

    path: Path
    setting: str = "LOG_FILE"
    level: int = DEBUG
    rotation: Rotation = field(default_factory=Rotation)


@dataclass(frozen=True, kw_only=True)
class Options:
    """The log, apart from its level and format.

    Args:
        outputs: Where lines go; each has a level of its own.
        flush: "batch" writes together what came in 40 ms, "line" writes each line before the call returns.
        sampling: How lines below warning are thinned out; None keeps all.
        place: Fields that say where the process runs: pod, node, namespace.
    """

    outputs: tuple[StreamOutput | FileOutput, ...] = (StreamOutput(),)
    flush: Flush = "batch"
    sampling: Sampling | None = None
    place: Mapping[str, str] = field(default_factory=dict)


def place_fields(pod: str, node: str, namespace: str) -> dict[str, str]:
    """The fields for what the downward API gave; none for what it did not."""
    return {name: value for name, value in (("pod", pod), ("node", node), ("namespace", namespace)) if value}


def default_options(environ: Mapping[str, str] = os.environ) -> Options:
    """stdout, in batches, with the pod, node and namespace of the environment."""
    names = ("POD_NAME", "NODE_NAME", "POD_NAMESPACE")
    return Options(place=place_fields(*(environ.get(name, "") for name in names)))


def read_output(text: str) -> tuple[Destination, int]:
    """Read one entry of LOG_OUTPUT: "stdout", or "stdout:warn" for a level of its own.

    Raises:
        ValueError: It is neither; the text says what is expected.
    """
    name, _, level = text.partition(":")
    destination = _DESTINATIONS.get(name.strip().lower())
    if destination is None:
        raise ValueError(
            f"{text!r} is not one of {', '.join(_DESTINATIONS)}, with or without a level as in stdout:warn"
        )
    return destination, number_of(level.strip()) if level else DEBUG
