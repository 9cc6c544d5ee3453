"""`eggycore config env-example`, `docs` and `schema`: what could be set, for people and for their editors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from eggycore.cli.options import RuntimeOptions, echo_json, runtime_options

if TYPE_CHECKING:
    from eggycore.runtime import Runtime

__all__ = ["docs", "example", "schema"]


@click.command(
    "env-example",
    short_help="Write an example .env file.",
    epilog="Example: eggycore config env-example > .env.example",
)
@runtime_options
def example(options: RuntimeOptions) -> None:
    """Write a .env file that names every variable of the app and of the selected plugins."""
    from eggycore.config import env_example

    runtime = _declaring(options)
    app = runtime.plugins.app
    click.echo(env_example(runtime.declared, known={"SERVICE_NAME": app.name} if app else {}), nl=False)


@click.command(
    short_help="Write the reference of all variables, in Markdown.",
    epilog="Example: eggycore config docs > docs/settings.md",
)
@runtime_options
@click.option(
    "--write",
    "page",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    metavar="FILE",
    help="Renew the block between the two markers of this page, and nothing else of it.",
)
@click.option(
    "--check",
    "checked",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    metavar="FILE",
    help="Write nothing; exit code 1 when that block of this page is out of date.",
)
def docs(options: RuntimeOptions, page: Path | None, checked: Path | None) -> None:
    """Write the reference of all variables of the app and of the selected plugins, in Markdown.

    It stands between two markers, by which --write and --check find it again in a page that says more.
    """
    from eggycore.config.reference import reference_block

    if page is not None and checked is not None:
        raise click.UsageError("--write and --check exclude each other.")
    runtime = _declaring(options)
    if page is not None:
        page.write_text(_renewed(page, runtime), encoding="utf-8")
    elif checked is not None:
        _check(checked, runtime)
    else:
        click.echo(reference_block(runtime.declared))


@click.command(
    short_help="Write a JSON Schema of the files in config/, for editors.",
    epilog="Example: eggycore config schema > config/schema.json",
)
@runtime_options
@click.option("--module", default="", metavar="NAME", help="For the files in config/NAME/ instead of those in config/.")
def schema(options: RuntimeOptions, module: str) -> None:
    """Write a JSON Schema of the files in config/, for editors.

    It knows every variable of the app and of the selected plugins, by its name and nested below its first word.
    """
    from eggycore.config.schema import json_schema, module_names
    from eggycore.diagnostics import did_you_mean

    runtime = _declaring(options)
    if module and (known := module_names(runtime.declared)) and module.lower().replace("-", "_") not in known:
        guess = did_you_mean(module.lower(), known)
        raise click.BadParameter(f"no variable begins with {module.upper()}_.{guess}", param_hint="--module")
    app = runtime.plugins.app
    echo_json(json_schema(runtime.declared, title=f"Configuration of {app.name if app else 'eggycore'}", module=module))


def _declaring(options: RuntimeOptions) -> Runtime:
    """A runtime that knows every variable, whether the configuration is right or not: nothing of it is asked for."""
    runtime = options.runtime()
    runtime.examine()
    return runtime


def _renewed(page: Path, runtime: Runtime) -> str:
    from eggycore.config.reference import NoReferenceBlock, reference_markdown, replace_reference

    try:
        return replace_reference(page.read_text(encoding="utf-8"), reference_markdown(runtime.declared))
    except NoReferenceBlock:
        raise NoReferenceBlock(str(page)) from None


def _check(page: Path, runtime: Runtime) -> None:
    if _renewed(page, runtime) == page.read_text(encoding="utf-8"):
        click.echo(f"{page} is up to date.")
        return
    click.echo(f"{page} is out of date. Renew it: eggycore config docs --write {page}", err=True)
    raise SystemExit(1)
