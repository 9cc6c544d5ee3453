"""Hooks are called plugin by plugin in the given order, and what goes wrong is blamed on the right one."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from eggycore import ConfigRefused, HealthCheck, Initializer, Service, hookimpl
from eggycore.diagnostics import diagnose, render
from eggycore.plugin_errors import HookFailed, PluginErrors, WrongResult
from eggycore.plugins import PluginRecord, Plugins, Selection
from eggycore.resources import Resources
from eggycore.types import Change

PluginsOf = Callable[..., Plugins]
CHANGE = Change(keys=frozenset({"TICK_EVERY"}), old=None, new=None)


async def serve(control: object) -> None: ...


@asynccontextmanager
async def nothing():
    yield None


class Named:
    """A plugin that declares one service with its own name."""

    def __init__(self, name: str) -> None:
        self.name = name

    @hookimpl
    def register_services(self, runtime: object) -> Service:
        return Service(name=self.name, run=serve)


class Raising:
    @hookimpl
    def init_infra(self, runtime: object) -> None:
        Resources().get(int)

    @hookimpl
    def register_services(self, runtime: object) -> None:
        raise RuntimeError("no luck")


def loaded(plugins_of: PluginsOf, *objects: tuple[str, object], **options: object) -> Plugins:
    plugins = plugins_of(objects=objects, **options)
    plugins.load()
    return plugins


def names(results: list[tuple[PluginRecord, list[Service]]]) -> list[tuple[str, list[str]]]:
    return [(record.name, [service.name for service in services]) for record, services in results]


def test_hooks_are_called_in_the_given_order_and_the_app_last(plugins_of: PluginsOf) -> None:
    app = types.ModuleType("my_app")
    app.register_services = Named("app").register_services
    plugins = loaded(plugins_of, ("one", Named("1")), ("two", Named("2")), app=app, selection=Selection(("two", "one")))
    results = plugins.call("register_services", runtime=None)
    assert names(results) == [("two", ["2"]), ("one", ["1"]), ("my_app", ["app"])]
    assert results[-1][0].origin.kind == "app"


def test_an_installed_plugin_answers_every_kind_of_hook(plugins_of: PluginsOf) -> None:
    plugins = plugins_of("good")
    plugins.load()
    (record,) = plugins.records
    assert record.hooks == (
        "config_changed",
        "init_infra",
        "register_health_checks",
        "register_services",
        "register_settings",
    )
    assert record.import_seconds > 0
    ((_, settings),) = plugins.settings()
    assert [cls.__name__ for cls in settings] == ["GoodSettings"]
    assert plugins.call("register_settings") == plugins.settings()
    ((_, initializers),) = plugins.call("init_infra", runtime=None)
    assert [type(each) for each in initializers] == [Initializer]
    assert names(plugins.call("register_services", runtime=None)) == [("good", ["good-one", "good-two"])]
    ((_, checks),) = plugins.call("register_health_checks", runtime=None)
    assert [type(each) for each in checks] == [HealthCheck]
    assert record.timings.keys() == {
        "import",
        "register_settings",
        "init_infra",
        "register_services",
        "register_health_checks",
    }


def test_a_hook_may_be_implemented_under_another_name_and_more_than_once(plugins_of: PluginsOf) -> None:
    class Several:
        @hookimpl(specname="register_services")
        def first(self) -> Service:
            return Service(name="1", run=serve)

        @hookimpl(specname="register_services")
        def second(self, runtime: object) -> Service:
            return Service(name="2", run=serve)

    plugins = loaded(plugins_of, ("several", Several()))
    ((_, services),) = plugins.call("register_services", runtime=None)
    assert sorted(service.name for service in services) == ["1", "2"]


async def test_config_changed_may_be_async(plugins_of: PluginsOf) -> None:
    plugins = plugins_of("good")
    plugins.load()
    change = types.SimpleNamespace(seen=[])
    (record,) = plugins.implementing("config_changed")
    taken = plugins.tell(record, "config_changed", change=change)
    assert taken is not None
    await taken
    assert change.seen == ["good"]


async def test_what_an_async_config_changed_raises_is_blamed_on_its_plugin(plugins_of: PluginsOf) -> None:
    class Unwilling:
        @hookimpl
        def config_changed(self, change: Change) -> Awaitable[None]:
            return self.take_over()

        async def take_over(self) -> None:
            raise RuntimeError("cannot reconnect")

    plugins = loaded(plugins_of, ("unwilling", Unwilling()))
    taken = plugins.tell(plugins.records[0], "config_changed", change=CHANGE)
    assert taken is not None
    with pytest.raises(HookFailed, match=r"Plugin unwilling failed in config_changed\."):
        await taken


async def test_awaiting_what_somebody_else_has_cancelled_is_a_failure_of_the_plugin(plugins_of: PluginsOf) -> None:
    class Hasty:
        @hookimpl
        async def config_changed(self, change: Change) -> None:
            before = asyncio.create_task(asyncio.sleep(0))
            before.cancel()
            await before

    plugins = loaded(plugins_of, ("hasty", Hasty()))
    taken = plugins.tell(plugins.records[0], "config_changed", change=CHANGE)
    assert taken is not None
    with pytest.raises(HookFailed, match=r"Plugin hasty failed in config_changed\."):
        await taken


def test_a_config_changed_that_is_done_leaves_nothing_to_await(plugins_of: PluginsOf) -> None:
    seen: list[Change] = []

    class Quick:
        @hookimpl
        def config_changed(self, change: Change) -> None:
            seen.append(change)

    plugins = loaded(plugins_of, ("quick", Quick()))
    assert plugins.tell(plugins.records[0], "config_changed", change=CHANGE) is None
    assert seen == [CHANGE]


def test_check_config_refuses_in_its_own_words(plugins_of: PluginsOf) -> None:
    class Strict:
        @hookimpl
        def check_config(self, change: Change) -> None:
            raise ConfigRefused("TICK_EVERY cannot be empty")

    plugins = loaded(plugins_of, ("strict", Strict()))
    with pytest.raises(ConfigRefused, match="TICK_EVERY cannot be empty"):
        plugins.ask(plugins.records[0], "check_config", change=CHANGE)


def test_objects_in_the_style_of_the_go_library_are_taken_too(plugins_of: PluginsOf) -> None:
    class Worker:
        async def start(self) -> None: ...

        async def stop(self) -> None: ...

    worker = Worker()

    class Plugin:
        @hookimpl
        def register_services(self) -> Iterator[object]:
            yield worker

    plugins = loaded(plugins_of, ("worker", Plugin()))
    assert plugins.call("register_services", runtime=None) == [(plugins.records[0], [worker])]


def test_a_hook_that_raises_is_blamed_on_its_plugin(plugins_of: PluginsOf) -> None:
    plugins = loaded(plugins_of, ("raising", Raising()), ("fine", Named("fine")))
    with pytest.raises(HookFailed) as raised:
        plugins.call("register_services", runtime=None)
    line = Raising.register_services.__code__.co_firstlineno + 2
    assert (
        render(diagnose(raised.value))
        == f"""\
