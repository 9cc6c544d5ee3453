"""JSON Schema of the files of configuration, for editors: completion, what a variable means, and what it can be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from eggycore.config.declared import FILE_SUFFIX, Declared
from eggycore.config.family import Family
from eggycore.config.schema_values import Schema, value_schema
from eggycore.config.variable import Variable

__all__ = ["json_schema", "module_names"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_NOT_IN_FILES = ("ENVIRONMENT", "CONFIG_DIR")
"""They say which files are read, so no file may set them."""

_MEMBER = "[A-Za-z][A-Za-z0-9_-]*"

_Known: TypeAlias = Mapping[str, "Schema | bool"]


@dataclass(frozen=True)
class _Definitions:
    """The schema of every name that a file may set."""

    known: dict[str, Schema | bool] = field(default_factory=dict)
    members: dict[Family, dict[str, Schema | bool]] = field(default_factory=dict)
    """For each family the variables of a member, by what follows the member's name."""


def json_schema(declared: Sequence[Declared], *, title: str, module: str = "") -> Schema:
    """The schema of a file of configuration: each variable under its name, and nested below its first word.

    Names that nobody declares are allowed: they may be those of a plugin that is not selected.

    Args:
        declared: The settings of the core, the plugins and the app.
        title: What is configured, for people.
        module: The folder below config/ that the file is in; "" for files in config/ itself.
    """
    definitions = _definitions(declared)
    prefix = _prefix(module)
    properties: Schema = {"$schema": {"type": "string", "description": "Where the schema of this file is."}}
    properties |= _properties(definitions.known, prefix, "") if module else _top(definitions)
    return {
        "$schema": _DIALECT,
        "title": title,
        "type": "object",
        "properties": properties,
        "patternProperties": _patterns(definitions, prefix, both_cases=not module),
        "$defs": {
            name: schema
            for name, schema in (*definitions.known.items(), *_of_members(definitions))
            if schema and name.startswith(prefix)
        },
    }


def module_names(declared: Sequence[Declared]) -> tuple[str, ...]:
    """The modules that files can be sorted by: the first word of every variable that has more than one."""
    words = (name.partition("_") for name, schema in _definitions(declared).known.items() if schema)
    return tuple(sorted({first.lower() for first, _, rest in words if rest}))


def _prefix(module: str) -> str:
    return f"{module.upper().replace('-', '_')}_" if module else ""


def _definitions(declared: Sequence[Declared]) -> _Definitions:
    definitions = _Definitions()
    for one in declared:
        family = one.settings.__family__
        for variable in one.settings.__variables__:
            for name in variable.names:
                definitions.known.setdefault(name, name not in _NOT_IN_FILES and value_schema(variable.under(name)))
                _add_file(definitions.known, name, variable)
            if family is not None:
                member = replace(variable, key=family.key("<name>", variable.key), also=())
                tail, tails = variable.key.removeprefix(family.prefix), definitions.members.setdefault(family, {})
                tails[tail] = value_schema(member, member_of=variable.key)
                _add_file(tails, tail, member)
    return definitions


def _add_file(schemas: dict[str, Schema | bool], name: str, variable: Variable) -> None:
    """What is a secret had better not stand in a file of configuration, so the name of its file is offered."""
    if variable.kind.secret:
        text = f"Path of a file that holds the value of {variable.key}."
        schemas.setdefault(name + FILE_SUFFIX, {"type": "string", "minLength": 1, "description": text})


def _of_members(definitions: _Definitions) -> Iterator[tuple[str, Schema | bool]]:
    for family, tails in definitions.members.items():
        yield from ((_member_name(family, tail), schema) for tail, schema in tails.items())


def _member_name(family: Family, tail: str) -> str:
    return f"{family.prefix}name_{tail}"  # no variable has small letters in its name


def _top(definitions: _Definitions) -> Schema:
    """The names as they are and in small letters, and a group for each first word."""
    known = definitions.known
    first_words = dict.fromkeys(name.partition("_")[0] for name in known if "_" in name)
    groups = {word.lower(): _group(definitions, f"{word}_") for word in first_words if word not in known}
    return groups | _properties(known, "", "") | {name: _reference(known, name, name) for name in known}


def _group(definitions: _Definitions, prefix: str) -> Schema:
    patterns = _patterns(definitions, prefix, both_cases=False)
    group: Schema = {"type": "object", "properties": _properties(definitions.known, prefix, "")}
    return group | ({"patternProperties": patterns} if patterns else {})


def _properties(known: _Known, prefix: str, home: str) -> Schema:
    """What can stand below a prefix: the rest of each name, and where that is the beginning of others, a group.

    Args:
        known: The schemas by name.
        prefix: What the names begin with.
        home: What their definitions begin with, beyond the name.
    """
    names = [name for name in known if name.startswith(prefix) and name != prefix]
    return {name.removeprefix(prefix).lower(): _place(known, name, home) for name in names}


def _place(known: _Known, name: str, home: str) -> object:
    reference = _reference(known, name, home + name)
    below = _properties(known, f"{name}_", home)
    return {"anyOf": [reference, {"type": "object", "properties": below}]} if below else reference


def _reference(known: _Known, name: str, definition: str) -> object:
    return {"$ref": f"#/$defs/{definition}"} if known[name] else False


def _patterns(definitions: _Definitions, prefix: str, *, both_cases: bool) -> Schema:
    """What can stand below a prefix for the members of families, whose names nobody knows beforehand."""
    known = [name.removeprefix(prefix) for name in definitions.known if name.startswith(prefix)]
    patterns: Schema = {}
    for family, tails in definitions.members.items():
        if not family.prefix.startswith(prefix):
            continue
        lead, home = family.prefix.removeprefix(prefix), _member_name(family, "")
        patterns[f"^{lead.lower()}{_MEMBER}$"] = {"properties": _properties(tails, "", home)}
        for tail in tails:
            general = (name for name in known if re.fullmatch(f"{lead}{_MEMBER}_{tail}", name))
            others = (*general, *(f".*_{other}" for other in tails if other.endswith(f"_{tail}")))
            for case in (str.lower, str.upper) if both_cases else (str.lower,):
                names = f"{case(lead)}{_MEMBER}_{case(tail)}"
                patterns[f"^{_none_of(map(case, others))}{names}$"] = _reference(tails, tail, home + tail)
    return patterns


def _none_of(shapes: Iterable[str]) -> str:
    alternatives = "|".join(shapes)
    return f"(?!(?:{alternatives})$)" if alternatives else ""
