"""Watches files, and tells when what they hold has changed: through a rename, a symlink's swap or a write in place."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from eggycore import log
from eggycore.config.contents import MISSING, content_digest

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import BaseObserver, ObservedWatch

__all__ = ["FileWatch"]

LONGEST_SETTLING = 1.0
"""Seconds after which files are looked at, however many events still come."""

POLL_WITHOUT_EVENTS = 1.0
"""Seconds between looks when the system gives us no events."""

_FOLDER = "a folder"


class FileWatch:
    """Tells when the content of some files changes, while it is entered. On the event loop.

    Events only say when to look: what counts is what the files hold, so that a touch, an access or a write of the same
    content tells nothing. A look every `poll` seconds is the net for file systems without events.

    Args:
        paths: The files, whether they are there or not, or what returns them anew at every look (in a worker thread).
            A folder counts as being there or not, and everything in it is a reason to look.
        changed: Called on the event loop with the paths whose content differs from the last look. What it raises is
            logged.
        quiet: Seconds without an event that must pass before a look: whoever writes has finished then.
        poll: Seconds between looks without any event.

    Example:
        >>> async def follow(path):
        ...     async with FileWatch([path], lambda paths: print("changed:", *paths)):
        ...         await asyncio.Event().wait()
    """

    def __init__(
        self,
        paths: Sequence[Path] | Callable[[], Sequence[Path]],
        changed: Callable[[frozenset[Path]], None],
        *,
        quiet: float = 0.1,
        poll: float = 10.0,
    ) -> None:
        self._paths: Callable[[], Sequence[Path]] = paths if callable(paths) else lambda: paths
        self._changed = changed
        self._quiet = quiet
        self._poll = poll
        self._folders = _Folders()
        self._seen: dict[Path, str] = {}
        self._event = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> FileWatch:
        loop = asyncio.get_running_loop()
        self._folders.on_event = partial(_call_soon, loop, self._event.set)
        try:
            self._seen = await asyncio.to_thread(self._look)
        except BaseException:
            await self._end()
            raise
        self._task = asyncio.create_task(self._watch(), name="eggycore file watch")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        """Let go of everything, however often whoever waits for that is cancelled."""
        if self._task is not None:
            self._task.cancel()
        closing = asyncio.create_task(asyncio.to_thread(self._folders.close), name="eggycore file watch closing")
        left = {closing} if self._task is None else {closing, self._task}
        cancelled: asyncio.CancelledError | None = None
        while left:
            try:
                _, left = await asyncio.wait(left)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    async def _watch(self) -> None:
        while True:
            await self._wait_for_event(self._poll if self._folders.has_events else min(self._poll, POLL_WITHOUT_EVENTS))
            await self._settle()
            try:
                seen = await asyncio.to_thread(self._look)
                differing = _differing(self._seen, seen)
                self._seen = seen
                if differing:
                    self._changed(differing)
            except Exception as error:  # noqa: BLE001  (a watch goes on whatever one look meets)
                log.error("looking at the files failed", exc=error)

    async def _wait_for_event(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        return True

    async def _settle(self) -> None:
        """Let whoever writes finish: wait until nothing has happened for a while, but not for ever."""
        loop = asyncio.get_running_loop()
        latest = loop.time() + LONGEST_SETTLING
        while self._event.is_set() and loop.time() < latest:
            self._event.clear()
            await self._wait_for_event(min(self._quiet, latest - loop.time()))
        self._event.clear()

    def _look(self) -> dict[Path, str]:
        """What every path holds now, with the folders watched in which that is decided. In a worker thread."""
        paths = list(self._paths())
        while True:
            names: dict[Path, set[str] | None] = {}
            for path in paths:
                _add_folders(path, names)
            if not self._folders.follow(names, is_needed=any(map(os.path.lexists, paths))):
                break  # nothing has come between what was found and what is watched
            paths = list(self._paths())
        return {path: _FOLDER if path.is_dir() else content_digest(path) for path in paths}


def _differing(before: Mapping[Path, str], now: Mapping[Path, str]) -> frozenset[Path]:
    """What holds something else now; a path that is not named (any more) is not there."""
    paths = before.keys() | now.keys()
    return frozenset(path for path in paths if before.get(path, MISSING) != now.get(path, MISSING))


class _Folders:
    """The folders from which events come. `on_event` is called in the observer's thread."""

    def __init__(self) -> None:
        self.on_event: Callable[[], None] = lambda: None
        self.has_events = True
        """Whether events can be had; if not, whoever watches has to look more often."""
        self._observer: BaseObserver | None = None
        self._watches: dict[Path, tuple[tuple[int, int], ObservedWatch]] = {}
        self._names: Mapping[Path, set[str] | None] = {}
        self._has_warned = False
        self._is_closed = False
        self._lock = threading.Lock()  # a look goes on in its thread when whoever awaits it is cancelled

    def follow(self, names: Mapping[Path, set[str] | None], *, is_needed: bool) -> bool:
        """Watch these folders and no others.

        Args:
            names: For each folder the names in it that matter; None: all of them.
            is_needed: Whether there is anything to watch yet; the library is loaded, and a thread started, only then.

        Returns:
            Whether it watches one that it did not before.
        """
        with self._lock:
            self._names = names
            if self._is_closed or (self._observer is None and not is_needed):
                return False
            try:
                observer = self._started_observer()
                self._drop_all_but(names, observer)
                added = [self._added(folder, observer) for folder in names if folder not in self._watches]
            except OSError as error:
                self._warn(error)
                return False
            self.has_events = True
            return any(added)

    def close(self) -> None:
        """Watch nothing any more, and wait until the threads have ended."""
        with self._lock:
            self._is_closed = True
            self._stop_observer()

    def _stop_observer(self) -> None:
        observer, self._observer = self._observer, None
        self._watches.clear()
        if observer is not None:
            observer.stop()
            if observer.is_alive():
                observer.join()

    def _started_observer(self) -> BaseObserver:
        if self._observer is not None and not self._observer.is_alive():
            self._stop_observer()  # its thread has died; a new one sees what comes from now on
        if self._observer is None:
            from watchdog.observers import Observer

            logging.getLogger("watchdog").setLevel(logging.INFO)  # each event is some lines of debugging to it
            observer = Observer()
            observer.start()
            self._observer = observer
        return self._observer

    def _drop_all_but(self, names: Mapping[Path, set[str] | None], observer: BaseObserver) -> None:
        alive = {emitter.watch for emitter in observer.emitters if emitter.is_alive()}
        for folder, (identity, watch) in tuple(self._watches.items()):
            if folder not in names or watch not in alive or _identity(folder) != identity:
                del self._watches[folder]
                observer.unschedule(watch)

    def _added(self, folder: Path, observer: BaseObserver) -> bool:
        from watchdog.events import FileSystemEventHandler

        class Handler(FileSystemEventHandler):
            dispatch = staticmethod(partial(self._dispatch, folder))

        identity = _identity(folder)
        if identity is None:
            return False
        try:
            watch = observer.schedule(Handler(), str(folder), event_filter=_event_types())
        except (FileNotFoundError, NotADirectoryError):  # it has gone since it was found
            return False
        self._watches[folder] = identity, watch
        return True

    def _dispatch(self, folder: Path, event: FileSystemEvent) -> None:
        try:
            names = self._names.get(folder)
            places = (os.fsdecode(event.src_path), os.fsdecode(event.dest_path))
            if names is None or any(Path(place).name in names or Path(place) == folder for place in places if place):
                self.on_event()
        except Exception as error:  # noqa: BLE001  (what it raises would end the observer's thread without a word)
            log.error("an event of a watched folder was lost", folder=str(folder), exc=error)

    def _warn(self, error: OSError) -> None:
        self.has_events = False
        if not self._has_warned:
            self._has_warned = True
            log.warn(
                "files are looked at every second: the system gives no events for them",
                reason=error.strerror or type(error).__name__,
                action="Raise fs.inotify.max_user_watches or fs.inotify.max_user_instances, or live with it.",
            )


