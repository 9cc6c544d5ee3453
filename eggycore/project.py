"""The folder that eggycore runs in: what its pyproject.toml says, and which app is meant."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from eggycore import entry_points
from eggycore.diagnostics import Diagnosis, diagnose, did_you_mean
from eggycore.errors import UsageError
from eggycore.types import Origin

__all__ = ["App", "AppNotFound", "NoApp", "Project", "ProjectError", "SeveralApps", "find_app"]

_KEYS = ("app", "optional", "plugins")


@dataclass(frozen=True, kw_only=True)
class Project:
    """A folder with what its pyproject.toml says about eggycore.

    Args:
        folder: The folder; the app and its modules are imported from here.
        name: `[project] name`, "" when there is none.
        app: `[tool.eggycore] app`, or None.
        plugins: `[tool.eggycore] plugins`; None when it says nothing, which is not the same as an empty list.
        optional: `[tool.eggycore] optional`: plugins that are skipped when they are broken.
    """

    folder: Path
    name: str = ""
    app: str | None = None
    plugins: tuple[str, ...] | None = None
    optional: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Project:
        """The project in this folder; an empty one where there is no pyproject.toml.

        Raises:
            ProjectError: The file cannot be read, or says something that cannot be used.
        """
        file = folder / "pyproject.toml"
        content = _toml(file)
        table = _table(file, _table(file, content, "tool"), "eggycore")
        for key in table:
            if key not in _KEYS:
                guess = did_you_mean(key, _KEYS) or f" It knows {', '.join(_KEYS)}."
                raise ProjectError(file, f"[tool.eggycore] has the unknown key {key!r}.{guess}")
        name = _table(file, content, "project").get("name", "")
        return cls(
            folder=folder,
            name=name if isinstance(name, str) else "",
            app=_app(file, table.get("app")),
            plugins=_names(file, "plugins", table["plugins"]) if "plugins" in table else None,
            optional=_names(file, "optional", table.get("optional", [])),
        )

    def put_on_path(self) -> None:
        """Make the folder's modules importable, before those of any installed distribution."""
        folder = str(self.folder)
        if folder not in sys.path:
            sys.path.insert(0, folder)


@dataclass(frozen=True, kw_only=True)
class App:
    """The user's plugin: the module (or object) whose hooks run after those of all plugins.

    Args:
        name: Short name: that of its entry point, else the module's first part. The default of SERVICE_NAME.
        origin: Who it is in reports.
        folder: Where its modules are looked for, for the message when there is none.
        value: "module" or "module:object"; "" when `target` is given.
        target: The object itself when it was made in code.
    """

    name: str
    origin: Origin
    folder: Path
    value: str = ""
    target: object | None = None

    def load(self) -> object:
        """The app's module or object, imported if need be. Whatever its import raises is raised.

        Raises:
            AppNotFound: There is no such module; one that imports something missing raises its own error.
        """
        if not self.value:
            return self.target
        module = self.value.partition(":")[0]
        if not all(part.isidentifier() for part in module.split(".")):
            raise AppNotFound(self.value, self.folder, module, ())
        try:
            return entry_points.load(self.value)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise
            raise AppNotFound(self.value, self.folder, error.name, _modules_beside(self.folder, error.name)) from error


def find_app(app: object | str | None, project: Project, *, path: Sequence[str] | None = None) -> App:
    """The app that is meant; it is not imported yet. The project's folder is put on `sys.path`.

    Args:
        app: "module" or "module:object", an object with hookimpls, or None: then `[tool.eggycore] app` decides, and
            after that the only installed entry point of group "eggycore.apps".
        project: The project of the current folder.
        path: Where installed distributions are searched; `sys.path` when None.

    Raises:
        NoApp: Nothing names an app.
        SeveralApps: Several are installed and nothing says which.
    """
    project.put_on_path()
    if app is not None and not isinstance(app, str):
        return _made_in_code(app, project)
    value = project.app if app is None else app
    installed = entry_points.find(entry_points.APPS, path)
    if value is None:
        if not installed:
            raise NoApp(project.folder)
        if len(installed) > 1:
            raise SeveralApps(tuple(f"{entry.value} ({entry.dist})" for entry in installed), installed[0].value)
        value = installed[0].value
    advertised = next((entry for entry in installed if entry.value == value), None)
    module = value.partition(":")[0]
    dist = advertised.dist if advertised else _distribution(module, project, path)
    return App(
        name=advertised.name if advertised else module.partition(".")[0],
        origin=Origin(value, dist.name, dist.version, kind="app") if dist else Origin(value, kind="app"),
        folder=project.folder,
        value=value,
    )


