from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eggycore import log
from eggycore.config import Declared, Sources, load
from eggycore.errors import ConfigError
from eggycore.log.backups import DAY, Rotation
from eggycore.log.options import FileOutput, Options, StreamOutput
from eggycore.log.sampling import Sampling
from eggycore.log.settings import LogSettings
from eggycore.types import Origin


def read(**environ: str) -> LogSettings:
    declared = Declared(LogSettings, Origin("eggycore", kind="core"))
    return load([declared], Sources(environ=environ, folder=None))[LogSettings]


def problems(**environ: str) -> list[tuple[str, str | None, str, str]]:
    with pytest.raises(ConfigError) as refused:
        read(**environ)
    return [(one.key, one.value, one.reason, one.action) for one in refused.value.problems]


def test_without_settings_lines_go_to_stdout_in_batches() -> None:
    assert read().options() == Options()


def test_everything_can_be_set() -> None:
    settings = read(
        LOG_OUTPUT="stdout:warn, file",
        LOG_FILE="/var/log/forms.log",
        LOG_MAX_SIZE_MB="5",
        LOG_MAX_BACKUPS="3",
        LOG_MAX_AGE_DAYS="7",
        LOG_COMPRESS="true",
        LOG_ERROR_FILE="/var/log/forms-errors.log",
        LOG_ERROR_LEVEL="warn",
        LOG_FLUSH="line",
        LOG_SAMPLE="100:50",
        POD_NAME="forms-0",
        NODE_NAME="n1",
        POD_NAMESPACE="prod",
    )
    rotation = Rotation(max_bytes=5 * 1024 * 1024, max_backups=3, max_age=7 * DAY, compress=True)
    assert settings.options() == Options(
        outputs=(
            StreamOutput(stream="stdout", level=30),
            FileOutput(path=Path("/var/log/forms.log"), rotation=rotation),
            FileOutput(path=Path("/var/log/forms-errors.log"), setting="LOG_ERROR_FILE", level=30, rotation=rotation),
        ),
        flush="line",
        sampling=Sampling(first=100, every=50),
        place={"pod": "forms-0", "node": "n1", "namespace": "prod"},
    )


def test_a_log_file_alone_is_where_lines_go() -> None:
    (output,) = read(LOG_FILE="forms.log").options().outputs
    assert isinstance(output, FileOutput)


def test_an_error_file_alone_stands_beside_stdout() -> None:
    stdout, errors = read(LOG_ERROR_FILE="errors.log").options().outputs
    assert stdout == StreamOutput()
    assert isinstance(errors, FileOutput)
    assert errors.level == 40


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert problems(LOG_OUTPUT="file,syslog,stdout:loud,stderr,stderr", LOG_SAMPLE="often") == [
        (
            "LOG_OUTPUT",
            "syslog",
            "'syslog' is not one of stdout, stderr, file, with or without a level as in stdout:warn",
            "Set it to stdout, stderr, file, or a list such as stdout,file.",
        ),
        (
            "LOG_OUTPUT",
            "stdout:loud",
            "'loud' is not a log level: use one of debug, info, warn, error, fatal",
            "Set it to stdout, stderr, file, or a list such as stdout,file.",
        ),
        ("LOG_OUTPUT", "stderr", "stderr is named twice", "Name each output once."),
        (
            "LOG_FILE",
            None,
            "missing, and LOG_OUTPUT names file",
            "Set LOG_FILE to the path of the log file, or take file out of LOG_OUTPUT.",
        ),
        (
            "LOG_SAMPLE",
            "often",
            'not of the form "100" (the first 100 a second) or "100:50" (then every 50th)',
            "Set it to 100:50, or leave it out to keep every line.",
        ),
    ]


def test_one_file_for_both_is_refused() -> None:
    ((key, value, reason, _),) = problems(LOG_FILE="a.log", LOG_ERROR_FILE="a.log")
    assert (key, value, reason) == ("LOG_ERROR_FILE", "a.log", "the same file as LOG_FILE")


def test_init_takes_the_settings(tmp_path: Path, start_log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "forms.log"
    log.init("warn", "json", service="forms", environment="test", settings=LogSettings(file=path, pod="forms-0"))
    log.info("x")
    log.warn("y")
    log.close(10.0)
    (line,) = path.read_bytes().splitlines()
    assert b'"level":"warn","message":"y","service":"forms","environment":"test","pod":"forms-0"}' in line


def test_init_without_settings_reads_the_place_from_the_environment(
    start_log: Any, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setenv("POD_NAME", "forms-0")
    log.init(service="forms", environment="test")
    log.info("x")
    log.close(10.0)
    assert '"environment":"test","pod":"forms-0"}' in capfd.readouterr().out
