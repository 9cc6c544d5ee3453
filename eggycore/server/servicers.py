"""Records gRPC servicers during plan, without importing grpc; a server registers them when it starts."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import UsageError
from eggycore.resources import ResourceMissing, Resources
from eggycore.web.needs import Need

__all__ = ["Servicer", "ServicerRecorder", "ServicerRefused"]

S = TypeVar("S")


@dataclass(eq=False)
class ServicerRefused(UsageError):
    """A servicer cannot be recorded or served.

    Args:
        servicer: Name of its class, or of one of its methods.
        reason: What is wrong with it.
        action: What to do about it.
    """

    servicer: str
    reason: str
    action: str


@diagnose.register
def _(error: ServicerRefused) -> Diagnosis:
    return Diagnosis(
        description=f"The gRPC servicer {error.servicer} {error.reason}.",
        action=error.action,
    )


@dataclass(frozen=True, kw_only=True)
class Servicer:
    """One recorded servicer.

    Args:
        name: Name of its class.
        add: The generated `add_<Service>Servicer_to_server`.
        target: The servicer, or the class that is called with the resources it needs when the server starts.
        needs: The resource types that its constructor takes; empty for an instance.
    """

    name: str
    add: Callable[[Any, Any], None]
    target: object
    needs: tuple[Need, ...] = ()

    def build(self, resources: Resources) -> object:
        """The servicer itself, made from the resources it needs if a class was recorded.

        Raises:
            ResourceMissing: One of them is not open; a note names servicer and parameter.
        """
        if not isinstance(self.target, type):
            return self.target
        return self.target(**{need.parameter: self._value(need, resources) for need in self.needs})

    def _value(self, need: Need, resources: Resources) -> object:
        try:
            return resources.get(need.type_)
        except ResourceMissing as error:
            error.add_note(f"It is wanted by gRPC servicer {self.name}, parameter {need.parameter!r}.")
            raise


class ServicerRecorder:
    """What `runtime.grpc` is: remembers servicers during plan; the server registers them when it starts."""

    def __init__(self) -> None:
        self._servicers: list[Servicer] = []
        self._closed = False

    @property
    def servicers(self) -> tuple[Servicer, ...]:
        """What was recorded, in order."""
        return tuple(self._servicers)

    def add(self, add_to_server: Callable[[S, Any], None], servicer: S | type[S]) -> None:
        """Record a servicer.

        Args:
            add_to_server: The generated `add_<Service>Servicer_to_server`.
            servicer: An instance, or a class. A class is instantiated when the server starts; parameters of its
                `__init__` that have no default receive the resources of the types they are annotated with.

        Raises:
            ServicerRefused: The recorder is closed, or a constructor parameter has no usable annotation.

        Example:
            >>> class Lookups:
            ...     def __init__(self, resources: Resources) -> None:
            ...         self.resources = resources
            >>> recorder = ServicerRecorder()
            >>> recorder.add(lambda servicer, server: None, Lookups)
            >>> [need.parameter for need in recorder.servicers[0].needs]
            ['resources']
        """
        target: object = servicer
        class_ = target if isinstance(target, type) else type(target)
        name = class_.__qualname__
        if self._closed:
            raise ServicerRefused(
                name, "was added after the plan was made", "Call runtime.grpc.add inside register_services."
            )
        needs = _needs(class_) if class_ is target else ()
        self._servicers.append(Servicer(name=name, add=add_to_server, target=target, needs=needs))

    def close(self) -> None:
        """Refuse whatever is added from now on."""
        self._closed = True


def _needs(class_: type[Any]) -> tuple[Need, ...]:
    """The resource types that the constructor takes: its parameters without a default."""
    if class_.__init__ is object.__init__:
        return ()
    hints = _hints(class_)
    own = list(inspect.signature(class_.__init__).parameters.values())[1:]
    wanted = [one for one in own if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    return tuple(_need(class_, parameter, hints.get(parameter.name)) for parameter in wanted)


def _hints(class_: type[Any]) -> dict[str, Any]:
    try:
        return get_type_hints(class_.__init__)
    except NameError as error:
        raise ServicerRefused(
            class_.__qualname__,
            f"has a constructor annotation that cannot be resolved: {error}",
            "Import the type at the top of the module, outside of `if TYPE_CHECKING`.",
        ) from error


def _need(class_: type[Any], parameter: inspect.Parameter, hint: object) -> Need:
    if parameter.kind is parameter.POSITIONAL_ONLY or not isinstance(hint, type):
        raise ServicerRefused(
            class_.__qualname__,
            f"takes {parameter.name!r}, which is not annotated with a resource type",
            f"Annotate it with the class of what it receives (`{parameter.name}: Database`), or add an instance.",
        )
    return Need(parameter=parameter.name, type_=hint)
