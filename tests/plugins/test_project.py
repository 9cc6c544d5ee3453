"""The project's pyproject.toml, and which app is meant."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore.errors import UsageError
from eggycore.plugin_errors import PluginErrors
from eggycore.plugins import Plugins
from eggycore.project import AppNotFound, NoApp, Project, ProjectError, SeveralApps, find_app

PluginsOf = Callable[..., Plugins]


@pytest.fixture(autouse=True)
def own_import_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    before = sys.modules.copy()
    yield
    for name in sys.modules.keys() - before.keys():
        if name.startswith("eggyapp"):
            del sys.modules[name]


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        file = folder / name.replace("_toml", ".toml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def install_app(folder: Path, name: str, dist: str) -> None:
    info = folder / f"{dist.replace('-', '_')}-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Name: {dist}\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text(f"[eggycore.apps]\n{name} = {name}_app\n")


def message(error: UsageError) -> str:
    assert error.exit_code == 2
    return render(diagnose(error))


def test_a_project_is_read_from_pyproject_toml(tmp_path: Path) -> None:
    write(
        tmp_path,
        pyproject_toml="""\
[project]
name = "forms"
[tool.eggycore]
app = "forms_app"
plugins = ["db", "cache"]
optional = ["cache"]
""",
    )
    assert Project.read(tmp_path) == Project(
        folder=tmp_path, name="forms", app="forms_app", plugins=("db", "cache"), optional=("cache",)
    )


def test_a_folder_without_pyproject_toml_is_a_project_that_says_nothing(tmp_path: Path) -> None:
    assert Project.read(tmp_path) == Project(folder=tmp_path, app=None, plugins=None)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            "[tool.eggycore]\napp = forms\n",
            "It is not TOML: Invalid value (at line 2, column 7).",
        ),
        ("[tool.eggycore]\napp = 3\n", "[tool.eggycore] app is not the name of a module."),
        ("[tool.eggycore]\nplugins = 'db'\n", "[tool.eggycore] plugins is not a list of names."),
        ("[tool]\neggycore = 1\n", "eggycore is not a table."),
        (
            "[tool.eggycore]\nplugin = ['db']\n",
            "[tool.eggycore] has the unknown key 'plugin'. Did you mean 'plugins'?",
        ),
        (
            "[tool.eggycore]\nx = 1\n",
            "[tool.eggycore] has the unknown key 'x'. It knows app, optional, plugins.",
        ),
    ],
)
def test_what_cannot_be_used_is_told_with_its_place(text: str, cause: str, tmp_path: Path) -> None:
    write(tmp_path, pyproject_toml=text)
    with pytest.raises(ProjectError) as raised:
        Project.read(tmp_path)
    assert (
        message(raised.value)
        == f"""\
{tmp_path}/pyproject.toml cannot be used.
  cause:  {cause}
  action: Correct the file; [tool.eggycore] takes app = "module" and plugins = ['name', ...]."""
    )


def test_the_argument_wins_over_the_project_and_the_project_over_what_is_installed(tmp_path: Path) -> None:
    install_app(tmp_path, "installed", "installed-dist")
    path = [str(tmp_path)]
    project = Project(folder=tmp_path, app="configured.app")
    assert find_app("given", project, path=path).value == "given"
    assert find_app(None, project, path=path).value == "configured.app"
    assert find_app(None, project, path=path).name == "configured"
    app = find_app(None, Project(folder=tmp_path), path=path)
    assert (app.value, app.name) == ("installed_app", "installed")
    assert str(app.origin) == "app installed_app (installed-dist 2.0)"


def test_several_installed_apps_are_listed(tmp_path: Path) -> None:
    install_app(tmp_path, "one", "one-dist")
    install_app(tmp_path, "two", "two-dist")
    with pytest.raises(SeveralApps) as raised:
        find_app(None, Project(folder=tmp_path), path=[str(tmp_path)])
    assert (
        message(raised.value)
        == """\
No app is named, and several are installed.
  cause:  Installed: one_app (one-dist 2.0), two_app (two-dist 2.0).
  action: Say which one, for example: eggycore run one_app"""
    )


def test_no_app_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(NoApp) as raised:
        find_app(None, Project(folder=tmp_path), path=[])
    assert (
        message(raised.value)
        == f"""\
