"""Configuration: settings declarations, sources, current values with their origins, reloads.

Importing this package reads nothing and does not import environs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eggycore.config.configuration import Configuration, SettingsMissing, UnknownVariable
from eggycore.config.core import Config
from eggycore.config.current import NoCurrentConfig, get, set
from eggycore.config.declared import DeclarationFailed, Declared
from eggycore.config.facts import Facts
from eggycore.config.kinds import Duration, Size, Url
from eggycore.config.loading import load, must_read_from_env, read_from_env
from eggycore.config.near import NearMiss, UnknownKey
from eggycore.config.overlays import IgnoredOverlayKey
from eggycore.config.secret import Secret
from eggycore.config.settings import Settings, env
from eggycore.config.sources import Layer, Sources
from eggycore.config.variable import Other

if TYPE_CHECKING:
    from eggycore.config.explain import Candidate, Entry, Explanation
    from eggycore.config.reference import env_example, reference_markdown, replace_reference
    from eggycore.config.reload import Listener, Reloader, ReloadResult

_LATER = {
    "Candidate": "explain",
    "Entry": "explain",
    "Explanation": "explain",
    "Listener": "reload",
    "ReloadResult": "reload",
    "Reloader": "reload",
    "env_example": "reference",
    "reference_markdown": "reference",
    "replace_reference": "reference",
}
"""The module of each name that the start of a process can do without."""

__all__ = [
    "Candidate",
    "Config",
    "Configuration",
    "DeclarationFailed",
    "Declared",
    "Duration",
    "Entry",
    "Explanation",
    "Facts",
    "IgnoredOverlayKey",
    "Layer",
    "Listener",
    "NearMiss",
    "NoCurrentConfig",
    "Other",
    "ReloadResult",
    "Reloader",
    "Secret",
    "Settings",
    "SettingsMissing",
    "Size",
    "Sources",
    "UnknownKey",
    "UnknownVariable",
    "Url",
    "env",
    "env_example",
    "get",
    "load",
    "must_read_from_env",
    "read_from_env",
    "reference_markdown",
    "replace_reference",
    "set",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
