"""What a failed command says: the diagnosis on stderr, the traceback only when asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

__all__ = ["VERBOSE", "reporting", "tell"]

VERBOSE = "eggycore.verbose"
"""Key in `click.Context.meta`: whether tracebacks are shown."""


@contextmanager
def reporting(ctx: click.Context) -> Iterator[None]:
    """Turns an error into its diagnosis and exit code; click's own ways out and broken pipes are left to click."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
        raise
    except Exception as error:  # noqa: BLE001 -- the border: nobody is shown a bare traceback
        tell(error, verbose=ctx.meta.get(VERBOSE, False))
        ctx.exit(getattr(error, "exit_code", 1))


def tell(error: BaseException, *, verbose: bool) -> None:
    """Write the diagnosis of an error to stderr, and when verbose the tracebacks of all that led to it."""
    from eggycore.diagnostics import explain

    if verbose:
        _write_tracebacks(error)
    click.echo(f"eggycore: {explain(error)}", err=True)


def _write_tracebacks(error: BaseException) -> None:
    import traceback

    for problem in getattr(error, "problems", ()) or (error,):
        if isinstance(problem, BaseException):
            traceback.print_exception(problem, file=sys.stderr)