No app is named.
  cause:  There is no [tool.eggycore] app in {tmp_path}/pyproject.toml, and no installed distribution offers one.
  action: Name the module with your hooks: [tool.eggycore] app = "MODULE" in that file, or eggycore run MODULE"""
    )


def test_the_folder_of_the_project_is_importable(tmp_path: Path) -> None:
    write(tmp_path, **{"eggyapp_here.py": "ready = True\n"})
    assert find_app("eggyapp_here", Project(folder=tmp_path), path=[]).load().ready is True


def test_an_object_inside_a_module_can_be_an_app(tmp_path: Path) -> None:
    write(tmp_path, **{"eggyapp_object.py": "class hooks:\n    inner = 'here'\n"})
    assert find_app("eggyapp_object:hooks.inner", Project(folder=tmp_path), path=[]).load() == "here"


def test_an_app_knows_its_distribution_when_it_is_installed(tmp_path: Path) -> None:
    write(tmp_path, **{"eggyapp_dist.py": "", "somewhere/forms-1.0.dist-info/METADATA": "Name: forms\nVersion: 1.0\n"})
    project = Project(folder=tmp_path, name="forms")
    assert (
        str(find_app("eggyapp_dist", project, path=[f"{tmp_path}/somewhere"]).origin) == "app eggyapp_dist (forms 1.0)"
    )
    assert str(find_app("eggyapp_dist", project, path=[]).origin) == "app eggyapp_dist"
    assert str(find_app("json", project, path=[f"{tmp_path}/somewhere"]).origin) == "app json"


@pytest.mark.parametrize(
    ("asked", "missing", "guess"),
    [
        ("eggyapp_form", "eggyapp_form", " Did you mean 'eggyapp_forms'?"),
        ("eggyapp_forms.hoks", "eggyapp_forms.hoks", " Did you mean 'eggyapp_forms.hooks'?"),
        ("./eggyapp_forms/hooks.py", "./eggyapp_forms/hooks.py", " Did you mean 'eggyapp_forms.hooks'?"),
        ("unlike_anything", "unlike_anything", ""),
    ],
)
def test_an_app_that_does_not_exist_gets_a_guess(asked: str, missing: str, guess: str, tmp_path: Path) -> None:
    write(tmp_path, **{"eggyapp_forms/__init__.py": "", "eggyapp_forms/hooks.py": ""})
    with pytest.raises(AppNotFound) as raised:
        find_app(asked, Project(folder=tmp_path), path=[]).load()
    assert (
        message(raised.value)
        == f"""\
App {asked!r} was not found.{guess}
  cause:  There is no module {missing!r} in {tmp_path}, nor among the installed distributions.
  action: Give the module as you would import it, or start eggycore in the folder that holds it."""
    )


def test_an_app_that_imports_something_missing_is_not_called_missing(tmp_path: Path, plugins_of: PluginsOf) -> None:
    write(tmp_path, **{"eggyapp_broken.py": "import eggyapp_nowhere\n"})
    plugins = plugins_of(app="eggyapp_broken")
    with pytest.raises(PluginErrors) as raised:
        plugins.load()
    assert (
        message(raised.value)
        == f"""\
App eggyapp_broken cannot be imported.
  cause:  ModuleNotFoundError: No module named 'eggyapp_nowhere' ({tmp_path}/eggyapp_broken.py, line 1).
  action: Install what has the module 'eggyapp_nowhere', or correct the import."""
    )


def test_what_is_wrong_with_project_app_and_plugins_comes_in_one_report(tmp_path: Path, plugins_of: PluginsOf) -> None:
    write(tmp_path, pyproject_toml="[tool.eggycore]\nplugins = 1\n")
    plugins = plugins_of("import-error", app=None)
    assert [record.state for record in plugins.find()] == ["active"]
    with pytest.raises(PluginErrors) as raised:
        plugins.load()
    assert [type(problem).__name__ for problem in raised.value.problems] == [
        "ProjectError",
        "NoApp",
        "PluginImportFailed",
    ]
