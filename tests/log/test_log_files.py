from __future__ import annotations

import errno
import fcntl
import gzip
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from eggycore import log
from eggycore.diagnostics import diagnose, render
from eggycore.log.backups import DAY, SETTLE_SECONDS, Backups, Rotation
from eggycore.log.errors import LogTargetError
from eggycore.log.files import LOOK_SECONDS, FileOutlet, open_file
from eggycore.log.options import FileOutput

NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., FileOutlet]]:
    outlets: list[FileOutlet] = []

    def open_(**rotation: Any) -> FileOutlet:
        outlet = open_file(tmp_path / "forms.log", Rotation(**rotation), clock=clock)
        assert isinstance(outlet, FileOutlet)
        outlets.append(outlet)
        return outlet

    yield open_
    for outlet in outlets:
        outlet.close()


def write(outlet: FileOutlet, *lines: bytes) -> None:
    for line in lines:
        assert outlet.write(line) == len(line)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def tidied(outlet: FileOutlet) -> None:
    assert outlet.backups.join(10.0)


def test_a_file_is_appended_to(tmp_path: Path, opened: Callable[..., FileOutlet]) -> None:
    write(opened(), b"1\n")
    write(opened(), b"2\n")
    assert (tmp_path / "forms.log").read_bytes() == b"1\n2\n"
    assert (tmp_path / "forms.log").stat().st_mode & 0o777 & ~0o640 == 0


def test_folders_that_are_missing_are_made(tmp_path: Path) -> None:
    open_file(tmp_path / "a" / "b" / "forms.log", Rotation()).close()
    assert names(tmp_path / "a" / "b") == ["forms.log"]


def test_a_file_that_would_grow_too_large_is_set_aside(tmp_path: Path, opened: Callable[..., FileOutlet]) -> None:
    outlet = opened(max_bytes=10)
    write(outlet, b"12345\n", b"78\n", b"next\n")
    tidied(outlet)
    assert names(tmp_path) == ["forms-20260101T120000.000Z.log", "forms.log"]
    assert (tmp_path / "forms-20260101T120000.000Z.log").read_bytes() == b"12345\n78\n"
    assert (tmp_path / "forms.log").read_bytes() == b"next\n"


def test_a_line_longer_than_a_file_may_be_has_one_to_itself(tmp_path: Path, opened: Callable[..., FileOutlet]) -> None:
    outlet = opened(max_bytes=4)
    write(outlet, b"123456789\n", b"1\n")
    tidied(outlet)
    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == [b"1\n", b"123456789\n"]


def test_what_is_offered_at_once_fits_into_the_file(opened: Callable[..., FileOutlet]) -> None:
    outlet = opened(max_bytes=10)
    assert outlet.chunk == 10
    write(outlet, b"123\n")
    assert outlet.chunk == 6
    write(outlet, b"12345\n")
    assert outlet.chunk == 10


def test_rotations_in_the_same_millisecond_have_names_of_their_own(
    tmp_path: Path, opened: Callable[..., FileOutlet]
) -> None:
    outlet = opened(max_bytes=2)
    write(outlet, b"1\n", b"2\n", b"3\n")
    tidied(outlet)
    assert names(tmp_path) == ["forms-20260101T120000.000Z-2.log", "forms-20260101T120000.000Z.log", "forms.log"]


def test_only_so_many_files_are_kept(tmp_path: Path, opened: Callable[..., FileOutlet], clock: Clock) -> None:
    (tmp_path / "forms-notes.log").write_text("not one of ours")
    outlet = opened(max_bytes=2, max_backups=2)
    for _ in range(6):
        clock.now += 1
        write(outlet, b"1\n")
        tidied(outlet)
    assert names(tmp_path) == [
        "forms-20260101T120005.000Z.log",
        "forms-20260101T120006.000Z.log",
        "forms-notes.log",
        "forms.log",
    ]


