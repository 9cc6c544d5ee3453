"""What can be recorded as a servicer, what it needs, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore.resources import ResourceMissing, Resources
from eggycore.server.servicers import ServicerRecorder, ServicerRefused
from eggycore.web.needs import Need

if TYPE_CHECKING:
    from decimal import Decimal


class Database:
    """A resource."""


class Cache:
    """Another one."""


class Forms:
    def __init__(self, db: Database, cache: Cache, limit: int = 20, *rest: object, **options: object) -> None:
        self.db = db
        self.cache = cache
        self.limit = limit


class Plain:
    pass


def add(servicer: Any, server: Any) -> None:
    """Stands for generated code."""


def test_a_class_says_by_its_constructor_what_it_needs() -> None:
    recorder = ServicerRecorder()

    recorder.add(add, Forms)

    (servicer,) = recorder.servicers
    assert (servicer.name, servicer.add) == ("Forms", add)
    assert servicer.needs == (Need("db", Database), Need("cache", Cache))


def test_a_class_is_made_of_the_resources_that_are_open() -> None:
    recorder, resources, database, cache = ServicerRecorder(), Resources(), Database(), Cache()
    recorder.add(add, Forms)
    resources.provide(Database, database)
    resources.provide(Cache, cache)

    made = recorder.servicers[0].build(resources)

    assert isinstance(made, Forms)
    assert (made.db, made.cache, made.limit) == (database, cache, 20)


def test_a_resource_that_is_not_open_is_named_with_the_servicer() -> None:
    recorder = ServicerRecorder()
    recorder.add(add, Forms)

    with pytest.raises(ResourceMissing) as missing:
        recorder.servicers[0].build(Resources())

    assert missing.value.type_name == "Database"
    assert missing.value.__notes__ == ["It is wanted by gRPC servicer Forms, parameter 'db'."]


@pytest.mark.parametrize("servicer", [Plain, Plain()])
def test_a_servicer_without_needs_is_made_or_taken_as_it_is(servicer: object) -> None:
    recorder = ServicerRecorder()

    recorder.add(add, servicer)

    assert recorder.servicers[0].name == "Plain"
    assert recorder.servicers[0].needs == ()
    assert isinstance(recorder.servicers[0].build(Resources()), Plain)


class Untyped:
    def __init__(self, db) -> None:
        pass


class Optional:
    def __init__(self, db: Database | None) -> None:
        pass


class Hidden:
    def __init__(self, price: Decimal) -> None:
        pass


@pytest.mark.parametrize(
    ("class_", "message"),
    [
        (
            Untyped,
            "The gRPC servicer Untyped takes 'db', which is not annotated with a resource type.\n"
            "  action: Annotate it with the class of what it receives (`db: Database`), or add an instance.",
        ),
        (
            Optional,
            "The gRPC servicer Optional takes 'db', which is not annotated with a resource type.\n"
            "  action: Annotate it with the class of what it receives (`db: Database`), or add an instance.",
        ),
        (
            Hidden,
            "The gRPC servicer Hidden has a constructor annotation that cannot be resolved:"
            " name 'Decimal' is not defined.\n"
            "  action: Import the type at the top of the module, outside of `if TYPE_CHECKING`.",
        ),
    ],
)
def test_a_constructor_that_cannot_be_filled_is_refused(class_: type, message: str) -> None:
    with pytest.raises(ServicerRefused) as refused:
        ServicerRecorder().add(add, class_)

    assert render(diagnose(refused.value)) == message


def test_nothing_is_recorded_after_the_plan() -> None:
    recorder = ServicerRecorder()
    recorder.close()

    with pytest.raises(ServicerRefused) as refused:
        recorder.add(add, Plain())

    assert recorder.servicers == ()
    assert render(diagnose(refused.value)) == (
        "The gRPC servicer Plain was added after the plan was made.\n"
        "  action: Call runtime.grpc.add inside register_services."
    )


def test_recording_and_configuring_import_no_grpc() -> None:
    code = (
        "import sys, eggycore.server.servicers, eggycore.server.grpc\n"
        "eggycore.server.grpc.GRPCServer()\n"
        "print(sorted(sys.modules.keys() & {'grpc', 'google.protobuf', 'aiohttp'}))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
