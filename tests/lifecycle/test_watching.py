"""A file's change is seen however it comes about, told once it is whole, and told only when the content differs."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from eggycore.watching import FileWatch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="events are those of inotify")


class Told:
    """What a watch has told."""

    def __init__(self) -> None:
        self.changes: list[frozenset[Path]] = []
        self._more = asyncio.Event()

    def __call__(self, paths: frozenset[Path]) -> None:
        self.changes.append(paths)
        self._more.set()

    async def next(self) -> frozenset[Path]:
        async with asyncio.timeout(10):
            await self._more.wait()
        self._more.clear()
        return self.changes[-1]


@asynccontextmanager
async def watching(
    paths: Sequence[Path] | Callable[[], Sequence[Path]], *, quiet: float = 0.02, poll: float = 60.0
) -> AsyncIterator[Told]:
    told = Told()
    async with FileWatch(paths, told, quiet=quiet, poll=poll):
        yield told


class Mount:
    """A mounted ConfigMap, as the kubelet writes it: the files are links into a folder that one rename replaces."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._version = 0

    def write(self, **files: str) -> None:
        self._version += 1
        version = self.folder / f"..2026_{self._version}"
        version.mkdir()
        for name, text in files.items():
            (version / name).write_text(text)
        before = (self.folder / "..data").resolve() if self._version > 1 else None
        (self.folder / "..data_tmp").symlink_to(version.name)
        (self.folder / "..data_tmp").rename(self.folder / "..data")
        for name in files:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        if before is not None:
            shutil.rmtree(before)


async def test_a_file_that_is_written_in_place_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("a = 1")
    async with watching([file]) as told:
        file.write_text("a = 2")
        assert await told.next() == {file}


async def test_a_file_that_is_replaced_by_a_rename_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("a = 1")
    async with watching([file]) as told:
        (tmp_path / "a.toml.new").write_text("a = 2")
        (tmp_path / "a.toml.new").rename(file)
        assert await told.next() == {file}
        file.unlink()
        assert await told.next() == {file}


async def test_every_swap_of_a_mounted_config_map_is_told(tmp_path: Path) -> None:
    mount = Mount(tmp_path)
    mount.write(one="1", other="1")
    async with watching([tmp_path / "one", tmp_path / "other"]) as told:
        for turn in range(2, 6):
            await asyncio.to_thread(mount.write, one=str(turn), other="1")
            assert await told.next() == {tmp_path / "one"}


async def test_a_link_into_a_mount_elsewhere_is_followed(tmp_path: Path) -> None:
    folder, app = tmp_path / "mnt", tmp_path / "app"
    folder.mkdir()
    app.mkdir()
    mount = Mount(folder)
    mount.write(one="1")
    (app / "one").symlink_to(folder / "one")
    async with watching([app / "one"]) as told:
        mount.write(one="2")
        assert await told.next() == {app / "one"}


