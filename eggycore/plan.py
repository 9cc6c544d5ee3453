"""The order of everything, worked out before anything opens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any, Generic, TypeVar

from eggycore.diagnostics import Diagnosis, capitalized, diagnose, did_you_mean
from eggycore.errors import UsageError
from eggycore.types import HealthCheck, Initializer, Leadership, Origin, Requirement, Service, Stage

__all__ = ["Plan", "PlanError", "Planned", "Want", "make_plan"]

T = TypeVar("T", bound=Initializer[Any] | Service | HealthCheck)

STAGES: tuple[Stage, ...] = ("probe", "work", "edge")


@dataclass(frozen=True)
class Planned(Generic[T]):
    """A component with who declared it."""

    value: T
    origin: Origin

    @property
    def name(self) -> str:
        return self.value.name

    def __str__(self) -> str:
        kinds = {Initializer: "initializer", Service: "service", HealthCheck: "health check"}
        kind = next(word for type_, word in kinds.items() if isinstance(self.value, type_))
        return f"{kind} {self.name!r} of {self.origin}"


@dataclass(frozen=True, kw_only=True)
class Want:
    """A resource that a recorded route or servicer asks for.

    Args:
        owner: What asks: "GET /forms/{id}", "servicer Forms".
        parameter: The parameter's name.
        type_: The resource type it is annotated with.
    """

    owner: str
    parameter: str
    type_: type[Any]


@dataclass(eq=False)
class PlanError(UsageError):
    """The components do not fit together. Holds every problem, not the first."""

    problems: tuple[Diagnosis, ...] = field(default=())


@diagnose.register
def _(error: PlanError) -> Diagnosis:
    count = len(error.problems)
    return Diagnosis(
        description=f"The plan has {count} problem{'s' if count != 1 else ''}; nothing was opened.",
        parts=error.problems,
    )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything in its order.

    Args:
        initializers: In the order in which they are opened; closed in reverse.
        services: In the order of stages; inside a stage in the given order.
        checks: In the given order.
        wanted: Resource types that a component, a route or a servicer asks for.
    """

    initializers: tuple[Planned[Initializer[Any]], ...] = ()
    services: tuple[Planned[Service], ...] = ()
    checks: tuple[Planned[HealthCheck], ...] = ()
    wanted: frozenset[type[Any]] = frozenset()

    def stage(self, stage: Stage) -> tuple[Planned[Service], ...]:
        """The services of one stage."""
        return tuple(planned for planned in self.services if planned.value.stage == stage)

    def to_dict(self) -> dict[str, list[dict[str, object]]]:
        """The plan as plain data, for `eggycore plan --json`."""
        return {
            "initializers": [
                {
                    "name": planned.name,
                    "from": str(planned.origin),
                    "provides": planned.value.provides.__qualname__ if planned.value.provides else None,
                    "requires": [_requirement(need) for need in planned.value.requires],
                    "timeout": planned.value.timeout,
                }
                for planned in self.initializers
            ],
            "services": [
                {
                    "name": planned.name,
                    "from": str(planned.origin),
                    "stage": planned.value.stage,
                    "requires": [_requirement(need) for need in _needs(planned)],
                    "leader_only": planned.value.leader_only,
                    "critical": planned.value.critical,
                    "restart": planned.value.restart.when,
                }
                for planned in self.services
            ],
            "checks": [
                {
                    "name": planned.name,
                    "from": str(planned.origin),
                    "kinds": sorted(planned.value.kinds),
                    "critical": planned.value.critical,
                    "interval": planned.value.interval,
                }
                for planned in self.checks
            ],
        }