def test_a_file_is_set_aside_by_age_and_removed_by_age(
    tmp_path: Path, opened: Callable[..., FileOutlet], clock: Clock
) -> None:
    outlet = opened(max_age=2 * DAY)
    write(outlet, b"old\n")
    clock.now += 2 * DAY - 1
    write(outlet, b"not so old\n")
    clock.now += 1
    write(outlet, b"new\n")
    tidied(outlet)
    assert names(tmp_path) == ["forms-20260103T120000.000Z.log", "forms.log"]
    clock.now += 2 * DAY
    write(outlet, b"newer\n")
    tidied(outlet)
    assert names(tmp_path) == ["forms-20260105T120000.000Z.log", "forms.log"]


def test_the_age_of_a_file_that_was_there_is_that_of_its_first_line(
    tmp_path: Path, opened: Callable[..., FileOutlet]
) -> None:
    (tmp_path / "forms.log").write_bytes(b'{"timestamp":"2025-12-30T11:59:59.000Z","level":"info"}\n')
    outlet = opened(max_age=2 * DAY)
    write(outlet, b"new\n")
    assert (tmp_path / "forms.log").read_bytes() == b"new\n"


@pytest.mark.parametrize("first", [b"{}\n", b'{"timestamp":"2025-99-99T99:99:99.000Z"}\n'])
def test_a_file_whose_first_line_tells_no_time_is_as_old_as_its_last_change(
    tmp_path: Path, opened: Callable[..., FileOutlet], first: bytes
) -> None:
    path = tmp_path / "forms.log"
    path.write_bytes(first)
    os.utime(path, (NOON - DAY, NOON - DAY))
    write(opened(max_age=2 * DAY), b"new\n")
    assert path.read_bytes() == first + b"new\n"
    os.utime(path, (NOON - 3 * DAY, NOON - 3 * DAY))
    write(opened(max_age=2 * DAY), b"newer\n")
    assert path.read_bytes() == b"newer\n"


def test_files_that_are_too_old_are_removed_at_the_start(tmp_path: Path, opened: Callable[..., FileOutlet]) -> None:
    for name in (
        "forms-99999999T000000.000Z.log",
        "forms-20251201T000000.000Z.log.gz",
        "forms-20251231T000000.000Z.log",
    ):
        (tmp_path / name).write_bytes(b"")
    tidied(opened(max_age=3 * DAY))
    assert names(tmp_path) == ["forms-20251231T000000.000Z.log", "forms-99999999T000000.000Z.log", "forms.log"]


def test_files_set_aside_are_compressed(tmp_path: Path, opened: Callable[..., FileOutlet]) -> None:
    left_by_a_crash = tmp_path / "forms-20251231T000000.000Z.log"
    left_by_a_crash.write_bytes(b"earlier\n")
    outlet = opened(max_bytes=2, compress=True)
    tidied(outlet)
    write(outlet, b"1\n", b"2\n")
    tidied(outlet)
    assert names(tmp_path) == [
        "forms-20251231T000000.000Z.log.gz",
        "forms-20260101T120000.000Z.log.gz",
        "forms.log",
    ]
    with gzip.open(tmp_path / "forms-20260101T120000.000Z.log.gz") as packed:
        assert packed.read() == b"1\n"