Plugin raising failed in register_services.
  cause:  RuntimeError: no luck ({__file__}, line {line}).
  action: Correct it, or start without it: -x raising"""
    )


def test_an_error_of_eggycore_keeps_its_own_advice(plugins_of: PluginsOf) -> None:
    plugins = loaded(plugins_of, ("raising", Raising()))
    with pytest.raises(HookFailed) as raised:
        plugins.call("init_infra", runtime=None)
    line = Raising.init_infra.__code__.co_firstlineno + 2
    assert (
        render(diagnose(raised.value))
        == f"""\
Plugin raising failed in init_infra.
  cause:  No resource of type int is open ({__file__}, line {line}).
  action: Ask for it in a handler, a run function or an initializer that requires it; a plan opens nothing."""
    )


@pytest.mark.parametrize(
    ("answer", "got"),
    [("a secret", "str"), ({"a": 1}, "dict"), (Service, "type[Service]"), ([Service(name="a", run=serve), 1], "int")],
)
def test_a_wrong_result_is_named_by_type_and_never_shown(answer: object, got: str, plugins_of: PluginsOf) -> None:
    class Wrong:
        @hookimpl
        def register_services(self) -> object:
            return answer

    plugins = loaded(plugins_of, ("wrong", Wrong()))
    with pytest.raises(WrongResult) as raised:
        plugins.call("register_services", runtime=None)
    assert (
        render(diagnose(raised.value))
        == f"""\
Plugin wrong returned a value of type {got} from register_services.
  cause:  register_services may return a Service, several of them, or None.
  action: Correct it, or start without it: -x wrong"""
    )


def test_several_failing_plugins_are_reported_together(plugins_of: PluginsOf) -> None:
    plugins = loaded(plugins_of, ("one", Raising()), ("two", Raising()))
    with pytest.raises(PluginErrors) as raised:
        plugins.call("register_services", runtime=None)
    assert [problem.plugin for problem in raised.value.problems if isinstance(problem, HookFailed)] == ["one", "two"]


def test_an_optional_plugin_that_fails_in_a_hook_is_not_called_again(plugins_of: PluginsOf) -> None:
    selection = Selection(optional=frozenset({"raising"}))
    plugins = loaded(plugins_of, ("raising", Raising()), ("fine", Named("fine")), selection=selection)
    assert plugins.call("init_infra", runtime=None) == []
    assert [record.name for record in plugins.degraded] == ["raising"]
    assert names(plugins.call("register_services", runtime=None)) == [("fine", ["fine"])]


def test_a_function_registered_before_is_refused(plugins_of: PluginsOf) -> None:
    first, second = types.ModuleType("first"), types.ModuleType("second")
    first.register_services = second.register_services = Named("x").register_services
    plugins = plugins_of(objects=[("first", first), ("second", second)])
    with pytest.raises(PluginErrors) as raised:
        plugins.load()
    assert (
        render(diagnose(raised.value))
        == """\
Plugin second implements register_services with a function that plugin first registered before.
  cause:  It would be called twice.
  action: Import modules, not functions marked with @hookimpl, or start without it: -x second"""
    )


def test_two_objects_of_one_class_are_two_plugins(plugins_of: PluginsOf) -> None:
    plugins = loaded(plugins_of, ("one", Named("1")), ("two", Named("2")))
    assert names(plugins.call("register_services", runtime=None)) == [("one", ["1"]), ("two", ["2"])]


def test_two_runtimes_in_one_process_have_plugins_of_their_own(plugins_of: PluginsOf) -> None:
    one, two = (loaded(plugins_of, ("shared", Named("shared"))) for _ in range(2))
    assert names(one.call("register_services", runtime=None)) == names(two.call("register_services", runtime=None))