async def test_a_folder_that_comes_goes_and_comes_again_is_watched_each_time(tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    file = tmp_path / "config" / "forms" / "base.json"
    async with watching([tmp_path / "here", file]) as told:
        for turn in range(3):
            file.parent.mkdir(parents=True)
            file.write_text(str(turn))
            assert await told.next() == {file}
            shutil.rmtree(tmp_path / "config")
            assert await told.next() == {file}


async def test_a_folder_that_is_replaced_by_another_is_watched_from_the_next_look_on(tmp_path: Path) -> None:
    file = tmp_path / "config" / "base.json"
    file.parent.mkdir()
    file.write_text("1")
    watch = FileWatch([file], (told := Told()), quiet=0.02, poll=0.05)
    async with watch:
        file.parent.rename(tmp_path / "before")
        file.parent.mkdir()
        file.write_text("2")
        assert await told.next() == {file}
        watch._poll = 60
        await asyncio.sleep(0.2)  # the last look without an event
        file.write_text("3")
        assert await told.next() == {file}


async def test_files_that_come_into_a_watched_folder_are_told_when_the_paths_name_them(tmp_path: Path) -> None:
    async with watching(lambda: [tmp_path, *sorted(tmp_path.glob("*.json"))]) as told:
        (tmp_path / "base.json").write_text("{}")
        assert await told.next() == {tmp_path / "base.json"}


async def test_paths_that_are_named_later_and_are_not_there_are_not_told(tmp_path: Path) -> None:
    names = ["a"]
    (tmp_path / "a").write_text("1")
    async with watching(lambda: [tmp_path / name for name in names]) as told:
        names.append("b")
        (tmp_path / "a").write_text("2")
        assert await told.next() == {tmp_path / "a"}


async def test_what_changes_no_content_is_not_told(tmp_path: Path) -> None:
    file, other = tmp_path / "a", tmp_path / "b"
    file.write_text("1")
    other.write_text("1")
    async with watching([file, other]) as told:
        file.write_text("1")
        os.utime(file)
        file.read_text()
        (tmp_path / "new").write_text("1")
        (tmp_path / "new").rename(file)
        other.write_text("2")
        assert await told.next() == {other}
        assert told.changes == [{other}]


async def test_a_file_that_is_being_written_is_told_once_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("")
    seen: list[str] = []
    changed = asyncio.Event()

    def look(paths: frozenset[Path]) -> None:
        seen.append(file.read_text())
        changed.set()

    async with FileWatch([file], look, quiet=0.25, poll=60):
        for end in range(1, 6):
            file.write_text("whole"[:end])
            await asyncio.sleep(0.02)
        async with asyncio.timeout(10):
            await changed.wait()
    assert seen == ["whole"]


async def test_events_without_an_end_do_not_put_a_look_off_for_ever(tmp_path: Path) -> None:
    file, noise = tmp_path / "a", tmp_path / "noise"
    file.write_text("1")
    async with watching([file, tmp_path], quiet=0.5) as told:
        loop = asyncio.get_running_loop()
        began = loop.time()
        file.write_text("2")
        while not told.changes:
            noise.write_text(str(loop.time()))
            await asyncio.sleep(0.01)
            assert loop.time() - began < 5
        assert told.changes == [{file}]


async def test_files_in_the_same_folder_that_nobody_named_wake_nobody(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1")
    looks = 0

    def paths() -> list[Path]:
        nonlocal looks
        looks += 1
        return [tmp_path / ".env"]

    async with watching(paths) as told:
        before = looks
        for turn in range(5):
            (tmp_path / "app.db-journal").write_text(str(turn))
            (tmp_path / "app.db-journal").unlink()
            await asyncio.sleep(0.1)  # longer than it waits for quiet: each of these would be a look
        (tmp_path / ".env").write_text("A=2")
        await told.next()
        assert looks - before == 1


async def test_a_change_is_seen_without_events_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eggycore.watching._event_types", list)  # as on a file system that gives none
    file = tmp_path / "a"
    file.write_text("1")
    async with watching([file], poll=0.05) as told:
        file.write_text("2")
        assert await told.next() == {file}


async def test_a_system_without_watches_left_is_told_once_and_files_are_looked_at_every_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from watchdog.observers.inotify_c import InotifyFD

    def exhausted(*_: object) -> int:
        raise OSError(errno.EMFILE, "inotify instance limit reached")

    warnings: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr("eggycore.watching.log.warn", lambda message, **fields: warnings.append((message, fields)))
    monkeypatch.setattr("eggycore.watching.POLL_WITHOUT_EVENTS", 0.05)
    monkeypatch.setattr(InotifyFD, "_create_inotify_fd", exhausted)
    file = tmp_path / "a"
    file.write_text("1")
    async with watching([file]) as told:
        for text in ("2", "3"):
            file.write_text(text)
            assert await told.next() == {file}
        monkeypatch.undo()
    assert warnings == [
        (
            "files are looked at every second: the system gives no events for them",
            {
                "reason": "inotify instance limit reached",
                "action": "Raise fs.inotify.max_user_watches or fs.inotify.max_user_instances, or live with it.",
            },
        )
    ]


async def test_what_a_callback_raises_does_not_end_the_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[str] = []
    monkeypatch.setattr("eggycore.watching.log.error", lambda message, **fields: errors.append(message))
    file = tmp_path / "a"
    file.write_text("1")
    told = Told()

    def fail_first(paths: frozenset[Path]) -> None:
        told(paths)
        if len(told.changes) == 1:
            raise RuntimeError

    async with FileWatch([file], fail_first, quiet=0.02, poll=60):
        file.write_text("2")
        await told.next()
        file.write_text("3")
        await told.next()
    assert errors == ["looking at the files failed"]


async def test_an_event_that_cannot_be_handled_does_not_end_the_observer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[str] = []
    monkeypatch.setattr("eggycore.watching.log.error", lambda message, **fields: errors.append(message))
    file = tmp_path / "a"
    file.write_text("1")
    watch = FileWatch([file], (told := Told()), quiet=0.02, poll=60)
    async with watch:
        call = watch._folders.on_event
        failed = threading.Event()

        def fail() -> None:
            failed.set()
            raise RuntimeError

        watch._folders.on_event = fail
        file.write_text("2")
        assert await asyncio.to_thread(failed.wait, 10)
        watch._folders.on_event = call
        file.write_text("3")
        assert await told.next() == {file}
    assert set(errors) == {"an event of a watched folder was lost"}


async def test_an_observer_that_has_died_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("1")
    watch = FileWatch([file], (told := Told()), quiet=0.02, poll=0.1)
    async with watch:
        observer = watch._folders._observer
        assert observer is not None
        await asyncio.to_thread(observer.stop)
        await asyncio.to_thread(observer.join)
        while watch._folders._observer in (observer, None):
            await asyncio.sleep(0.01)
        watch._poll = 60
        file.write_text("2")
        assert await told.next() == {file}


async def test_what_is_not_there_yet_needs_no_thread(tmp_path: Path) -> None:
    before = {thread.ident for thread in threading.enumerate()}
    async with watching([tmp_path / ".env"], poll=0.05) as told:
        new = [thread for thread in threading.enumerate() if thread.ident not in before]
        assert all(thread.name.startswith("asyncio_") for thread in new)
        (tmp_path / ".env").write_text("A=1")
        assert await told.next() == {tmp_path / ".env"}


@pytest.mark.parametrize("cancels", [1, 3])
async def test_a_watch_that_is_cancelled_while_it_begins_or_ends_leaves_no_thread(tmp_path: Path, cancels: int) -> None:
    (tmp_path / "a").write_text("1")

    async def watch() -> None:
        async with watching([tmp_path / "a"]):
            await asyncio.Event().wait()

    for turn in range(20):
        task = asyncio.create_task(watch())
        await asyncio.sleep(turn / 2000)
        for _ in range(cancels):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait({task})
        assert task.cancelled()
    observers = [thread for thread in threading.enumerate() if thread.name.startswith("Thread-")]
    assert observers == []


@pytest.mark.parametrize("text", ["loop", "loop/inner", "../{name}/a", "missing/../a"])
async def test_odd_paths_are_watched_as_the_system_resolves_them(tmp_path: Path, text: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("1")
    path = tmp_path / text.format(name=tmp_path.name)
    async with watching([path, tmp_path / "b"]) as told:
        (tmp_path / "b").write_text("2")
        assert await told.next() == {tmp_path / "b"}
        (tmp_path / "a").write_text("2")
        if path.exists():
            assert await told.next() == {path}


def test_a_start_imports_nothing_that_watches() -> None:
    code = (
        "import sys\n"
        "from eggycore import Runtime\n"
        "runtime = Runtime(environ={'SERVICE_NAME': 'a', 'HEALTH_CHECK_PORT': '0'}, discover=False)\n"
        "runtime.launcher\n"
        "print(*{'watchdog', 'eggycore.watching', 'eggycore.config.reload', 'yaml'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


async def test_the_library_says_nothing_of_each_event_even_when_everything_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "base.toml"
    path.write_text("a = 1")
    caplog.set_level(logging.DEBUG)
    async with watching([path]) as told:
        path.write_text("a = 2")
        assert await told.next() == {path}
    assert [record.name for record in caplog.records if record.name.startswith("watchdog")] == []
