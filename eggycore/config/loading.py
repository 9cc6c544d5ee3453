"""Reads the configuration of a process, and reports everything that is wrong with it at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from eggycore.config.checks import port_conflicts, settings_problems
from eggycore.config.configuration import Configuration, Value
from eggycore.config.core import Config
from eggycore.config.declared import Declared, Owned, blamed, names_of, own
from eggycore.config.facts import Facts
from eggycore.config.layers import read_layers
from eggycore.config.members import family_problems, members_of, strange_members
from eggycore.config.near import NearMiss, StrangeMember, UnknownKey, near_misses, unknown_keys
from eggycore.config.overlays import admitted, ignored
from eggycore.config.settings import Settings
from eggycore.config.sources import COMMAND_LINE, Found, Layers, Sources, Unreadable
from eggycore.config.variable import Variable
from eggycore.diagnostics import diagnose, did_you_mean, render
from eggycore.errors import ConfigError, ConfigProblem
from eggycore.types import Origin

if TYPE_CHECKING:
    from eggycore.config.parse import Parser

__all__ = ["NOT_SET", "examine", "load", "must_read_from_env", "read_from_env"]

S = TypeVar("S", bound=Settings)

NOT_SET = "required, and not set"
"""Why a variable without a default has no value."""

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
    configuration, problems = examine(declared, sources, given=given)
    if problems:
        reported = {problem.key for problem in problems}
        warnings = (str(one) for one in configuration.unknown if one.key not in reported)
        raise ConfigError(problems, warnings=tuple(warnings))
    return configuration


def examine(
    declared: Sequence[Declared], sources: Sources, *, given: Sequence[Settings] = ()
) -> tuple[Configuration, tuple[ConfigProblem, ...]]:
    """Like `load`, for those who go on when something is wrong: what could be read, and what is wrong with the rest.

    The configuration has no value for a variable that is missing or wrong, and no settings of its class.
    """
    classes = {one.settings for one in declared}
    undeclared = [Declared(type(one), _origin_of(type(one))) for one in given if type(one) not in classes]
    owned, problems = own([*declared, *undeclared])
    problems += family_problems(owned)
    layers, unreadable = read_layers(sources, core=next((one for one in given if isinstance(one, Config)), None))
    reading = _Reading(_facts(sources), {type(one): one for one in given})
    reading.read(owned.values(), layers.under(admitted(sources.overlays, owned)))
    members = members_of(owned, reading.values)
    owned |= members.owned
    reading.read(members.owned.values(), layers.under(admitted(sources.overlays, owned)))
    values, instances = reading.values, reading.instances(owned.values())
    problems += [*unreadable, *reading.told(layers), *members.problems, *_between(owned, values, instances)]
    problems += _tables(layers.under(admitted(sources.overlays, owned)), owned)
    problems += _unknown_overrides(sources.overrides, owned)
    slips = tuple(near_misses(layers.names(), names_of(owned)))
    slipped = {one.key for one in slips}
    strange = strange_members((pair for pair in layers.names() if pair[0] not in slipped), owned)
    unknown: list[NearMiss | StrangeMember | UnknownKey] = [*slips, *strange]
    told = {one.key for one in unknown}
    unknown += unknown_keys((pair for pair in layers.names_in_files() if pair[0] not in told), names_of(owned))
    configuration = Configuration(
        owned=owned,
        values=values,
        instances=instances,
        unknown=unknown,
        ignored=ignored(sources.overlays, owned),
    )
    return configuration, tuple(problems)


def _facts(sources: Sources) -> Facts:
    """What defaults may depend on; they see the ENVIRONMENT that is meant."""
    forced = {} if sources.environment is None else {"ENVIRONMENT": sources.environment}
    return Facts.of({**sources.environ, **forced} if forced else sources.environ)


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

    def __init__(self, facts: Facts, given: Mapping[type[Settings], Settings]) -> None:
        self.problems: list[ConfigProblem] = []
        self.values: dict[str, Value] = {}
        """The value of each variable that has a right one, by name."""
        self._facts = facts
        self._given = given

    def read(self, variables: Iterable[Owned], layers: Layers) -> None:
        """Find the values of these variables; those of classes before those of their members."""
        for one in variables:
            value = self._value(one, layers)
            if value is not None:
                self.values[one.variable.key] = _with_content(value) if one.variable.contents else value

    def told(self, layers: Layers) -> Iterator[ConfigProblem]:
        """The problems; a variable that is not set is one only when every file could be read."""
        return (problem for problem in self.problems if layers.whole or problem.reason != NOT_SET)

    def instances(self, owned: Iterable[Owned]) -> dict[type[Settings], Settings]:
        """The settings of which every field has a value."""
        instances: dict[type[Settings], Settings] = {}
        for settings in dict.fromkeys(one.settings for one in owned):
            variables = settings.__variables__
            if not all(variable.key in self.values for variable in variables):
                continue
            fields = {variable.attribute: self.values[variable.key].value for variable in variables}
            instances[settings] = self._given.get(settings) or settings(**fields)
        return instances

    @cached_property
    def _parser(self) -> Parser:
        from eggycore.config.parse import Parser  # imports environs, which nobody needs who sets nothing

        return Parser()

    def _value(self, one: Owned, layers: Layers) -> Value | None:
        try:
            found = layers.find(one.variable.names)
            if one.settings in self._given:
                return self._right(
                    one, Value(getattr(self._given[one.settings], one.variable.attribute), "code", found)
                )
            if one.general:
                general = self.values.get(one.general)
                if not found:
                    return general and _inherited(one, general)
                found += general.found if general is not None else ()
            if not found:
                return self._default(one)
            return self._parsed(one, found, layers.text_of(found[0]))
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
                reason=NOT_SET,
                owner=one.owner,
                action="Set it in the environment, in .env or with --set.",
            )
        )
        return None

    def _parsed(self, one: Owned, found: tuple[Found, ...], text: str) -> Value | None:
        variable = one.variable.under(found[0].name)
        try:
            if found[0].listed and not variable.kind.many:
                raise ValueError("a list, where one value is wanted")
            value = self._parser.parse(variable, text)
        except ValueError as error:
            self._refuse(variable, str(error), text, found[0].origin_of(variable.key), one.owner)
            return None
        return self._right(one, Value(value, found[0].origin_of(one.variable.key), found))

    def _right(self, one: Owned, value: Value) -> Value | None:
        reason = one.variable.wrong(value.value)
        if reason is None:
            return value
        variable, origin = one.variable, value.origin
        if value.found and origin == value.found[0].origin_of(variable.key):
            variable = variable.under(value.found[0].name)
            origin = value.found[0].origin_of(variable.key)
        self._refuse(variable, reason, variable.shown(value.value), origin, one.owner)
        return None

    def _refuse(self, variable: Variable, reason: str, text: str, origin: str, owner: str) -> None:
        self.problems.append(
            ConfigProblem(
                key=variable.key,
                reason=reason,
                value=None if variable.kind.secret or not text else _shortened(variable.shown_text(text)),
                origin=origin,
                owner=owner,
                action=_action(variable, text),
            )
        )


def _inherited(one: Owned, general: Value) -> Value:
    """The value of the class's variable, as that of a member which sets none."""
    if general.origin in ("default", "code"):
        return replace(general, origin="default" if general.origin == "default" else f"code, as {one.general}")
    return replace(general, origin=general.found[0].origin_of(one.variable.key))


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


