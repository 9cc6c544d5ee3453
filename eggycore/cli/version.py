"""`eggycore version`: what to write into a bug report."""

from __future__ import annotations

import platform

import click

from eggycore import __version__

__all__ = ["command", "versions"]


@click.command(epilog="Example: eggycore version")
def command() -> None:
    """Show the versions of eggycore, Python and the platform."""
    click.echo("\n".join(f"{name} {version}" for name, version in versions().items()))


def versions() -> dict[str, str]:
    """What is running, by name."""
    return {
        "eggycore": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "platform": platform.platform(),
    }
