"""Plugins are chosen by name before anything is imported."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore.plugin_errors import PluginErrors
from eggycore.plugins import Plugins, Selection
from eggycore.project import Project

PluginsOf = Callable[..., Plugins]
FOLDER = Path("/srv/app")


def chosen(
    flag: str | None, environ: dict[str, str] | None = None, project: tuple[str, ...] | None = None
) -> tuple[tuple[str, ...] | None, str]:
    selection = Selection.read(flag, (), environ or {}, Project(folder=FOLDER, plugins=project))
    return selection.names, selection.source


def test_the_flag_wins_over_the_environment_and_the_environment_over_the_project() -> None:
    environ = {"EGGYCORE_PLUGINS": "cache"}
    assert chosen("db", environ, ("monitoring",)) == (("db",), "--plugins")
    assert chosen(None, environ, ("monitoring",)) == (("cache",), "EGGYCORE_PLUGINS")
    assert chosen(None, {}, ("monitoring",)) == (("monitoring",), "[tool.eggycore] plugins")


def test_an_empty_flag_or_variable_or_list_selects_none_and_silence_selects_all() -> None:
    assert chosen("", {"EGGYCORE_PLUGINS": "cache"})[0] == ()
    assert chosen(None, {"EGGYCORE_PLUGINS": ""}, ("db",))[0] == ()
    assert chosen(None, {}, ())[0] == ()
    assert chosen(None)[0] is None


def test_names_keep_their_order_and_lose_blanks_and_repetitions() -> None:
    assert chosen(" db, cache,,db ")[0] == ("db", "cache")


def test_exclusions_and_optional_plugins_are_lists_too() -> None:
    environ = {"EGGYCORE_OPTIONAL_PLUGINS": "alerts, trends"}
    selection = Selection.read(None, ["db,cache", "broker"], environ, Project(folder=FOLDER, optional=("db",)))
    assert selection.exclude == {"db", "cache", "broker"}
    assert selection.optional == {"alerts", "trends"}
    assert Selection.read(None, [], {}, Project(folder=FOLDER, optional=("db",))).optional == {"db"}


def test_an_unselected_plugin_is_listed_and_never_imported(plugins_of: PluginsOf) -> None:
    plugins = plugins_of("good", "import-error", selection=Selection(()))
    plugins.load()
    assert [(record.name, record.state, record.hooks) for record in plugins.records] == [
        ("good", "not selected", ()),
        ("importerror", "not selected", ()),
    ]
    assert "eggy_good" not in sys.modules


def test_finding_imports_nothing(plugins_of: PluginsOf) -> None:
    (record,) = plugins_of("good").find()
    assert (record.name, record.dist, record.version, record.state) == ("good", "eggycore-good", "1.2.0", "active")
    assert "eggy_good" not in sys.modules


def test_an_excluded_plugin_is_left_out_even_when_it_is_named(plugins_of: PluginsOf) -> None:
    plugins = plugins_of("good", selection=Selection(("good",), exclude=frozenset({"good"})))
    plugins.load()
    assert [record.state for record in plugins.records] == ["not selected"]


def test_all_installed_plugins_are_taken_by_name_and_named_ones_in_the_given_order(plugins_of: PluginsOf) -> None:
    objects = [("second", object()), ("first", object())]
    everything = plugins_of("good", objects=objects)
    assert [record.name for record in everything.find()] == ["good", "second", "first"]
    named = plugins_of("good", objects=objects, selection=Selection(("first", "good")))
    assert [record.name for record in named.find()] == ["first", "good", "second"]


def test_an_object_replaces_an_installed_plugin_of_its_name(plugins_of: PluginsOf) -> None:
    stand_in = object()
    plugins = plugins_of("good", objects=[("good", stand_in)])
    plugins.load()
    (record,) = plugins.records
    assert record.module is stand_in
    assert "eggy_good" not in sys.modules


def test_without_discovery_neither_installed_plugins_nor_the_environment_nor_an_app_are_looked_at(
    plugins_of: PluginsOf,
) -> None:
    plugins = plugins_of("good", discover=False, app=None, selection=None, environ={"EGGYCORE_PLUGINS": "good"})
    plugins.load()
    assert plugins.records == ()
    assert plugins.app is None


def test_an_unknown_name_gets_a_guess_and_the_pip_command(plugins_of: PluginsOf) -> None:
    plugins = plugins_of("good", selection=Selection.read("goood", (), {}, Project(folder=FOLDER)))
    with pytest.raises(PluginErrors) as raised:
        plugins.load()
    assert (
        render(diagnose(raised.value))
        == """\
Plugin 'goood' is not installed. Did you mean 'good'?
  cause:  --plugins names it. Installed: good.
  action: Correct the name, or install it: pip install eggycore-goood"""
    )
    assert raised.value.exit_code == 2
    assert [(record.name, record.state) for record in plugins.records] == [
        ("goood", "broken"),
        ("good", "not selected"),
    ]


def test_an_unknown_exclusion_is_told_as_well(plugins_of: PluginsOf) -> None:
    plugins = plugins_of(selection=Selection(exclude=frozenset({"no such; rm"})))
    with pytest.raises(PluginErrors) as raised:
        plugins.load()
    assert (
        render(diagnose(raised.value))
        == """\
Plugin 'no such; rm' is not installed.
  cause:  -x names it. No plugin is installed.
  action: Correct the name."""
    )


def test_an_optional_plugin_may_be_missing(plugins_of: PluginsOf) -> None:
    plugins = plugins_of("good", selection=Selection(("good", "trends"), optional=frozenset({"trends"})))
    plugins.load()
    (missing,) = plugins.degraded
    assert missing.name == "trends"
    assert missing.reason == "Plugin 'trends' is not installed. --plugins names it. Installed: good."


def test_the_first_distribution_of_a_name_wins_as_on_import(plugins_of: PluginsOf, tmp_path: Path, fakes: Path) -> None:
    older = tmp_path / "eggycore_good-0.9.dist-info"
    older.mkdir()
    (older / "METADATA").write_text("Name: Eggycore.Good\nVersion: 0.9\n")
    (older / "entry_points.txt").write_text("[eggycore.plugins]\ngood = eggy_old\n")
    (record,) = plugins_of("good", path=[str(tmp_path)]).find()
    assert record.version == "1.2.0"
    (record,) = plugins_of(path=[str(tmp_path), str(fakes / "good")]).find()
    assert record.version == "0.9"
