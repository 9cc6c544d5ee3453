"""One call boots everything, for apps made in code: the Go library's `Bootstrap`."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from eggycore import config as configuration
from eggycore.adapters import ServiceLike
from eggycore.config import Config
from eggycore.hookspecs import hookimpl
from eggycore.process import Process, StopDuringSetup
from eggycore.runtime import Runtime
from eggycore.types import Service

__all__ = ["CodeApp", "abootstrap", "bootstrap"]


def bootstrap(cfg: Config, *services: Service | ServiceLike) -> int:
    """Run an app made in code, with every installed plugin, until a signal ends it. Blocks; main thread only.

    Args:
        cfg: The core's settings; those of plugins come from the environment.
        services: Services, or objects with async `start()` and `stop()`.

    Returns:
        The exit code: 0 stopped cleanly, 1 something had to be cut off.

    Raises:
        EggycoreError, Exception: Whatever made the start fail, or ended the process; everything is closed again.
    """
    configuration.set(cfg)
    return Runtime(app=CodeApp(services), given=[cfg]).run()


async def abootstrap(cfg: Config, *services: Service | ServiceLike) -> int:
    """`bootstrap` on the running event loop. Signals are handled when it runs in the main thread."""
    configuration.set(cfg)
    runtime = Runtime(app=CodeApp(services), given=[cfg])
    if threading.current_thread() is not threading.main_thread():
        runtime.start_logging()
        return await runtime.serve()
    with Process() as process:
        try:
            runtime.start_logging()
            process.attach(runtime)
        except StopDuringSetup:  # nothing was opened yet, so this is a clean stop
            return 0
        runtime.launcher.on_falling = process.must_end_within
        try:
            return await runtime.serve()
        finally:
            process.detach()


class CodeApp:
    """An app, or a plugin, that is nothing but services made in code."""

    def __init__(self, services: Sequence[Service | ServiceLike]) -> None:
        self._services = services

    @hookimpl
    def register_services(self, runtime: Runtime) -> Sequence[Service | ServiceLike]:
        return self._services