def test_a_file_is_compressed_when_other_processes_have_had_the_time_to_leave_it(tmp_path: Path, clock: Clock) -> None:
    plain = tmp_path / "forms-20260101T120000.000Z.log"
    plain.write_bytes(b"1\n")
    os.utime(plain, (NOON, NOON))
    waits: list[float | None] = []

    class Asked(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            clock.now += timeout or 0
            if len(waits) == 1:
                with plain.open("ab") as file:  # as another process does until it looks where its file is
                    file.write(b"2\n")
                os.utime(plain, (NOON + 1, NOON + 1))
            return False

    tidying = Backups(tmp_path / "forms.log", Rotation(compress=True), clock=clock)
    tidying._asked = Asked()
    tidying.tidy_soon()
    assert tidying.join(10.0)
    assert waits == [SETTLE_SECONDS, 1.0]
    assert SETTLE_SECONDS > LOOK_SECONDS
    with gzip.open(tmp_path / f"{plain.name}.gz") as packed:
        assert packed.read() == b"1\n2\n"


def test_a_file_that_another_process_compresses_is_left_to_it(tmp_path: Path) -> None:
    plain = tmp_path / "forms-20260101T120000.000Z.log"
    plain.write_bytes(b"1\n")
    with plain.open("rb") as of_the_other_process:
        fcntl.flock(of_the_other_process, fcntl.LOCK_EX)
        tidying = Backups(tmp_path / "forms.log", Rotation(compress=True), clock=lambda: time.time() + SETTLE_SECONDS)
        tidying.tidy_soon()
        assert tidying.join(10.0)
        assert names(tmp_path) == [plain.name]


def test_files_set_aside_while_one_waits_to_be_compressed_are_removed_at_once(tmp_path: Path) -> None:
    tidying = Backups(tmp_path / "forms.log", Rotation(max_backups=1, compress=True))
    for number in range(3):
        (tmp_path / f"forms-20260101T12000{number}.000Z.log").write_bytes(b"")
        tidying.tidy_soon()
        wait_until(lambda newest=number: names(tmp_path) == [f"forms-20260101T12000{newest}.000Z.log"])
    tidying.close()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_two_processes_that_set_a_file_aside_at_once_do_it_once(
    tmp_path: Path, opened: Callable[..., FileOutlet], capfd: pytest.CaptureFixture[str]
) -> None:
    mine, theirs = opened(max_bytes=4), opened(max_bytes=4)
    write(mine, b"1\n")
    write(theirs, b"2\n")
    is_at_path = mine._is_at_path

    def is_at_path_until_the_other_process_comes_in() -> bool:
        answer = is_at_path()
        write(theirs, b"222\n")
        return answer

    mine._is_at_path = is_at_path_until_the_other_process_comes_in
    write(mine, b"333\n")
    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == [b"1\n2\n222\n", b"333\n"]
    assert capfd.readouterr().err == ""


def test_closing_while_a_file_is_compressed_leaves_the_plain_file(tmp_path: Path) -> None:
    plain = tmp_path / "forms-20260101T120000.000Z.log"
    plain.write_bytes(b"x" * 3_000_000)
    tidying = Backups(tmp_path / "forms.log", Rotation(compress=True))
    tidying._stopping = True
    tidying._compress(plain)
    assert names(tmp_path) == [plain.name]


def test_a_file_that_others_moved_is_opened_anew(
    tmp_path: Path, opened: Callable[..., FileOutlet], clock: Clock
) -> None:
    outlet = opened()
    write(outlet, b"1\n")
    (tmp_path / "forms.log").rename(tmp_path / "forms.log.1")
    clock.now += 1
    write(outlet, b"2\n")
    (tmp_path / "forms.log").unlink()
    clock.now += 1
    write(outlet, b"3\n")
    assert (tmp_path / "forms.log.1").read_bytes() == b"1\n"
    assert (tmp_path / "forms.log").read_bytes() == b"3\n"


def test_two_processes_with_one_file_rotate_it_once(tmp_path: Path, opened: Callable[..., FileOutlet]) -> None:
    first, second = opened(max_bytes=10), opened(max_bytes=10)
    write(first, b"first\n")
    write(second, b"second\n")
    write(first, b"third\n")
    write(second, b"fourth\n")
    tidied(first)
    assert names(tmp_path) == ["forms-20260101T120000.000Z.log", "forms.log"]
    assert (tmp_path / "forms.log").read_bytes() == b"third\nfourth\n"


def test_a_line_torn_by_the_removal_of_the_file_does_not_spoil_the_new_one(
    tmp_path: Path, opened: Callable[..., FileOutlet], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    outlet = opened()
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[:3]))
    assert outlet.write(b"12345\n2\n") == 3
    monkeypatch.undo()
    (tmp_path / "forms.log").unlink()
    clock.now += 1
    assert outlet.write(b"45\n2\n") == 5
    assert (tmp_path / "forms.log").read_bytes() == b"2\n"


