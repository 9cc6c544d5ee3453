"""The configuration as people may see it: every variable with its value, its origin, and what it won over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from eggycore.config.configuration import Configuration

__all__ = ["Candidate", "Entry", "Explanation", "entry_of", "explanation_of"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A variable and its value, as people may see them.

    Args:
        key: Name of the variable.
        shown: The value; masked when it is a secret.
        origin: Where it was set: "environment", ".env line 3", "--set", "code", "default".
        owner: Who declared it: "eggycore", "plugin db (eggycore-db 0.1.0)".
        doc: What it means, in a sentence.
        default_shown: The default in words, "required" when there is none.
        reloadable: Whether a reload changes it in the running process.
        contents: Whether a reload takes over what the file holds that it names.
        secret: Whether the value is masked.
        type_name: What it can be, in words: "whole number", "secret text".
        unit: What a plain number counts, None when nothing in particular.
        also: Other names under which it may be set.
        inherits: The variable of the class whose value a member of a family has when its own is not set; else "".
    """

    key: str
    shown: str
    origin: str
    owner: str
    doc: str
    default_shown: str
    reloadable: bool
    secret: bool
    type_name: str
    unit: str | None
    also: tuple[str, ...] = ()
    inherits: str = ""
    contents: bool = False


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What one source says about a variable; `chosen` marks the one that won."""

    origin: str
    shown: str
    chosen: bool


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A variable, and everything that was said about it: the winner first, the default last."""

    entry: Entry
    candidates: tuple[Candidate, ...]


def entry_of(configuration: Configuration, key: str) -> Entry:
    """The entry of a declared variable."""
    owned, value = configuration.owned[key], configuration.values[key]
    variable = owned.variable
    return Entry(
        key=key,
        shown=variable.shown(value.value),
        origin=value.origin,
        owner=owned.owner,
        doc=variable.doc,
        default_shown=variable.default_shown,
        reloadable=variable.reload,
        secret=variable.kind.secret,
        type_name=variable.type_name,
        unit=variable.unit,
        also=variable.names[1:],
        inherits=owned.general,
        contents=variable.contents,
    )


def explanation_of(configuration: Configuration, key: str) -> Explanation:
    """The explanation of a declared variable."""
    return Explanation(entry=entry_of(configuration, key), candidates=tuple(_candidates(configuration, key)))


def _candidates(configuration: Configuration, key: str) -> Iterable[Candidate]:
    variable, value = configuration.owned[key].variable, configuration.values[key]
    origins = [found.origin_of(key) for found in value.found]
    if value.origin not in (*origins, "default"):
        yield Candidate(origin=value.origin, shown=variable.shown(value.value), chosen=True)
    for origin, found in zip(origins, value.found, strict=True):
        chosen = origin == value.origin
        said = variable.shown_text("(in the file)" if found.text is None else found.text)
        yield Candidate(origin=origin, shown=variable.shown(value.value) if chosen else said, chosen=chosen)
    yield Candidate(origin="default", shown=variable.default_shown, chosen=value.origin == "default")