def _tables(layers: Layers, owned: Mapping[str, Owned]) -> Iterator[ConfigProblem]:
    """A problem for each variable that is written as a table, in which no variable is."""
    known = {name: one for one in owned.values() for name in one.variable.names}
    for layer in layers.layers:
        for name in layer.tables:
            if name in known and not any(key.startswith(f"{name}_") and key in known for key in layer.values):
                one = known[name]
                yield ConfigProblem(
                    key=name,
                    reason="a table, where one value is wanted"
                    if not one.variable.kind.many
                    else "a table, where a list is wanted",
                    origin=layer.tables[name],
                    owner=one.owner,
                    action=f"Set it to {one.variable.expected}.",
                )


def _unknown_overrides(overrides: Mapping[str, str], owned: Mapping[str, Owned]) -> Iterator[ConfigProblem]:
    known = names_of(owned)
    for key in overrides:
        if key not in known:
            yield ConfigProblem(
                key=key,
                reason="not a variable of eggycore, of the app or of a selected plugin",
                origin=COMMAND_LINE,
                action=f"Correct the name, or select the plugin that has it.{did_you_mean(key.upper(), owned)}",
            )


def _with_content(value: Value) -> Value:
    """The value with a digest of the file that it names, so that another content counts as another value."""
    if not isinstance(value.value, Path):
        return value
    from eggycore.config.contents import content_digest  # loads OpenSSL; few processes name such a file

    return replace(value, content=content_digest(value.value))
