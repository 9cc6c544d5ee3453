"""The files on which a configuration depends: those whose change is a reason to read it again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from eggycore.config.configuration import Configuration
from eggycore.config.core import Config
from eggycore.config.sources import Sources

__all__ = ["watched_paths"]


def watched_paths(configuration: Configuration, sources: Sources) -> list[Path]:
    """Files that are there or may come, and the folders in which more of them may come. For a worker thread.

    These are .env, the files of config/, those that a KEY_FILE names, and those whose content belongs to a value.

    Args:
        configuration: What is in force.
        sources: Where it was read.
    """
    folder = sources.folder or Path()
    paths = dict.fromkeys(_named(configuration, folder))
    if sources.folder is not None:
        core = configuration[Config]
        paths |= dict.fromkeys([folder / ".env", *_config_files(folder / core.config_dir, core.environment)])
    return list(paths)


def _config_files(folder: Path, environment: str) -> Iterator[Path]:
    from eggycore.config.documents import EXTENSIONS

    for place in (folder, *_modules(folder)):
        yield place
        for stem in ("base", environment):
            yield from (place / f"{stem}{extension}" for extension in EXTENSIONS)


def _modules(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:  # there is none, or not yet
        return []


def _named(configuration: Configuration, folder: Path) -> Iterator[Path]:
    for key, value in configuration.values.items():
        if value.found and value.found[0].file:
            yield folder / value.found[0].file
        if configuration.owned[key].variable.contents and isinstance(value.value, Path):
            yield value.value
