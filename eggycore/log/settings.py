"""The settings of the log; LOG_LEVEL and LOG_FORMAT belong to the core's `Config`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from eggycore.config import Settings, env
from eggycore.errors import ConfigProblem
from eggycore.log.backups import DAY, Rotation
from eggycore.log.levels import number_of
from eggycore.log.options import FileOutput, Options, StreamOutput, place_fields, read_output
from eggycore.log.sampling import Sampling

__all__ = ["LogSettings"]

_MEGABYTE = 1024 * 1024


class LogSettings(Settings):
    """Where log lines go, and how.

    Example:
        >>> LogSettings(output=("stdout", "file"), file=Path("forms.log")).flush
        'batch'
    """

    output: tuple[str, ...] = env(
        "LOG_OUTPUT",
        default=(),
        default_doc="file when LOG_FILE is set, else stdout",
        doc="Where lines go: stdout, stderr, file; each with a level of its own if wanted, as in stdout:warn,file.",
    )
    file: Path | None = env("LOG_FILE", default=None, doc="The log file; its folder is made when it is missing.")
    max_size_mb: int = env(
        "LOG_MAX_SIZE_MB", default=100, ge=0, unit="MB", doc="Size at which a log file is set aside; 0 is never."
    )
    max_backups: int = env("LOG_MAX_BACKUPS", default=10, ge=0, doc="Log files set aside that are kept; 0 keeps all.")
    max_age_days: int = env(
        "LOG_MAX_AGE_DAYS",
        default=30,
        ge=0,
        unit="days",
        doc="Age at which a log file is set aside, and removed once it was set aside as long ago; 0 is never.",
    )
    compress: bool = env("LOG_COMPRESS", default=False, doc="Compress log files that were set aside with gzip.")
    error_file: Path | None = env(
        "LOG_ERROR_FILE", default=None, doc="A second log file, for lines of LOG_ERROR_LEVEL and above."
    )
    error_level: Literal["warn", "error", "fatal"] = env(
        "LOG_ERROR_LEVEL", default="error", doc="Least severe level that goes to LOG_ERROR_FILE."
    )
    flush: Literal["batch", "line"] = env(
        "LOG_FLUSH",
        default="batch",
        doc="batch loses at most 50 ms or 256 lines below warning when the process is killed; line loses none.",
    )
    sample: str = env(
        "LOG_SAMPLE",
        default="",
        allow_empty=True,
        default_doc="every line",
        doc="Thins out lines below warning: 100:50 lets the first 100 of a message in each second through, then"
        " every 50th.",
    )
    pod: str = env("POD_NAME", default="", allow_empty=True, doc="Field pod of every line (downward API).")
    node: str = env("NODE_NAME", default="", allow_empty=True, doc="Field node of every line (downward API).")
    namespace: str = env(
        "POD_NAMESPACE", default="", allow_empty=True, doc="Field namespace of every line (downward API)."
    )

    def problems(self) -> Iterable[ConfigProblem]:
        yield from self._output_problems()
        if self.error_file is not None and self.error_file == self.file:
            yield ConfigProblem(
                key="LOG_ERROR_FILE",
                value=str(self.error_file),
                reason="the same file as LOG_FILE",
                action="Set it to another file, or leave it out: LOG_FILE has the errors too.",
            )
        try:
            Sampling.read(self.sample)
        except ValueError as error:
            yield ConfigProblem(
                key="LOG_SAMPLE",
                value=self.sample,
                reason=str(error),
                action="Set it to 100:50, or leave it out to keep every line.",
            )

    def _output_problems(self) -> Iterable[ConfigProblem]:
        seen = set()
        for entry in self.output:
            try:
                destination, _ = read_output(entry)
            except ValueError as error:
                yield _output_problem(
                    entry, str(error), "Set it to stdout, stderr, file, or a list such as stdout,file."
                )
                continue
            if destination in seen:
                yield _output_problem(entry, f"{destination} is named twice", "Name each output once.")
            seen.add(destination)
        if "file" in seen and self.file is None:
            yield ConfigProblem(
                key="LOG_FILE",
                reason="missing, and LOG_OUTPUT names file",
                action="Set LOG_FILE to the path of the log file, or take file out of LOG_OUTPUT.",
            )

    def options(self) -> Options:
        """What the log is set up with. The settings have no problems."""
        outputs = [self._output(entry) for entry in self.output or ("file" if self.file else "stdout",)]
        if self.error_file is not None:
            level = number_of(self.error_level)
            outputs.append(self._file_output(self.error_file, setting="LOG_ERROR_FILE", level=level))
        return Options(
            outputs=tuple(outputs),
            flush=self.flush,
            sampling=Sampling.read(self.sample),
            place=place_fields(self.pod, self.node, self.namespace),
        )

    def _output(self, entry: str) -> StreamOutput | FileOutput:
        destination, level = read_output(entry)
        if destination == "file":
            assert self.file is not None
            return self._file_output(self.file, setting="LOG_FILE", level=level)
        return StreamOutput(stream=destination, level=level)

    def _file_output(self, path: Path, *, setting: str, level: int) -> FileOutput:
        rotation = Rotation(
            max_bytes=self.max_size_mb * _MEGABYTE,
            max_backups=self.max_backups,
            max_age=self.max_age_days * DAY,
            compress=self.compress,
        )
        return FileOutput(path=path, setting=setting, level=level, rotation=rotation)


def _output_problem(value: str, reason: str, action: str) -> ConfigProblem:
    return ConfigProblem(key="LOG_OUTPUT", value=value, reason=reason, action=action)
