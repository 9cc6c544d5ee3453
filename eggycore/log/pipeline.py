"""The one log of the process: level, sampling, rendering, sink; set up by `start`, taken down by `stop`."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial

from eggycore.log.bridge import Bridge
from eggycore.log.console import Console, wants_colour
from eggycore.log.errors import LogTargetError
from eggycore.log.files import open_file
from eggycore.log.levels import FATAL, NAMES, WARN, Level, number_of
from eggycore.log.lines import Lines
from eggycore.log.options import FileOutput, Format, Options, StreamOutput
from eggycore.log.sampling import Sampler
from eggycore.log.sink import Sink
from eggycore.log.streams import standard_stream, tell_stderr
from eggycore.log.targets import Outlet, Target

__all__ = ["PIPELINE", "Pipeline"]


class _LastResort:
    """Stands in before `start` and after `stop`: warnings and above are said on stderr, the rest is not."""

    dropped = 0

    def __init__(self) -> None:
        self._present = Console(colour=False)

    def put(self, line: bytes, level: int) -> None:
        if level >= WARN:
            tell_stderr(self._present(line).decode().rstrip("\n"))

    def flush(self, timeout: float) -> bool:
        return True

    def close(self, timeout: float) -> None:
        pass


class Pipeline:
    """Where every line of the process passes. `emit` is called by any thread; `start` and `stop` by one at a time."""

    def __init__(self) -> None:
        self.threshold = WARN
        """The number of the least severe level that is logged; read without a lock on every call."""
        self.on_fatal: Callable[[str], None] | None = None
        self._lines = Lines({})
        self._sampler: Sampler | None = None
        self._sink: Sink | _LastResort = _LastResort()
        self._open_sink: Callable[[], Sink] | None = None
        self._bridge: Bridge | None = None
        self._dropped_before = 0
        self._sampled_before = 0
        self._exit_hook = False

    @property
    def dropped(self) -> int:
        """Lines that a target never got, since the process started."""
        return self._dropped_before + self._sink.dropped

    @property
    def sampled(self) -> int:
        """Lines held back by sampling since the process started."""
        return self._sampled_before + (self._sampler.held_back if self._sampler else 0)

    def emit(self, level: int, message: str, fields: Mapping[str, object]) -> None:
        """Log a line whose level was found to be enabled."""
        if self._sampler is None:
            self._sink.put(self._lines.line(level, message, fields), level)
        elif (line := self.rendered(level, message, fields)) is not None:
            self._sink.put(line, level)

    def rendered(self, level: int, message: str, fields: Mapping[str, object]) -> bytes | None:
        """The line, or None when its level is not enabled or sampling holds it back."""
        if level < self.threshold:
            return None
        if self._sampler is not None and level < WARN:
            held_back = self._sampler.admit(level, message)
            if held_back < 0:
                return None
            if held_back:
                fields = {**fields, "sampled_away": held_back}
        return self._lines.line(level, message, fields)

    def put(self, line: bytes, level: int) -> None:
        """Bring a rendered line to the outputs."""
        self._sink.put(line, level)

    def fatal(self, message: str, fields: Mapping[str, object]) -> None:
        """Log a line of the highest level, then end: by the callback if there is one, else by SystemExit(1)."""
        self.emit(FATAL, message, fields)
        if self.on_fatal is not None:
            self.on_fatal(message)
            return
        self.flush(timeout=1.0)
        raise SystemExit(1)

    def set_level(self, level: str) -> None:
        """Change the least severe level that is logged, for our loggers and the root logger of the library.

        Raises:
            ValueError: There is no such level.
        """
        self.threshold = number_of(level)
        if self._bridge is not None:
            self._bridge.set_root_level(self.threshold)

    def level(self) -> Level:
        """The least severe level that is logged."""
        return NAMES[self.threshold]

    def start(self, level: str, format: Format, options: Options, *, service: str, environment: str) -> None:
        """Open the outputs and begin; outputs of an earlier start are closed once the new ones are open.

        Raises:
            LogTargetError: A log file cannot be written; nothing was changed.
            ValueError: There is no such level.
        """
        threshold = number_of(level)
        lines = Lines({"service": service, "environment": environment, **options.place})
        open_sink = partial(_opened, options, format, lines)
        sink = open_sink()
        self.stop(timeout=1.0)
        self._open_sink = open_sink
        self._lines = lines
        self._sampler = Sampler(options.sampling) if options.sampling else None
        self._sink = sink
        self.threshold = threshold
        self._bridge = Bridge(self._emit_foreign)
        self._bridge.install(threshold)
        if "structlog" in sys.modules:  # else it is set up when somebody asks for a logger
            from eggycore.log.loggers import configure_structlog

            configure_structlog()
        if not self._exit_hook:
            self._exit_hook = True
            atexit.register(self.stop, 1.0)
            os.register_at_fork(after_in_child=self._begin_anew_in_a_child)

    def flush(self, timeout: float) -> bool:
        """Wait until everything logged before is written, at most `timeout` seconds. Whether it is."""
        return self._sink.flush(timeout)

    def stop(self, timeout: float) -> None:
        """Write what waits, at most `timeout` seconds, and close the outputs. Idempotent."""
        sink, self._sink, self._open_sink = self._sink, _LastResort(), None
        if self._bridge is not None:
            self._bridge.uninstall()
            self._bridge = None
        self.threshold = WARN
        sink.close(timeout)
        self._dropped_before += sink.dropped
        if self._sampler is not None:
            self._sampled_before += self._sampler.held_back
            self._sampler = None

    def _begin_anew_in_a_child(self) -> None:
        """Open outputs of its own in a forked child.

        It has no writer thread, what is queued is written by its parent, and another thread may hold the lock for ever.
        """
        if self._open_sink is None:
            return
        try:
            self._sink = self._open_sink()
        except LogTargetError:
            self._sink = _LastResort()

    def _emit_foreign(self, level: int, message: str, fields: Mapping[str, object]) -> None:
        if level >= self.threshold:
            self.emit(level, message, fields)


PIPELINE = Pipeline()


def _opened(options: Options, format: Format, lines: Lines) -> Sink:
    """The sink with every output open; when one cannot be opened, those before it are closed again."""
    lock = threading.RLock()
    targets: list[Target] = []

    def notice(count: int, name: str) -> bytes:
        return lines.line(WARN, "log lines were dropped", {"dropped": count, "target": name})

    try:
        for output in options.outputs:
            outlet, present = _outlet(output, format)
            targets.append(Target(outlet, lock=lock, notice=notice, level=output.level, present=present))
    except BaseException:
        for target in targets:
            target.close()
        raise
    return Sink(targets, lock=lock, flush=options.flush)


def _outlet(output: StreamOutput | FileOutput, format: Format) -> tuple[Outlet, Console | None]:
    if isinstance(output, FileOutput):
        return open_file(output.path, output.rotation, setting=output.setting), None
    stream = standard_stream(output.stream)
    if format == "json":
        return stream, None
    return stream, Console(colour=wants_colour(1 if output.stream == "stdout" else 2))
