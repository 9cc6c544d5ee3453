"""How settings are declared: a class whose fields are variables of the environment."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, dataclass_transform, get_type_hints

from eggycore.config.facts import Facts
from eggycore.config.family import Family
from eggycore.config.kinds import Kind, kind_of
from eggycore.config.units import SIZE_UNITS, TIME_UNITS
from eggycore.config.variable import REQUIRED, Listens, Other, Variable
from eggycore.errors import ConfigProblem

__all__ = ["Settings", "env"]

_KEY = re.compile(r"[A-Z][A-Z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class _Declaration:
    """What `env` was given, until its class is made and the annotation is known."""

    key: str
    options: dict[str, Any]
    choices: tuple[str, ...]


def env(
    key: str,
    *,
    default: object = REQUIRED,
    doc: str = "",
    ge: float | None = None,
    le: float | None = None,
    choices: Sequence[str] = (),
    unit: str | None = None,
    reload: bool = False,
    allow_empty: bool = False,
    listens: Listens | None = None,
    when: str | None = None,
    default_doc: str | None = None,
    also: Sequence[str | Other] = (),
    own: bool = False,
    contents: bool = False,
    costly: bool = False,
) -> Any:
    """A field of a `Settings` class, read from the variable `key`.

    Args:
        key: Name of the variable, upper case. `key` + "_FILE" names a file that holds the value.
        default: The value when the variable is not set, or a function of `Facts` that returns it. Without one the
            variable must be set.
        doc: What it means, in one sentence, for the reference.
        ge: Least value, in seconds for a duration and in bytes for a size; of a list, that of each word.
        le: Greatest value, likewise.
        choices: The values allowed, for a `str` field; they are compared without regard to case.
        unit: What a plain number counts. A `float` with a unit of time ("us", "ms", "s", "m", "h", "d") is a
            `Duration`: the field holds seconds, whatever the unit.
        reload: Whether a reload may change it while the process runs.
        allow_empty: Whether a text may be empty. Lists may always be, and an optional field is None then.
        listens: The field is a TCP port that is listened on, for business traffic or for management. Two that are
            equal are a problem, unless both are for management or the port is 0.
        when: The boolean variable that turns the port on; the port counts only when that is true.
        default_doc: The default in words, when it is a function or not for showing.
        also: Other names, the strongest first; one counts when neither the own name nor one before it is set
            anywhere. `Other` says what a plain number counts under such a name.
        own: In a family: each member has its own default (or must set it), not the value of the class's variable.
        contents: What the file holds belongs to the value, for a `Path`: when that changes, a reload tells of the key
            although the path is the same, and even when `reload` is false. Files of up to 1 MiB are compared.
        costly: To take a change over costs something that all replicas share, such as connections to a server: a
            reload that nobody asked for by hand is spread over CONFIG_RELOAD_SPREAD.

    Raises:
        TypeError: The declaration contradicts itself.
    """
    _check_name(key)
    options = {
        "default": default,
        "doc": doc,
        "ge": 0 if listens and ge is None else ge,
        "le": 65535 if listens and le is None else le,
        "unit": unit,
        "reload": reload,
        "allow_empty": allow_empty,
        "listens": listens,
        "when": when,
        "default_doc": default_doc,
        "also": _others(key, also),
        "own": own,
        "contents": contents,
        "costly": costly,
    }
    return _Declaration(key=key, options=options, choices=tuple(choices))


def _others(key: str, also: Sequence[str | Other]) -> tuple[Other, ...]:
    others = tuple(Other(one) if isinstance(one, str) else one for one in also)
    names = [key]
    for other in others:
        _check_name(other.key)
        if other.key in names:
            raise TypeError(f"{other.key} is twice a name of {key}")
        names.append(other.key)
    return others


def _check_name(key: str) -> None:
    if not _KEY.fullmatch(key):
        raise TypeError(f"{key!r} is not a variable name: upper-case letters, digits and underscores")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(env,))
class Settings:
    """A typed group of variables. A subclass becomes a frozen dataclass whose arguments are keyword-only.

    Instances are values: equal when their fields are, never changed once made. Fields without `env` are refused.

    Args:
        family: The variable, a `tuple[str, ...]` of another class, that names the members of a family: for each of
            them the variables of this class exist once more, and `config.family` holds their settings.
        prefix: What each variable of a family begins with; the member's name follows it.

    Example:
        >>> class TickSettings(Settings):
        ...     every: float = env("TICK_EVERY", default=0.1, ge=0.01, unit="s", doc="Time between ticks.")
        >>> TickSettings(every=0.5)
        TickSettings(every=0.5)
    """

    __variables__: ClassVar[tuple[Variable, ...]] = ()
    """The variables of this class and its bases, in the order of declaration."""

    __family__: ClassVar[Family | None] = None
    __members__: ClassVar[dict[str, type[Settings]]] = {}

    member: ClassVar[str] = ""
    """Which member of a family these are the settings of: "orders"; "" for those of the class itself."""

    def __init_subclass__(cls, *, family: str = "", prefix: str = "") -> None:
        own = tuple(_variables_of(cls))
        for variable in own:
            setattr(cls, variable.attribute, _field_of(variable))
        inherited = [variable for base in reversed(cls.__mro__[1:]) for variable in vars(base).get("__variables__", ())]
        names = {variable.attribute: variable for variable in (*inherited, *own)}
        cls.__variables__ = tuple(names.values())
        cls.__members__ = {}
        if family:
            cls.__family__ = Family(family, prefix)
        _check_family(cls)
        dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        for variable in self.__variables__:
            if variable.kind.secret:
                wrapped = variable.wrapped(getattr(self, variable.attribute))
                object.__setattr__(self, variable.attribute, wrapped)

    def problems(self) -> Iterable[ConfigProblem]:
        """What is wrong between fields that are each right; asked once all fields of the class could be read."""
        return ()


def _check_family(cls: type[Settings]) -> None:
    if cls.__family__ is not None:
        cls.__family__.check(cls.__qualname__, cls.__variables__)
    elif stray := [variable.key for variable in cls.__variables__ if variable.own]:
        raise TypeError(f"{cls.__qualname__}: {stray[0]} is declared own=True, which is for families")


def _variables_of(cls: type[Settings]) -> Iterable[Variable]:
    annotations = vars(cls).get("__annotations__", {})
    stray = [name for name, value in vars(cls).items() if isinstance(value, _Declaration) and name not in annotations]
    if stray:
        raise TypeError(f"{cls.__qualname__}.{stray[0]} has no annotation, and so no type")
    hints = _hints_of(cls)
    for attribute in annotations:
        if str(annotations[attribute]).startswith(("ClassVar", "typing.ClassVar")):
            continue
        declaration = vars(cls).get(attribute)
        if not isinstance(declaration, _Declaration):
            raise TypeError(f"{cls.__qualname__}.{attribute} is not declared with env(...)")
        yield _variable(cls, attribute, declaration, hints[attribute])


def _hints_of(cls: type[Settings]) -> dict[str, Any]:
    try:
        return get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"{cls.__qualname__} has the annotation {error.name!r}, which is not a name of its module at run time"
        ) from error


def _variable(cls: type[Settings], attribute: str, declaration: _Declaration, annotation: Any) -> Variable:
    where = f"{cls.__qualname__}.{attribute} ({declaration.key})"
    try:
        kind = _refined(kind_of(annotation), declaration)
    except TypeError as error:
        raise TypeError(f"{where}: {error}") from None
    variable = Variable(key=declaration.key, attribute=attribute, kind=kind, **declaration.options)
    _check_declaration(variable, where)
    return variable


def _refined(kind: Kind, declaration: _Declaration) -> Kind:
    unit = declaration.options["unit"]
    if declaration.choices:
        if kind.base != "text":
            raise TypeError("choices are for a str")
        return dataclasses.replace(kind, base="choice", choices=declaration.choices)
    if kind.base == "number" and unit in TIME_UNITS:
        return dataclasses.replace(kind, base="duration")
    return kind


def _check_declaration(variable: Variable, where: str) -> None:
    base, unit = variable.kind.base, variable.unit
    units: dict[str, Iterable[str]] = {"duration": TIME_UNITS, "size": SIZE_UNITS}
    if unit is not None and unit not in units.get(base, (unit,)):
        raise TypeError(f"{where}: the unit of a {base} is one of {', '.join(units[base])}, not {unit!r}")
    for other in variable.also:
        if other.unit is not None and other.unit not in units.get(base, ()):
            raise TypeError(f"{where}: {other.unit!r} is no unit of a {base}, so {other.key} cannot have it")
    if variable.listens and (base != "integer" or variable.kind.many):
        raise TypeError(f"{where}: a port is an int")
    if variable.contents and base != "path":
        raise TypeError(f"{where}: contents=True is for a Path")
    if variable.costly and not (variable.reload or variable.contents):
        raise TypeError(f"{where}: costly=True is for what a reload can change")
    if variable.required or callable(variable.default):
        return
    reason = variable.wrong(variable.wrapped(variable.default))
    if reason:
        raise TypeError(f"{where}: the default is {reason}")


def _field_of(variable: Variable) -> Any:
    if variable.required:
        return dataclasses.field()
    if callable(variable.default):
        return dataclasses.field(default_factory=_factory(variable))
    return dataclasses.field(default=variable.wrapped(variable.default))


def _factory(variable: Variable) -> Callable[[], object]:
    return lambda: variable.default_for(Facts.here())
