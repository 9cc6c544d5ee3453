"""`eggycore run`: one process of one app."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from eggycore.cli.options import RuntimeOptions, run_options

if TYPE_CHECKING:
    from eggycore.runtime import Runtime

__all__ = ["command"]


@click.command(epilog="Example: eggycore run my_app --plugins db,cache --set LOG_LEVEL=debug")
@run_options
@click.option("--dev", is_flag=True, help="Start again whenever the code in this folder changes; log for people.")
@click.option("--timeline", is_flag=True, help="Show at the end what took how long, on stderr.")
@click.pass_context
def command(ctx: click.Context, options: RuntimeOptions, dev: bool, timeline: bool) -> None:
    """Run an app: APP is the module with its hooks, else pyproject.toml or the installed app decides.

    Exit codes: 0 stopped cleanly, 1 failed, 2 usage or configuration.
    """
    if dev:
        from eggycore.cli.dev import run_dev

        ctx.exit(run_dev(options, timeline=timeline))
    gc.disable()  # a tenth of the start would go into looking for garbage among what is there to stay
    with _stops_are_clean():
        runtime = options.runtime()
        try:
            code = runtime.run(on_ready=_start_collecting)
        except Exception as error:
            if options.verbose or not _is_read_already(runtime):
                raise
            code = getattr(error, "exit_code", 1)
        finally:
            gc.enable()
            if timeline:
                click.echo(runtime.timeline.render(), err=True)
    ctx.exit(code)


def _start_collecting() -> None:
    """What the start has made is not looked at any more; garbage is collected from here on."""
    gc.freeze()
    gc.enable()


def _is_read_already(runtime: Runtime) -> bool:
    """Whether the log told the reason right here: its lines are for people, and go where stderr goes."""
    if all(span.phase != "plan" for span in runtime.timeline.spans):
        return False  # it failed before there was a log
    from eggycore.config import Config
    from eggycore.log.levels import ERROR
    from eggycore.log.options import StreamOutput
    from eggycore.log.settings import LogSettings

    core, outputs = runtime.config[Config], runtime.config[LogSettings].options().outputs
    if core.log_format != "console" or core.log_level == "fatal":
        return False
    streams = {output.stream for output in outputs if isinstance(output, StreamOutput) and output.level <= ERROR}
    return "stderr" in streams or ("stdout" in streams and os.path.sameopenfile(1, 2))


@contextmanager
def _stops_are_clean() -> Iterator[None]:
    """Until the runtime handles signals nothing is open, and a stop ends the process with exit code 0."""
    before = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