def make_plan(
    initializers: Sequence[Planned[Initializer[Any]]] = (),
    services: Sequence[Planned[Service]] = (),
    checks: Sequence[Planned[HealthCheck]] = (),
    *,
    wants: Sequence[Want] = (),
    provided: Iterable[type[Any]] = (),
    unselected: Mapping[str, str] | None = None,
) -> Plan:
    """Work out the order, or say everything that is wrong with it.

    Args:
        initializers: Declared ones, in the given plugin order; ties keep it.
        services: Declared ones, in the given plugin order.
        checks: Declared ones.
        wants: Resources that routes and servicers ask for.
        provided: Types that are there without an initializer.
        unselected: Top-level package to name of each installed plugin that was not selected, for hints.

    Raises:
        PlanError: With every duplicate name, missing provider, unknown name, wrong stage and cycle.
    """
    draft = _Draft(initializers, services, checks, frozenset(provided), unselected or {})
    problems = [
        *draft.duplicates(),
        *draft.unmet(),
        *(draft.missing_provider(want.type_, f"{want.owner}, parameter {want.parameter!r}") for want in wants
          if want.type_ not in draft.providers),
    ]  # fmt: skip
    if not problems:
        problems += draft.cycles()
    if problems:
        raise PlanError(tuple(problems))
    return Plan(
        initializers=draft.opening_order(),
        services=tuple(sorted(services, key=lambda planned: STAGES.index(planned.value.stage))),
        checks=tuple(checks),
        wanted=frozenset([*(want.type_ for want in wants), *draft.required_types()]),
    )


class _Draft:
    """The declared components while they are checked and ordered."""

    def __init__(
        self,
        initializers: Sequence[Planned[Initializer[Any]]],
        services: Sequence[Planned[Service]],
        checks: Sequence[Planned[HealthCheck]],
        provided: frozenset[type[Any]],
        unselected: Mapping[str, str],
    ) -> None:
        self.initializers = initializers
        self.services = services
        self.checks = checks
        self.unselected = unselected
        self.components: tuple[Planned[Any], ...] = (*initializers, *services)
        self.by_name: dict[str, Planned[Any]] = {planned.name: planned for planned in self.components}
        self.providers: dict[type[Any], Planned[Initializer[Any]] | None] = dict.fromkeys(provided)
        for planned in initializers:
            if planned.value.provides is not None:
                self.providers[planned.value.provides] = planned

    def duplicates(self) -> list[Diagnosis]:
        return [*_repeated_names(self.components), *_repeated_names(self.checks), *self._repeated_types()]

    def _repeated_types(self) -> Iterator[Diagnosis]:
        seen: dict[type[Any], Planned[Any]] = {}
        for initializer in self.initializers:
            type_ = initializer.value.provides
            if type_ is not None and (first := seen.setdefault(type_, initializer)) is not initializer:
                text = f"The resource type {type_.__qualname__} is provided twice."
                yield _duplicate(text, first, initializer, "Exclude one plugin with -x, or provide a subtype.")

    def unmet(self) -> list[Diagnosis]:
        found = (self._unmet(planned, need) for planned in self.components for need in _needs(planned))
        return [problem for problem in found if problem is not None]

    def _unmet(self, planned: Planned[Any], need: Requirement) -> Diagnosis | None:
        if isinstance(need, str):
            if (other := self.by_name.get(need)) is None:
                return self._unknown_name(planned, need)
            return self._wrong_order(planned, other)
        if need is Leadership and need not in self.providers:
            return _leaderless(planned)
        if need not in self.providers:
            return self.missing_provider(need, str(planned))
        provider = self.providers[need]
        return self._wrong_order(planned, provider) if provider is not None else None

    def _unknown_name(self, planned: Planned[Any], need: str) -> Diagnosis:
        return Diagnosis(
            description=f"{capitalized(str(planned))} requires {need!r}, and no component has that name.",
            cause=f"Known names: {', '.join(sorted(self.by_name))}.{did_you_mean(need, self.by_name)}",
            action=f"Correct the name, or install what brings it: pip install eggycore-{need}",
        )

    def missing_provider(self, type_: type[Any], who: str) -> Diagnosis:
        """The problem of a resource type that nobody provides."""
        package = type_.__module__.partition(".")[0]
        description = f"{capitalized(who)} needs a {type_.__qualname__}, and nothing provides one."
        if package in self.unselected:
            name = self.unselected[package]
            return Diagnosis(
                description=description,
                cause=f"{type_.__qualname__} comes from {package}, whose plugin {name!r} is installed, not selected.",
                action=f"Add {name} to --plugins (or EGGYCORE_PLUGINS).",
            )
        names = ", ".join(sorted(known.__qualname__ for known in self.providers)) or "nothing"
        install = f": pip install {package.replace('_', '-')}" if package.startswith("eggycore_") else ""
        near = did_you_mean(type_.__qualname__, (known.__qualname__ for known in self.providers))
        return Diagnosis(
            description=description,
            cause=f"Provided are: {names}.{near}",
            action=f"Return an Initializer with provides={type_.__qualname__} from init_infra, or install the plugin "
            f"that brings it{install}.",
        )

    def _wrong_order(self, planned: Planned[Any], other: Planned[Any]) -> Diagnosis | None:
        if _rank(other) <= _rank(planned):
            return None
        return Diagnosis(
            description=f"{capitalized(str(planned))} requires {other}, which starts later.",
            cause="The order is: probe services, initializers, work services, edge services.",
            action="Move one of them to another stage, or drop the requirement.",
        )

    def cycles(self) -> list[Diagnosis]:
        problems = []
        for group in (self.initializers, self.services):
            try:
                self._sorted(group)
            except CycleError as error:
                names: list[str] = error.args[1]
                problems.append(
                    Diagnosis(
                        description=f"These components require each other in a circle: {' -> '.join(names)}.",
                        cause="; ".join(capitalized(str(self.by_name[name])) for name in dict.fromkeys(names)) + ".",
                        action="Take one `requires` out, or split one component in two.",
                    )
                )
        return problems

    def required_types(self) -> Iterator[type[Any]]:
        for planned in self.components:
            yield from (need for need in _needs(planned) if not isinstance(need, str))

    def opening_order(self) -> tuple[Planned[Initializer[Any]], ...]:
        return tuple(self.by_name[name] for name in self._sorted(self.initializers))

    def _sorted(self, group: Sequence[Planned[Any]]) -> list[str]:
        """Providers first; ties keep the given order: of all that are free, the first given is taken next."""
        names = {planned.name: index for index, planned in enumerate(group)}
        graph = {planned.name: self._predecessors(planned) & names.keys() for planned in group}
        TopologicalSorter(graph).prepare()
        order: list[str] = []
        left = dict(graph)
        while left:
            free = next(name for name, before in left.items() if before.isdisjoint(left))
            order.append(free)
            del left[free]
        return order

    def _predecessors(self, planned: Planned[Any]) -> set[str]:
        found = (self.by_name.get(need) if isinstance(need, str) else self.providers.get(need)
                 for need in _needs(planned))  # fmt: skip
        return {other.name for other in found if other is not None}


