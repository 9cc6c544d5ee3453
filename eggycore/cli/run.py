"""`eggycore run`: one process of one app."""

from __future__ import annotations

import click

from eggycore.cli.errors import tell
from eggycore.cli.options import RuntimeOptions, run_options

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
    from eggycore.errors import EggycoreError
    from eggycore.process import EXIT_FAILED, StopDuringSetup

    runtime = options.runtime()
    try:
        code = runtime.run()
    except StopDuringSetup:  # nothing was opened yet, so this is a clean stop
        code = 0
    except EggycoreError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a plugin or the app raised on the way up, or at run time
        tell(error, verbose=options.verbose)
        code = EXIT_FAILED
    finally:
        if timeline:
            click.echo(runtime.timeline.render(), err=True)
    ctx.exit(code)
