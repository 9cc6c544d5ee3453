"""The options that commands share, those of plugins too: which app, which plugins, which settings."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from eggycore.cli.errors import VERBOSE

if TYPE_CHECKING:
    from eggycore.runtime import Runtime
    from eggycore.selection import Selection

__all__ = ["RuntimeOptions", "echo_json", "json_option", "plugin_options", "run_options", "runtime_options"]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class RuntimeOptions:
    """What the command line says about the runtime.

    Args:
        app: The app's module, None when the project decides.
        plugins: Value of `--plugins`, None when it was not given.
        exclude: Values of `-x`.
        overrides: Values of `--set`, by variable.
        verbose: Whether tracebacks are shown.
    """

    app: str | None = None
    plugins: str | None = None
    exclude: tuple[str, ...] = ()
    overrides: dict[str, str]
    verbose: bool = False

    def runtime(self, app: str | object | None = None) -> Runtime:
        """A runtime as the options say; nothing is read or imported yet.

        Args:
            app: Used when the options name none.

        Raises:
            ProjectError: pyproject.toml cannot be used.
        """
        from eggycore.runtime import Runtime

        return Runtime(app=self.app or app, selection=self.selection(), overrides=self.overrides)

    def selection(self) -> Selection:
        """Which plugins are meant: `--plugins` and `-x`, then the environment, then pyproject.toml.

        Raises:
            ProjectError: pyproject.toml cannot be used.
        """
        from eggycore.project import Project
        from eggycore.selection import Selection

        return Selection.read(self.plugins, self.exclude, os.environ, Project.read(Path.cwd()))


def runtime_options(function: F) -> F:
    """Give a click command the options of a runtime; the function gets them as its argument `options`.

    Example:
        >>> import click
        >>> from eggycore.cli.options import RuntimeOptions, runtime_options
        >>> @click.command()
        ... @runtime_options
        ... def tables(options: RuntimeOptions) -> None:
        ...     runtime = options.runtime()
        ...     runtime.configure()
    """
    return _APP_OPTION(_SET(plugin_options(function)))


def run_options(function: F) -> F:
    """Like `runtime_options`, with the app as an argument instead of an option."""
    return _APP_ARGUMENT(_SET(plugin_options(function)))


def plugin_options(function: F) -> F:
    """Like `runtime_options`, without an app and its settings."""
    return _PLUGINS(_EXCLUDE(_VERBOSE(_packed(function))))


def json_option(function: F) -> F:
    """Add `--json`; the function gets it as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")(function)


def echo_json(value: object) -> None:
    """Write a value to stdout as JSON that people can read too."""
    click.echo(json.dumps(value, indent=2))


def _packed(function: F) -> F:
    """The function with its options gathered into one argument."""

    @wraps(function)
    def call(
        *args: object,
        plugins: str | None,
        exclude: tuple[str, ...],
        verbose: bool,
        app: str | None = None,
        overrides: dict[str, str] | None = None,
        **rest: object,
    ) -> object:
        click.get_current_context().meta[VERBOSE] = verbose
        options = RuntimeOptions(app=app, plugins=plugins, exclude=exclude, overrides=overrides or {}, verbose=verbose)
        return function(*args, options=options, **rest)

    return cast(F, call)


def _assignments(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    for key, equals, _ in pairs:
        if not key or not equals:
            raise click.BadParameter("takes KEY=VALUE, for example --set LOG_LEVEL=debug.")  # the value may be a secret
    return {key: value for key, _, value in pairs}


_APP_ARGUMENT = click.argument("app", required=False)
_APP_OPTION = click.option("--app", metavar="APP", help="Module of the app.")
_VERBOSE = click.option("-v", "--verbose", is_flag=True, help="Show tracebacks.")
_EXCLUDE = click.option("-x", "exclude", metavar="NAME", multiple=True, help="Leave a plugin out.")
_PLUGINS = click.option("--plugins", metavar="NAMES", help="Use exactly these plugins, as in db,cache; '' for none.")
_SET = click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_assignments,
    help="Set a variable; wins over every other source.",
)