def _repeated_names(group: Sequence[Planned[Any]]) -> Iterator[Diagnosis]:
    seen: dict[str, Planned[Any]] = {}
    for planned in group:
        if (first := seen.setdefault(planned.name, planned)) is not planned:
            yield _duplicate(f"The name {planned.name!r} is used twice.", first, planned, "Rename one.")


def _rank(planned: Planned[Any]) -> int:
    """Where a component stands: probe services, then initializers, then work, then edge."""
    if isinstance(planned.value, Initializer):
        return 1
    return {"probe": 0, "work": 2, "edge": 3}[planned.value.stage]


def _duplicate(description: str, first: Planned[Any], second: Planned[Any], action: str) -> Diagnosis:
    return Diagnosis(description=description, cause=f"Once by {first}, once by {second}.", action=action)


def _needs(planned: Planned[Any]) -> tuple[Requirement, ...]:
    """What a component requires; a service that runs only where it leads requires leadership without saying so."""
    needs: tuple[Requirement, ...] = planned.value.requires
    return (*needs, Leadership) if _is_leader_only(planned) and Leadership not in needs else needs


def _is_leader_only(planned: Planned[Any]) -> bool:
    return isinstance(planned.value, Service) and planned.value.leader_only


def _leaderless(planned: Planned[Any]) -> Diagnosis:
    wish, way_out = "requires Leadership", "take Leadership out of its requires"
    if _is_leader_only(planned):
        wish, way_out = "is leader_only", "drop leader_only=True"
    return Diagnosis(
        description=f"{capitalized(str(planned))} {wish}, and nothing provides leadership.",
        cause="No selected plugin elects a leader among the replicas.",
        action=f"Select a plugin that does (`eggycore plugins` lists what is installed), or {way_out}.",
    )


def _requirement(need: Requirement) -> str:
    return need if isinstance(need, str) else need.__qualname__