def _event_types() -> list[type[FileSystemEvent]] | None:
    """What may change a content. Where a file that was written is told of once it is closed, each write is not."""
    from watchdog import events

    if sys.platform != "linux":
        return None
    return [
        events.FileCreatedEvent,
        events.FileDeletedEvent,
        events.FileMovedEvent,
        events.FileClosedEvent,
        events.DirCreatedEvent,
        events.DirDeletedEvent,
        events.DirMovedEvent,
    ]


def _identity(folder: Path) -> tuple[int, int] | None:
    """Which folder a path names now; None when there is none."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _add_folders(path: Path, names: dict[Path, set[str] | None]) -> None:
    """Add the folders in which it is decided what a path leads to, with the names in them that decide it.

    These are the folders of the file and of every symlink on the way; of what is not there, the deepest folder that is.
    """
    where, left = Path(path.anchor or os.sep), list(path.absolute().parts[1:])
    for _ in range(_MOST_STEPS):
        if not left:
            break
        part = left.pop(0)
        if part == "..":
            where = where.parent
            continue
        step = where / part
        try:
            target = step.readlink() if step.is_symlink() else None
        except OSError:
            target = None
        if target is not None or not left or not step.exists():
            _add(names, where, part)
        if target is not None:
            left = [*target.parts[1 if target.is_absolute() else 0 :], *left]
            where = Path(target.anchor) if target.is_absolute() else where
        elif step.exists():
            where = step
        else:
            return
    if where.is_dir():
        names[where] = None  # the path is a folder: whatever happens in it counts


_MOST_STEPS = 256
"""Parts of a path that are followed; symlinks can lead in a circle."""


def _add(names: dict[Path, set[str] | None], folder: Path, name: str) -> None:
    known = names.setdefault(folder, set())
    if known is not None:
        known.add(name)


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)
