"""The configuration of a process at one moment: typed values, and where each came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from eggycore.config.declared import Owned
from eggycore.config.family import general_settings
from eggycore.config.near import NearMiss, StrangeMember, UnknownKey
from eggycore.config.settings import Settings
from eggycore.config.sources import Found
from eggycore.diagnostics import Diagnosis, diagnose, did_you_mean
from eggycore.errors import UsageError

if TYPE_CHECKING:
    from eggycore.config.explain import Entry, Explanation
    from eggycore.config.overlays import IgnoredOverlayKey

__all__ = ["Configuration", "SettingsMissing", "UnknownVariable", "Value"]

S = TypeVar("S", bound=Settings)


@dataclass(eq=False)
class SettingsMissing(UsageError):
    """Settings were asked for that nobody declared."""

    settings: str
    declared: tuple[str, ...] = ()


@diagnose.register
def _(error: SettingsMissing) -> Diagnosis:
    return Diagnosis(
        description=f"The settings {error.settings} are not part of this configuration.",
        cause=f"Declared: {', '.join(error.declared) or 'none'}.",
        action="Return the class from the register_settings hook, or select the plugin that declares it.",
    )


@dataclass(eq=False)
class UnknownVariable(UsageError):
    """A variable was asked about that nobody declared."""

    key: str
    known: tuple[str, ...] = ()


@diagnose.register
def _(error: UnknownVariable) -> Diagnosis:
    return Diagnosis(
        description=f"{error.key} is not a variable of eggycore, of the app or of a selected plugin."
        f"{did_you_mean(error.key.upper(), error.known)}",
        action="Correct the name, or list the variables: eggycore config show",
    )


@dataclass(frozen=True)
class Value:
    """A value with its origin and with every source that says something about the variable. Never shown by `repr`.

    `content` is a digest of what the file holds that the value names, for variables declared with `contents=True`.
    """

    value: object = field(repr=False)
    origin: str
    found: tuple[Found, ...] = ()
    content: str = field(default="", repr=False)


class Configuration:
    """Settings by class, with the origin of every value. Immutable: a reload makes a new one.

    Args:
        owned: The variables, by name.
        values: The value of each.
        instances: The settings, by class.
        unknown: Variables that were perhaps meant to be one of these, belong to a member that no list names, or are
            set in a file of config/ and are nobody's.
        ignored: What overlays say about variables that they cannot set.
        generation: 1 for the configuration of the start; every reload that changes something counts on.
    """

    def __init__(
        self,
        *,
        owned: Mapping[str, Owned],
        values: Mapping[str, Value],
        instances: Mapping[type[Settings], Settings],
        unknown: Iterable[NearMiss | StrangeMember | UnknownKey] = (),
        ignored: Iterable[IgnoredOverlayKey] = (),
        generation: int = 1,
    ) -> None:
        self._owned = owned
        self._values = values
        self._instances = dict(instances)
        self.unknown = tuple(unknown)
        self.ignored = tuple(ignored)
        self.generation = generation

    def __getitem__(self, settings: type[S]) -> S:
        """The settings of this class.

        Raises:
            SettingsMissing: Nobody declared the class.
        """
        try:
            return cast(S, self._instances[settings])
        except KeyError:
            raise self._missing(settings) from None

    def _missing(self, settings: type[Settings]) -> SettingsMissing:
        declared = (known.__qualname__ for known in self._instances if not known.member)
        return SettingsMissing(settings.__qualname__, tuple(sorted(declared)))

    def __contains__(self, settings: type[Any]) -> bool:
        return settings in self._instances

    def __repr__(self) -> str:
        return f"<Configuration generation={self.generation} variables={len(self._values)}>"

    def family(self, settings: type[S]) -> Mapping[str, S]:
        """The settings of each member of a family, by the member's name, in the order in which they are named.

        Raises:
            SettingsMissing: Nobody declared the class.
            UnknownVariable: Nobody declared the variable that names the members.
            TypeError: The class is not declared with `family=`.
        """
        family = settings.__family__
        if family is None:
            raise TypeError(f"{settings.__qualname__} is no family: it is declared without family=...")
        if settings not in self._instances:
            raise self._missing(settings)
        if family.names not in self._owned:
            raise UnknownVariable(family.names, tuple(self._owned))
        members = ((known, one) for known, one in self._instances.items() if known.member)
        return {known.member: cast(S, one) for known, one in members if general_settings(known) is settings}

    @property
    def owned(self) -> Mapping[str, Owned]:
        """The declared variables, by name."""
        return self._owned

    @property
    def values(self) -> Mapping[str, Value]:
        """The value of each variable, secrets included: for comparing, not for showing."""
        return self._values

    @property
    def instances(self) -> Mapping[type[Settings], Settings]:
        """The settings, by class."""
        return self._instances

    def entries(self) -> tuple[Entry, ...]:
        """Every variable with its value as it may be shown, in the order of declaration."""
        from eggycore.config.explain import entry_of

        return tuple(entry_of(self, key) for key in self._owned)

    def explain(self, key: str) -> Explanation:
        """Where the value of a variable comes from, and what it won over.

        Args:
            key: Its name, or another of its names.

        Raises:
            UnknownVariable: Nobody declared the variable.
        """
        from eggycore.config.explain import explanation_of

        own = next((own for own, one in self._owned.items() if key in one.variable.names), None)
        if own is None:
            raise UnknownVariable(key, tuple(name for one in self._owned.values() for name in one.variable.names))
        return explanation_of(self, own)

    def digest(self) -> str:
        """12 hexadecimal digits that differ when the value of some variable does; secrets do not count."""
        import hashlib  # loads OpenSSL; asked for by the metrics, not by every process

        shown = ((key, one.variable) for key, one in sorted(self._owned.items()) if not one.variable.kind.secret)
        lines = [f"{key}={variable.shown(self._values[key].value)!r}" for key, variable in shown]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