def test_a_folder_that_allows_no_rotation_does_not_stop_the_log(
    tmp_path: Path, opened: Callable[..., FileOutlet], clock: Clock, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    outlet = opened(max_bytes=2)
    monkeypatch.setattr(Path, "rename", refuse)
    write(outlet, b"1\n", b"2\n", b"3\n")
    assert (tmp_path / "forms.log").read_bytes() == b"1\n2\n3\n"
    assert capfd.readouterr().err == (
        f"eggycore: log file {tmp_path}/forms.log cannot be rotated: Permission denied. It grows past its limit and is"
        f" tried again every minute; let user {os.geteuid()} write to the folder {tmp_path}.\n"
    )
    monkeypatch.undo()
    clock.now += 60
    write(outlet, b"4\n")
    assert (tmp_path / "forms.log").read_bytes() == b"4\n"


def message(error: LogTargetError) -> str:
    return render(diagnose(error))


def test_a_log_file_in_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "forms.log"
    with pytest.raises(LogTargetError) as refused:
        open_file(path, Rotation())
    assert message(refused.value) == (
        f"The log file {path} cannot be written: File exists.\n"
        "  cause:  LOG_FILE names it.\n"
        f"  action: Name a folder: a part of {path.parent} is a file, or set LOG_FILE to a file that can be written."
    )


def test_a_folder_as_log_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogTargetError) as refused:
        open_file(tmp_path, Rotation(), setting="LOG_ERROR_FILE")
    assert message(refused.value) == (
        f"The log file {tmp_path} cannot be written: Is a directory.\n"
        "  cause:  LOG_ERROR_FILE names it.\n"
        "  action: Name a file in that folder, or set LOG_ERROR_FILE to a file that can be written."
    )
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("code", "action"),
    [
        (errno.EACCES, f"Let user {os.geteuid()} write to it and to the folder /var/log"),
        (errno.EROFS, "Mount a writable volume at /var/log"),
        (errno.ENOSPC, "Free space on the volume of /var/log"),
        (errno.EIO, "Check the path and the volume of /var/log"),
    ],
)
def test_every_reason_says_what_to_do(code: int, action: str) -> None:
    assert message(LogTargetError("/var/log/forms.log", "LOG_FILE", code)) == (
        f"The log file /var/log/forms.log cannot be written: {os.strerror(code)}.\n"
        "  cause:  LOG_FILE names it.\n"
        f"  action: {action}, or set LOG_FILE to a file that can be written."
    )


def test_a_file_that_cannot_be_opened_leaves_the_log_as_it_was(start_log: Any, tmp_path: Path) -> None:
    file = start_log()
    outputs = (FileOutput(path=tmp_path / "other.log"), FileOutput(path=tmp_path))
    with pytest.raises(LogTargetError):
        start_log(outputs=outputs)
    log.info("still here")
    assert file.last()["message"] == "still here"


def test_an_error_file_stands_beside_the_combined_one(start_log: Any, tmp_path: Path) -> None:
    errors = tmp_path / "errors.log"
    file = start_log(
        outputs=(
            FileOutput(path=tmp_path / "service.log"),
            FileOutput(path=errors, setting="LOG_ERROR_FILE", level=40),
        )
    )
    log.info("a")
    log.warn("b")
    log.error("c")
    assert [line["message"] for line in file.lines()] == ["a", "b", "c"]
    assert [orjson.loads(line)["message"] for line in errors.read_bytes().splitlines()] == ["c"]


def test_lines_are_complete_across_rotations(start_log: Any, tmp_path: Path) -> None:
    start_log(outputs=(FileOutput(path=tmp_path / "service.log", rotation=Rotation(max_bytes=5_000)),))
    for number in range(1000):
        log.info("x", number=number)
    log.close(10.0)
    files = sorted(tmp_path.iterdir(), key=lambda path: (path.name == "service.log", path.stat().st_mtime_ns))
    assert len(files) > 10
    assert all(path.stat().st_size <= 5_000 for path in files)
    numbers = [orjson.loads(line)["number"] for path in files for line in path.read_bytes().splitlines()]
    assert sorted(numbers) == list(range(1000))
