"""The plan: order of everything, and everything that can be wrong with it in one report."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.diagnostics import diagnose, render
from eggycore.plan import Plan, PlanError, Planned, Want, make_plan
from eggycore.types import Control, HealthCheck, Initializer, Origin, Service

DB = Origin("db", "eggycore-db", "0.1.0")
APP = Origin("shop", kind="app")


class Database: ...


class Cache: ...


PACKAGE = Database.__module__.partition(".")[0]


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    yield


async def idle(control: Control) -> None:
    control.started()
    await control.stopping.wait()


def initializer(name: str, *requires: type | str, provides: type | None = None) -> Planned[Initializer[None]]:
    return Planned(Initializer(name=name, open=nothing, requires=requires, provides=provides), DB)


def service(name: str, *requires: type | str, **fields: object) -> Planned[Service]:
    return Planned(Service(name=name, run=idle, requires=requires, **fields), APP)


def report(*args: object, **kwargs: object) -> str:
    with pytest.raises(PlanError) as caught:
        make_plan(*args, **kwargs)
    return render(diagnose(caught.value))


def names(plan: Plan) -> list[str]:
    return [planned.name for planned in plan.initializers]


def test_providers_open_before_those_that_require_them():
    plan = make_plan([initializer("forms", Database), initializer("database", provides=Database)])
    assert names(plan) == ["database", "forms"]


def test_ties_keep_the_given_order():
    assert names(make_plan([initializer(name) for name in "zebra"])) == list("zebra")


def test_a_requirement_may_name_a_component():
    assert names(make_plan([initializer("warm-up", "words"), initializer("words")])) == ["words", "warm-up"]


def test_a_subclass_of_a_component_is_named_like_its_kind():
    class DatabaseInitializer(Initializer[None]): ...

    assert str(Planned(DatabaseInitializer(name="database", open=nothing), APP)) == "initializer 'database' of app shop"


def test_services_are_sorted_by_stage_and_keep_their_order_inside_one():
    plan = make_plan([], [service("http", stage="edge"), service("b"), service("probe", stage="probe"), service("a")])
    assert [planned.name for planned in plan.services] == ["probe", "b", "a", "http"]
    assert [planned.name for planned in plan.stage("work")] == ["b", "a"]


def test_a_resource_that_is_there_without_an_initializer_satisfies():
    assert names(make_plan([initializer("forms", Database)], provided=[Database])) == ["forms"]


@given(st.data())
def test_every_requirement_is_opened_first_and_the_order_is_the_earliest_possible(data: st.DataObject):
    count = data.draw(st.integers(1, 8))
    requires = {
        f"c{index}": data.draw(st.lists(st.sampled_from([f"c{i}" for i in range(index)]), unique=True)) if index else []
        for index in range(count)
    }
    given_order = data.draw(st.permutations(list(requires)))
    order = names(make_plan([initializer(name, *requires[name]) for name in given_order]))
    assert sorted(order) == sorted(requires)
    for position, name in enumerate(order):
        assert set(requires[name]) <= set(order[:position])
        could_have_been_taken = [other for other in order[position:] if set(requires[other]) <= set(order[:position])]
        assert given_order.index(name) == min(map(given_order.index, could_have_been_taken))


def test_a_missing_provider_whose_plugin_is_not_selected():
    assert report([], [service("tick", Database)], unselected={PACKAGE: "db"}) == (
        "The plan has 1 problem; nothing was opened.\n"
        "\n"
        "1. Service 'tick' of app shop needs a Database, and nothing provides one.\n"
        f"     cause:  Database comes from {PACKAGE}, whose plugin 'db' is installed, not selected.\n"
        "     action: Add db to --plugins (or EGGYCORE_PLUGINS)."
    )


def test_a_missing_provider_of_a_route():
    wants = [Want(owner="GET /forms/{id}", parameter="db", type_=Database)]
    assert report([initializer("cache", provides=Cache)], wants=wants) == (
        "The plan has 1 problem; nothing was opened.\n"
        "\n"
        "1. GET /forms/{id}, parameter 'db' needs a Database, and nothing provides one.\n"
        "     cause:  Provided are: Cache.\n"
        "     action: Return an Initializer with provides=Database from init_infra, or install the plugin that brings"
        " it."
    )


def test_an_unknown_name_with_a_hint():
    assert report([initializer("database")], [service("tick", "databse")]) == (
        "The plan has 1 problem; nothing was opened.\n"
        "\n"
        "1. Service 'tick' of app shop requires 'databse', and no component has that name.\n"
        "     cause:  Known names: database, tick. Did you mean 'database'?\n"
        "     action: Correct the name, or install what brings it: pip install eggycore-databse"
    )


def test_a_cycle():
    assert report([initializer("a", "b"), initializer("b", "a")]) == (
        "The plan has 1 problem; nothing was opened.\n"
        "\n"
        "1. These components require each other in a circle: a -> b -> a.\n"
        "     cause:  Initializer 'a' of plugin db (eggycore-db 0.1.0);"
        " Initializer 'b' of plugin db (eggycore-db 0.1.0).\n"
        "     action: Take one `requires` out, or split one component in two."
    )


def test_a_probe_cannot_require_what_opens_later():
    text = report([initializer("database", provides=Database)], [service("scrape", Database, stage="probe")])
    assert text == (
        "The plan has 1 problem; nothing was opened.\n"
        "\n"
        "1. Service 'scrape' of app shop requires initializer 'database' of plugin db (eggycore-db 0.1.0),"
        " which starts later.\n"
        "     cause:  The order is: probe services, initializers, work services, edge services.\n"
        "     action: Move one of them to another stage, or drop the requirement."
    )


def test_all_problems_come_in_one_report():
    def checks() -> Iterator[Planned[HealthCheck]]:
        for origin in (DB, APP):
            yield Planned(HealthCheck(name="disk", check=lambda: None), origin)

    text = report(
        [initializer("database", provides=Database), initializer("second", provides=Database)],
        [service("tick", Cache), service("tick")],
        list(checks()),
    )
    assert text == (
        "The plan has 4 problems; nothing was opened.\n"
        "\n"
        "1. The name 'tick' is used twice.\n"
        "     cause:  Once by service 'tick' of app shop, once by service 'tick' of app shop.\n"
        "     action: Rename one.\n"
        "\n"
        "2. The name 'disk' is used twice.\n"
        "     cause:  Once by health check 'disk' of plugin db (eggycore-db 0.1.0), once by health check 'disk' of"
        " app shop.\n"
        "     action: Rename one.\n"
        "\n"
        "3. The resource type Database is provided twice.\n"
        "     cause:  Once by initializer 'database' of plugin db (eggycore-db 0.1.0), once by initializer 'second' of"
        " plugin db (eggycore-db 0.1.0).\n"
        "     action: Exclude one plugin with -x, or provide a subtype.\n"
        "\n"
        "4. Service 'tick' of app shop needs a Cache, and nothing provides one.\n"
        "     cause:  Provided are: Database.\n"
        "     action: Return an Initializer with provides=Cache from init_infra, or install the plugin that brings"
        " it."
    )


def test_the_plan_as_data():
    plan = make_plan(
        [initializer("database", provides=Database)],
        [service("tick", Database)],
        [Planned(HealthCheck(name="database", check=lambda: None), DB)],
    )
    origin = "plugin db (eggycore-db 0.1.0)"
    assert plan.to_dict() == {
        "initializers": [{"name": "database", "from": origin, "provides": "Database", "requires": [], "timeout": 30.0}],
        "services": [
            {
                "name": "tick",
                "from": "app shop",
                "stage": "work",
                "requires": ["Database"],
                "leader_only": False,
                "critical": True,
                "restart": "on-failure",
            }
        ],
        "checks": [{"name": "database", "from": origin, "kinds": ["ready"], "critical": True, "interval": 5.0}],
    }
