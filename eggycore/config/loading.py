"""Reads the configuration of a process, and reports everything that is wrong with it at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from eggycore.config.checks import port_conflicts, settings_problems
from eggycore.config.configuration import Configuration, Value
from eggycore.config.declared import FILE_SUFFIX, Declared, Owned, blamed, own
from eggycore.config.facts import Facts
from eggycore.config.near import near_misses
from eggycore.config.settings import Settings
from eggycore.config.sources import COMMAND_LINE, Found, Layers, Sources, Unreadable, read_layers
from eggycore.config.variable import Variable
from eggycore.diagnostics import diagnose, did_you_mean, render
from eggycore.errors import ConfigError, ConfigProblem
from eggycore.types import Origin

if TYPE_CHECKING:
    from eggycore.config.parse import Parser

__all__ = ["load", "must_read_from_env", "read_from_env"]

S = TypeVar("S", bound=Settings)

_SHOWN_CHARACTERS = 80
"""How much of a wrong value a report shows."""


def load(declared: Sequence[Declared], sources: Sources, *, given: Sequence[Settings] = ()) -> Configuration:
    """Read, parse and check the configuration.

    Args:
        declared: The settings of the core, the plugins and the app.
        sources: Where values come from.
        given: Settings made in code; each wins as a whole over the sources. Their classes need not be declared.

    Raises:
        ConfigError: Something is wrong; it holds every problem of every owner.
    """
    classes = {one.settings for one in declared}
    undeclared = [Declared(type(one), _origin_of(type(one))) for one in given if type(one) not in classes]
    owned, problems = own([*declared, *undeclared])
    layers, unreadable = read_layers(sources)
    reading = _Reading(owned, layers, Facts.of(sources.environ), {type(one): one for one in given})
    values = reading.values()
    instances = reading.instances(values)
    problems += [*unreadable, *reading.problems, *_between(owned, values, instances)]
    problems += _unknown_overrides(sources.overrides, owned)
    if problems:
        raise ConfigError(tuple(problems))
    unknown = near_misses(layers.names(), _names(owned))
    return Configuration(owned=owned, values=values, instances=instances, unknown=unknown)


def read_from_env(cfg_type: type[S], environ: Mapping[str, str] | None = None) -> S:
    """One class of settings, read without a runtime.

    Args:
        cfg_type: The class, for example `Config`.
        environ: Where to read; None means the process environment and, below it, .env of the current folder.

    Raises:
        ConfigError: Something is wrong; it holds every problem.
    """
    sources = Sources(os.environ, Path.cwd()) if environ is None else Sources(environ, None)
    return load([Declared(cfg_type, _origin_of(cfg_type))], sources)[cfg_type]


def must_read_from_env(cfg_type: type[S]) -> S:
    """One class of settings, or the end of the process: the report goes to stderr, the exit code is 2."""
    try:
        return read_from_env(cfg_type)
    except ConfigError as error:
        print(render(diagnose(error)), file=sys.stderr)  # noqa: T201  (there is no log yet)
        raise SystemExit(error.exit_code) from None


def _origin_of(settings: type[Settings]) -> Origin:
    kind: Literal["app", "core"] = "core" if settings.__module__.startswith("eggycore.") else "app"
    return Origin(settings.__module__, kind=kind)


class _Reading:
    """One pass over all variables; it collects problems instead of stopping at the first."""

    def __init__(
        self, owned: Mapping[str, Owned], layers: Layers, facts: Facts, given: Mapping[type[Settings], Settings]
    ) -> None:
        self.problems: list[ConfigProblem] = []
        self._owned = owned
        self._layers = layers
        self._facts = facts
        self._given = given

    def values(self) -> dict[str, Value]:
        """The value of each variable that has a right one."""
        values = ((key, self._value(one)) for key, one in self._owned.items())
        return {key: value for key, value in values if value is not None}

    def instances(self, values: Mapping[str, Value]) -> dict[type[Settings], Settings]:
        """The settings of which every field has a value."""
        instances: dict[type[Settings], Settings] = {}
        for settings in dict.fromkeys(one.settings for one in self._owned.values()):
            variables = settings.__variables__
            if not all(variable.key in values for variable in variables):
                continue
            fields = {variable.attribute: values[variable.key].value for variable in variables}
            instances[settings] = self._given.get(settings) or settings(**fields)
        return instances

    @cached_property
    def _parser(self) -> Parser:
        from eggycore.config.parse import Parser  # imports environs, which nobody needs who sets nothing

        return Parser()

    def _value(self, one: Owned) -> Value | None:
        try:
            found = self._layers.find(one.variable.key)
            if one.settings in self._given:
                return self._right(
                    one, Value(getattr(self._given[one.settings], one.variable.attribute), "code", found)
                )
            if not found:
                return self._default(one)
            return self._parsed(one, found, self._layers.text_of(one.variable.key, found[0]))
        except Unreadable as error:
            self.problems.append(replace(error.problem, owner=one.owner))
            return None

    def _default(self, one: Owned) -> Value | None:
        if not one.variable.required:
            with blamed(one.owner, f"the default of {one.variable.key}"):
                default = one.variable.default_for(self._facts)
            return self._right(one, Value(default, "default"))
        self.problems.append(
            ConfigProblem(
                key=one.variable.key,
                reason="required, and not set",
                owner=one.owner,
                action="Set it in the environment, in .env or with --set.",
            )
        )
        return None

    def _parsed(self, one: Owned, found: tuple[Found, ...], text: str) -> Value | None:
        origin = found[0].origin_of(one.variable.key)
        try:
            value = self._parser.parse(one.variable, text)
        except ValueError as error:
            self._refuse(one.variable, str(error), text, origin, one.owner)
            return None
        return self._right(one, Value(value, origin, found))

    def _right(self, one: Owned, value: Value) -> Value | None:
        reason = one.variable.wrong(value.value)
        if reason is None:
            return value
        self._refuse(one.variable, reason, one.variable.shown(value.value), value.origin, one.owner)
        return None

    def _refuse(self, variable: Variable, reason: str, text: str, origin: str, owner: str) -> None:
        self.problems.append(
            ConfigProblem(
                key=variable.key,
                reason=reason,
                value=None if variable.kind.secret or not text else _shortened(text),
                origin=origin,
                owner=owner,
                action=_action(variable, text),
            )
        )


def _action(variable: Variable, text: str) -> str:
    if variable.kind.base == "integer" and text.startswith(("tcp://", "udp://")):
        return "Kubernetes sets it for a Service of that name: put enableServiceLinks: false into the pod's spec."
    if not text.strip():
        return f"Set it to {variable.expected}{'' if variable.required else ', or remove it for the default'}."
    near = "" if variable.kind.secret else did_you_mean(text.lower(), variable.kind.choices)
    return f"Set it to {variable.expected}.{near}"


def _shortened(text: str) -> str:
    printable = text.encode(errors="backslashreplace").decode()
    return printable if len(printable) <= _SHOWN_CHARACTERS else f"{printable[:_SHOWN_CHARACTERS]}..."


def _between(
    owned: Mapping[str, Owned], values: Mapping[str, Value], instances: Mapping[type[Settings], Settings]
) -> Iterator[ConfigProblem]:
    yield from port_conflicts(owned.values(), values)
    yield from settings_problems(instances, owned, values)


def _names(owned: Mapping[str, Owned]) -> frozenset[str]:
    return frozenset(owned) | {key + FILE_SUFFIX for key in owned}


def _unknown_overrides(overrides: Mapping[str, str], owned: Mapping[str, Owned]) -> Iterator[ConfigProblem]:
    known = _names(owned)
    for key in overrides:
        if key not in known:
            yield ConfigProblem(
                key=key,
                reason="not a variable of eggycore, of the app or of a selected plugin",
                origin=COMMAND_LINE,
                action=f"Correct the name, or select the plugin that has it.{did_you_mean(key.upper(), owned)}",
            )
