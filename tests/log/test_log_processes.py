"""Real processes that are killed, lose their streams or run out of disk."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

PRELUDE = """
import fcntl, os, resource, signal, sys, threading
from pathlib import Path
from eggycore import log
from eggycore.log.options import FileOutput, Options, StreamOutput
from eggycore.log.pipeline import PIPELINE

def start(*outputs, flush="batch"):
    PIPELINE.start("info", "json", Options(outputs=outputs, flush=flush), service="forms", environment="test")

def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""


def run(code: str, *arguments: object, shell: str = "", **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run Python code; `shell` is appended to the command, for redirections."""
    command = [sys.executable, "-c", PRELUDE + code, *map(str, arguments)]
    if shell:
        command = ["bash", "-c", f'"$@" {shell}', "bash", *command]
    return subprocess.run(command, capture_output=True, timeout=120, check=False, **options)


def numbers(data: bytes) -> list[int]:
    return [orjson.loads(line)["number"] for line in data.splitlines()]


KILLED_WHILE_LOGGING = """
destination, flush, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
if destination == "stdout":
    fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 1 << 20)  # the target keeps up, even when the reader is not scheduled
start(StreamOutput() if destination == "stdout" else FileOutput(path=Path(destination)), flush=flush)
for number in range(count):
    log.info("x", number=number)
die()
"""


@pytest.mark.parametrize("count", [100, 5_000])
@pytest.mark.parametrize("destination", ["stdout", "file"])
def test_a_kill_in_batch_mode_loses_at_most_256_lines(tmp_path: Path, destination: str, count: int) -> None:
    path = tmp_path / "forms.log"
    done = run(KILLED_WHILE_LOGGING, destination if destination == "stdout" else path, "batch", count)
    assert done.returncode == -signal.SIGKILL
    written = numbers(done.stdout if destination == "stdout" else path.read_bytes())
    assert written == list(range(len(written)))
    assert count - len(written) <= 256


@pytest.mark.parametrize("destination", ["stdout", "file"])
def test_a_kill_in_line_mode_loses_none(tmp_path: Path, destination: str) -> None:
    path = tmp_path / "forms.log"
    done = run(KILLED_WHILE_LOGGING, destination if destination == "stdout" else path, "line", 3000)
    assert done.returncode == -signal.SIGKILL
    assert numbers(done.stdout if destination == "stdout" else path.read_bytes()) == list(range(3000))


@pytest.mark.parametrize("destination", ["stdout", "file"])
def test_a_kill_after_a_warning_loses_neither_it_nor_what_came_before(tmp_path: Path, destination: str) -> None:
    path = tmp_path / "forms.log"
    code = """
start(StreamOutput() if sys.argv[1] == "stdout" else FileOutput(path=Path(sys.argv[1])))
for number in range(200):
    (log.warn if number % 10 == 9 else log.info)("x", number=number)
die()
"""
    done = run(code, destination if destination == "stdout" else path)
    assert numbers(done.stdout if destination == "stdout" else path.read_bytes()) == list(range(200))


def test_what_is_queued_at_a_normal_exit_is_written() -> None:
    assert numbers(run("log.init()\nfor number in range(10): log.info('x', number=number)").stdout) == list(range(10))


def test_a_warning_while_the_interpreter_goes_down_is_said() -> None:
    code = """
class Kept:
    def __del__(self):
        log.warn("collected late")

log.init()
kept = Kept()
"""
    done = run(code)
    assert done.returncode == 0
    assert b"collected late" in done.stderr
    assert b"Exception ignored" not in done.stderr


def test_a_forked_child_logs_though_another_thread_held_the_lock_and_writes_no_line_of_its_parent() -> None:
    code = """
log.init()
log.info("x", number=1)
holding, forked = threading.Event(), threading.Event()

def hold():
    with PIPELINE._sink._lock:
        holding.set()
        forked.wait()

threading.Thread(target=hold).start()
holding.wait()
child = os.fork()
if not child:
    signal.alarm(20)
    log.info("x", number=2)
    log.close()
    os._exit(0)
forked.set()
assert os.waitpid(child, 0)[1] == 0
"""
    done = run(code)
    assert done.stderr == b""
    assert sorted(numbers(done.stdout)) == [1, 2]


def test_the_process_goes_on_when_the_reader_of_stdout_leaves() -> None:
    code = """
log.init()
for number in range(2000):
    log.info("x", number=number)
    if number % 100 == 0:
        log.flush(10)
print(log.dropped(), file=sys.stderr)
"""
    done = run(code, shell="| head -n 1")
    said, dropped = done.stderr.decode().splitlines()
    assert done.returncode == 0
    assert numbers(done.stdout) == [0]
    assert said == (
        "eggycore: stdout takes no more log lines: Broken pipe. The process goes on; lines to it are counted as lost."
    )
    assert 0 < int(dropped) <= 1999


def test_a_stdout_that_was_closed_from_the_start_is_not_written_whatever_has_its_number(tmp_path: Path) -> None:
    code = """
