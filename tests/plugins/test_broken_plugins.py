"""Every way in which a plugin can be broken is one report that says what, why and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore.plugin_errors import HookFailed, PluginErrors
from eggycore.plugins import Plugins, Selection

PluginsOf = Callable[..., Plugins]

TEN = (
    "import-error",
    "syntax-error",
    "wrong-argument",
    "unknown-hook",
    "duplicate-name",
    "too-new",
    "hook-raises",
    "wrong-type",
    "async-hook",
    "ordered-hook",
)
HOOKS = "check_config, config_changed, init_infra, register_health_checks, register_services, register_settings"
MESSAGES = {
    "import-error": """\
Plugin importerror (eggycore-importerror 1.0) cannot be imported.
  cause:  ModuleNotFoundError: No module named 'a_driver_that_is_not_installed' ({file}, line 3).
  action: Repair or upgrade eggycore-importerror, or start without it: -x importerror""",
    "syntax-error": """\
Plugin syntaxerror (eggycore-syntaxerror 1.0) cannot be imported.
  cause:  SyntaxError: expected ':' ({file}, line 3).
  action: Repair or upgrade eggycore-syntaxerror, or start without it: -x syntaxerror""",
    "exits": """\
Plugin exits (eggycore-exits 1.0) cannot be imported.
  cause:  SystemExit: no licence ({file}, line 5).
  action: Repair or upgrade eggycore-exits, or start without it: -x exits""",
    "no-module": """\
Plugin nomodule (eggycore-nomodule 1.0) cannot be imported.
  cause:  ModuleNotFoundError: No module named 'eggy_not_shipped'.
  action: Repair or upgrade eggycore-nomodule, or start without it: -x nomodule""",
    "wrong-argument": """\
Plugin wrongargument (eggycore-wrongargument 1.0) implements init_infra with the wrong argument loop.
  cause:  The hook is init_infra(runtime).
  action: Rename the argument or leave it out, or start without it: -x wrongargument""",
    "unknown-hook": f"""\
Plugin unknownhook (eggycore-unknownhook 1.0) implements 2 unknown hooks: \
register_servces (did you mean 'register_services'?), serve_tea.
  cause:  The hooks are {HOOKS}.
  action: Correct the names, or upgrade eggycore if it is too old for them, or start without it: -x unknownhook""",
    "unmarked-hook": """\
Plugin unmarkedhook (eggycore-unmarkedhook 1.0) has a function register_services without @hookimpl.
  cause:  It is named like a hook and would never be called.
  action: Write @hookimpl above it, or give it another name, or start without it: -x unmarkedhook""",
    "duplicate-name": """\
Plugin twin is advertised by 2 distributions: eggycore-twin 1.0 and other-twin 2.0.
  cause:  Nothing says which of them is meant, so none was loaded.
  action: Start without it (-x twin), or uninstall all but one, for example: pip uninstall other-twin""",
    "too-new": """\
Plugin toonew (eggycore-toonew 3.0) does not work with this eggycore.
  cause:  It requires eggycore>=99, and eggycore {eggycore} is running.
  action: Start without it (-x toonew), or install versions that fit: pip install --upgrade eggycore eggycore-toonew""",
    "hook-raises": """\
Plugin hookraises (eggycore-hookraises 1.0) failed in register_settings.
  cause:  ValueError: cannot read postgresql://app:***@db/app ({file}, line 8).
  action: Repair or upgrade eggycore-hookraises, or start without it: -x hookraises""",
    "wrong-type": """\
Plugin wrongtype (eggycore-wrongtype 1.0) returned a value of type str from register_settings.
  cause:  register_settings may return a Settings class, several of them, or None.
  action: Repair or upgrade eggycore-wrongtype, or start without it: -x wrongtype""",
    "async-hook": """\
Plugin asynchook (eggycore-asynchook 1.0) implements register_services as an async function.
  cause:  Hooks declare and the runtime awaits; config_changed is the only hook that may be async.
  action: Make it a plain function and await in Initializer.open or Service.run, or start without it: -x asynchook""",
    "ordered-hook": """\
Plugin orderedhook (eggycore-orderedhook 1.0) implements register_services with tryfirst.
  cause:  Hooks are called plugin by plugin in the given order, so that an error is blamed on the right one.
  action: Use a bare @hookimpl, and `requires` where order matters, or start without it: -x orderedhook""",
    "wrapper-hook": """\