@dataclass(eq=False)
class ProjectError(UsageError):
    """The project's pyproject.toml cannot be used. `reason` is one or two sentences."""

    file: Path
    reason: str


@diagnose.register
def _(error: ProjectError) -> Diagnosis:
    return Diagnosis(
        description=f"{error.file} cannot be used.",
        cause=error.reason,
        action="Correct the file; [tool.eggycore] takes app = \"module\" and plugins = ['name', ...].",
    )


@dataclass(eq=False)
class NoApp(UsageError):
    """Nothing says which app to run."""

    folder: Path


@diagnose.register
def _(error: NoApp) -> Diagnosis:
    return Diagnosis(
        description="No app is named.",
        cause=f"There is no [tool.eggycore] app in {error.folder}/pyproject.toml,"
        " and no installed distribution offers one.",
        action='Name the module with your hooks: [tool.eggycore] app = "MODULE" in that file, or eggycore run MODULE',
    )


@dataclass(eq=False)
class SeveralApps(UsageError):
    """Several apps are installed. `apps` are shown, `first` is the module of one of them."""

    apps: tuple[str, ...]
    first: str


@diagnose.register
def _(error: SeveralApps) -> Diagnosis:
    return Diagnosis(
        description="No app is named, and several are installed.",
        cause=f"Installed: {', '.join(error.apps)}.",
        action=f"Say which one, for example: eggycore run {error.first}",
    )


@dataclass(eq=False)
class AppNotFound(UsageError):
    """There is no such module.

    Args:
        app: What was asked for.
        folder: The folder where it was looked for, besides the installed distributions.
        missing: The part of the name that does not exist.
        near: Modules that do exist in its place.
    """

    app: str
    folder: Path
    missing: str
    near: tuple[str, ...]


@diagnose.register
def _(error: AppNotFound) -> Diagnosis:
    as_module = error.app.removesuffix(".py").strip("./").replace("/", ".")
    guess = f" Did you mean {as_module!r}?" if "/" in error.app or error.app.endswith(".py") else ""
    return Diagnosis(
        description=f"App {error.app!r} was not found.{guess or did_you_mean(error.missing, error.near)}",
        cause=f"There is no module {error.missing!r} in {error.folder}, nor among the installed distributions.",
        action="Give the module as you would import it, or start eggycore in the folder that holds it.",
    )


def _made_in_code(app: object, project: Project) -> App:
    named = app.__name__ if isinstance(app, ModuleType) else type(app).__qualname__
    dist = _distribution(named, project, None) if isinstance(app, ModuleType) else None
    origin = Origin(named, dist.name, dist.version, kind="app") if dist else Origin(named, kind="app")
    return App(name=named.partition(".")[0], origin=origin, folder=project.folder, target=app)


def _distribution(module: str, project: Project, path: Sequence[str] | None) -> entry_points.Distribution | None:
    """The distribution of a module: the one named like its package, else the project's if it holds the module."""
    package = module.partition(".")[0]
    if found := entry_points.installed(package, path):
        return found
    if project.name and package in _modules_beside(project.folder, package):
        return entry_points.installed(project.name, path)
    return None


def _modules_beside(folder: Path, name: str) -> tuple[str, ...]:
    """The modules in the folder where the module `name` would be, with their dotted names."""
    *parents, _ = name.split(".")
    place = folder.joinpath(*parents)
    if not place.is_dir():
        return ()
    prefix = "".join(f"{parent}." for parent in parents)
    found = [item.stem for item in place.iterdir() if item.suffix == ".py" or (item / "__init__.py").is_file()]
    return tuple(sorted(f"{prefix}{stem}" for stem in found if stem.isidentifier()))


def _toml(file: Path) -> dict[str, object]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(file, f"It cannot be read: {error}.") from error
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProjectError(file, f"It is not TOML: {error}.") from error


def _table(file: Path, content: dict[str, object], key: str) -> dict[str, object]:
    table = content.get(key, {})
    if not isinstance(table, dict):
        raise ProjectError(file, f"{key} is not a table.")
    return table


def _app(file: Path, value: object) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    raise ProjectError(file, "[tool.eggycore] app is not the name of a module.")


def _names(file: Path, key: str, value: object) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise ProjectError(file, f"[tool.eggycore] {key} is not a list of names.")