other = open(sys.argv[1], "w")
assert other.fileno() == 1
log.init()
log.warn("x")
log.info("y")
log.close()
sys.exit(log.dropped())
"""
    done = run(code, tmp_path / "other", shell=">&-")
    assert done.stderr.decode() == (
        "eggycore: stdout takes no more log lines: Bad file descriptor."
        " The process goes on; lines to it are counted as lost.\n"
    )
    assert done.returncode == 2
    assert (tmp_path / "other").read_bytes() == b""


def test_with_all_standard_streams_closed_a_log_file_is_written(tmp_path: Path) -> None:
    code = """
start(StreamOutput(), FileOutput(path=Path(sys.argv[1])))
log.warn("x", number=1)
taken = [fd for fd in (0, 1, 2) if os.path.lexists(f"/proc/self/fd/{fd}")]  # what is printed would go there
log.close()
sys.exit(len(taken))
"""
    done = run(code, tmp_path / "forms.log", shell="<&- >&- 2>&-")
    assert done.returncode == 0
    assert numbers((tmp_path / "forms.log").read_bytes()) == [1]


def test_a_closed_stdin_changes_nothing() -> None:
    done = run("log.init(); log.info('x', number=1)", shell="<&-")
    assert (done.returncode, done.stderr, numbers(done.stdout)) == (0, b"", [1])


def test_a_full_device_is_said_once_and_the_process_goes_on() -> None:
    code = """
log.init()
for number in range(100):
    log.warn("x", number=number)
log.close(0.1)
sys.exit(log.dropped())
"""
    done = run(code, shell="> /dev/full")
    assert done.returncode == 100
    assert done.stderr.decode() == (
        "eggycore: stdout cannot be written: No space left on device. The process goes on and tries again every second;"
        " past 20000 waiting lines the newest are dropped and counted.\n"
        "eggycore: 100 last log lines were lost: stdout did not take them.\n"
    )


def test_a_log_file_on_a_full_disk_flows_again_and_tells_what_was_dropped(tmp_path: Path) -> None:
    code = """
start(FileOutput(path=Path(sys.argv[1])))
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
for number in range(30_000):
    log.info("x", number=number)
dropped = log.dropped()
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert log.flush(30)
log.info("x", number=30_000)
log.close(10)
sys.exit(0 if 0 < dropped == log.dropped() else 1)
"""
    path = tmp_path / "forms.log"
    done = run(code, path)
    assert done.returncode == 0
    assert done.stderr.decode() == (
        f"eggycore: log file {path} cannot be written: File too large. The process goes on and tries again every"
        " second; past 20000 waiting lines the newest are dropped and counted.\n"
    )
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    (told,) = [line for line in lines if line["message"] == "log lines were dropped"]
    assert (told["level"], told["target"], told["service"]) == ("warn", f"log file {path}", "forms")
    written = [line["number"] for line in lines if "number" in line]
    assert written[:-1] == list(range(len(written) - 1))
    assert written[-1] == 30_000
    assert len(written) + told["dropped"] == 30_001


@pytest.mark.parametrize("flush", ["batch", "line"])
def test_a_reader_that_pauses_costs_lines_that_are_counted_and_told(flush: str) -> None:
    code = """
start(StreamOutput(), flush=sys.argv[1])
for number in range(30_000):
    log.info("x", number=number, padding="x" * 50)
print(log.dropped(), file=sys.stderr, flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", PRELUDE + code, flush]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        dropped = int(child.stderr.readline())
        data = b""
        while b"log lines were dropped" not in data:
            data += os.read(child.stdout.fileno(), 1 << 20)
        child.stdin.close()
        data += child.stdout.read()
        assert child.wait(60) == 0
    lines = [orjson.loads(line) for line in data.splitlines()]
    assert lines[-1]["dropped"] == dropped
    assert len(lines) - 1 + dropped == 30_000


def test_a_log_file_may_be_a_pipe_or_a_device(tmp_path: Path) -> None:
    code = "start(FileOutput(path=Path(sys.argv[1]))); log.info('x', number=1)"
    assert numbers(run(code, "/dev/stdout").stdout) == [1]
    os.mkfifo(tmp_path / "pipe")
    done = run(code, tmp_path / "pipe")
    assert b"LogTargetError" in done.stderr
    assert b"cannot be written: No such device or address" in done.stderr


def test_a_process_that_is_stopped_by_an_exception_has_its_lines_written() -> None:
    done = run("log.init(); log.info('x', number=1); raise ValueError('end')")
    assert (done.returncode, numbers(done.stdout)) == (1, [1])
    assert re.search(rb"ValueError: end", done.stderr)