Plugin wrapperhook (eggycore-wrapperhook 1.0) implements register_services with wrapper and trylast.
  cause:  Hooks are called plugin by plugin in the given order, so that an error is blamed on the right one.
  action: Use a bare @hookimpl, and `requires` where order matters, or start without it: -x wrapperhook""",
}


def message_of(case: str, fakes: Path) -> str:
    from eggycore import __version__

    modules = sorted((fakes / case).glob("*.py"))
    return MESSAGES[case].replace("{file}", str(modules[0])).replace("{eggycore}", __version__)


def report(plugins: Plugins) -> str:
    with pytest.raises(PluginErrors) as raised:
        plugins.load()
    return render(diagnose(raised.value))


@pytest.mark.parametrize("case", MESSAGES)
def test_a_broken_plugin_is_reported_with_what_why_and_what_to_do(
    case: str, plugins_of: PluginsOf, fakes: Path
) -> None:
    assert report(plugins_of(case)) == message_of(case, fakes)


@pytest.mark.parametrize("case", MESSAGES)
def test_a_broken_plugin_is_a_row_with_a_reason(case: str, plugins_of: PluginsOf, fakes: Path) -> None:
    plugins = plugins_of(case)
    report(plugins)
    description, cause, _ = message_of(case, fakes).split("\n")
    (record,) = plugins.records
    assert (record.state, record.reason) == ("broken", f"{description} {cause.removeprefix('  cause:  ')}")


def test_ten_broken_plugins_give_ten_reports_in_one_run(plugins_of: PluginsOf, fakes: Path) -> None:
    raised_later = ("hook-raises", "wrong-type")  # register_settings is called once everything is imported
    order = sorted(TEN, key=lambda case: (case in raised_later, MESSAGES[case]))
    parts = []
    for number, case in enumerate(order, 1):
        prefix = f"{number}. "
        parts.append(prefix + message_of(case, fakes).replace("\n", "\n" + " " * len(prefix)))
    expected = "\n\n".join(["There are 10 problems with the plugins and the app.", *parts])
    assert report(plugins_of("good", *TEN)) == expected


def test_a_broken_plugin_that_is_not_selected_hurts_nobody(plugins_of: PluginsOf) -> None:
    plugins = plugins_of("good", *TEN, selection=Selection(("good",)))
    plugins.load()
    states = {record.name: record.state for record in plugins.records}
    assert states.pop("good") == "active"
    assert set(states.values()) == {"not selected"}
    assert len(states) == 10


def test_an_optional_plugin_that_is_broken_is_skipped_and_recorded_as_degraded(plugins_of: PluginsOf) -> None:
    plugins = plugins_of("good", "import-error", selection=Selection(optional=frozenset({"importerror"})))
    plugins.load()
    (broken,) = plugins.degraded
    assert (broken.name, broken.state, broken.required) == ("importerror", "broken", False)
    assert [record.name for record, _ in plugins.settings()] == ["good"]


def test_the_cause_is_kept_for_the_traceback(plugins_of: PluginsOf) -> None:
    with pytest.raises(PluginErrors) as raised:
        plugins_of("import-error", "hook-raises").load()
    failed_hook, failed_import = sorted(raised.value.problems, key=lambda problem: type(problem).__name__)
    assert isinstance(failed_import.__cause__, ModuleNotFoundError)
    assert isinstance(failed_hook, HookFailed)
    assert (failed_hook.plugin, failed_hook.dist, failed_hook.version) == ("hookraises", "eggycore-hookraises", "1.0")
    assert failed_hook.hook == "register_settings"
    assert failed_hook.__cause__ is failed_hook.cause
    assert isinstance(failed_hook.cause, ValueError)


def test_a_plugin_with_several_faults_is_told_all_of_them(plugins_of: PluginsOf) -> None:
    from eggycore import hookimpl

    class Faulty:
        @hookimpl(tryfirst=True)
        async def init_infra(self, app: object) -> None: ...

        @hookimpl
        def register_sevices(self) -> None: ...

    text = report(plugins_of(objects=[("faulty", Faulty())]))
    assert text.startswith("There are 4 problems with the plugins and the app.")
    for fault in (
        "init_infra with tryfirst.",
        "init_infra as an async function.",
        "init_infra with the wrong argument app.",
        "an unknown hook: register_sevices (did you mean 'register_services'?).",
    ):
        assert f"Plugin faulty implements {fault}" in text
