"""`eggycore completion`: the script that a shell reads once to complete eggycore's commands."""

from __future__ import annotations

import os

import click
from click.shell_completion import get_completion_class

__all__ = ["command"]

_SHELLS = ("bash", "zsh", "fish")


@click.command(epilog='Example: eval "$(eggycore completion bash)"')
@click.argument("shell", type=click.Choice(_SHELLS), required=False)
@click.pass_context
def command(ctx: click.Context, shell: str | None) -> None:
    """Print the script that completes commands in your shell; the shell is guessed from $SHELL when not given.

    Put the line of the example into ~/.bashrc or ~/.zshrc; for fish: eggycore completion fish | source.
    """
    shell = shell or os.path.basename(os.environ.get("SHELL", ""))  # noqa: PTH119 -- a name, not a file
    completion = get_completion_class(shell) if shell in _SHELLS else None
    if completion is None:
        raise click.UsageError(f"Name your shell: eggycore completion [{'|'.join(_SHELLS)}].")
    click.echo(completion(ctx.find_root().command, {}, "eggycore", "_EGGYCORE_COMPLETE").source())
