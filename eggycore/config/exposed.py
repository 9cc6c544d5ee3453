"""Secrets that stand in files of configuration, where everybody reads them who reads the repository."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from eggycore.config.configuration import Configuration
from eggycore.config.declared import FILE_SUFFIX
from eggycore.config.differences import file_stem
from eggycore.config.sources import Found

__all__ = ["ExposedSecret", "exposed_secrets"]

_FOR_LAPTOPS = "development"
"""The environment whose secrets may stand in a file: they open nothing that matters."""

_URL_WITHOUT_SECRET = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^@?]*")


@dataclass(frozen=True, kw_only=True)
class ExposedSecret:
    """A secret that a file of configuration says. Its value is not kept.

    `str()` is a sentence for people.
    """

    key: str
    origin: str

    def __str__(self) -> str:
        return (
            f"{self.key}, set in {self.origin}, is a secret: everybody knows it who can read the file. "
            f"Set {self.key}{FILE_SUFFIX} to the path of a mounted file, or write ${{{self.key}}} there."
        )


def exposed_secrets(configuration: Configuration) -> Iterator[ExposedSecret]:
    """Every secret that a file of configuration for more than development says, whether it wins or not.

    Texts that refer to other variables are none, nor are URLs without user, password and options.
    """
    seen = set()
    for key, value in configuration.values.items():
        if configuration.owned[key].variable.kind.secret:
            for found in value.found:
                if found.origin not in seen and _is_exposed(found):
                    seen.add(found.origin)
                    yield ExposedSecret(key=found.name, origin=found.origin)


def _is_exposed(found: Found) -> bool:
    if file_stem(found.origin) in (None, _FOR_LAPTOPS) or found.refers:
        return False
    return bool(found.text) and not _URL_WITHOUT_SECRET.fullmatch(found.text or "")
