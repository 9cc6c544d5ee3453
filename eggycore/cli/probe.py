"""`eggycore probe`: the exit code that a container's health check needs, from the health port of a running process."""

from __future__ import annotations

import http.client
import os

import click

__all__ = ["command"]

_ANY_HOST = ("", "0.0.0.0", "::")  # noqa: S104 -- compared with, not bound
_PATHS = {"live": "/livez", "ready": "/readyz", "startup": "/startupz"}


@click.command(epilog="Example: HEALTHCHECK CMD eggycore probe live")
@click.argument("kind", type=click.Choice(tuple(_PATHS)), default="ready")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    envvar="HEALTH_CHECK_PORT",
    default=8081,
    show_default=True,
    show_envvar=True,
    help="Health port of the process.",
)
@click.option("--timeout", type=click.FloatRange(0.01), default=2.0, show_default=True, help="Seconds to wait.")
def command(kind: str, port: int, timeout: float) -> None:
    """Ask a running process how it is; for container health checks.

    Exit code 0 when the probe is green, 1 when it is red or nobody answers.
    """
    host = os.environ.get("BIND_HOST", "")
    connection = http.client.HTTPConnection("127.0.0.1" if host in _ANY_HOST else host, port, timeout=timeout)
    try:
        connection.request("GET", _PATHS[kind])
        with connection.getresponse() as response:
            body = response.read(4096).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        click.echo(f"{kind}: no answer from {connection.host}:{port}: {why}", err=True)
        raise SystemExit(1) from None
    finally:
        connection.close()
    click.echo(f"{kind}: {response.status} {body}")
    if response.status != http.client.OK:
        raise SystemExit(1)
