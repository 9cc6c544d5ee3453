"""Follows a ConfigMap that is mounted as a folder, and lays each of its states over the environment of the runtime."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eggycore import log
from eggycore.diagnostics import Diagnosis, diagnose, explain
from eggycore.errors import ConfigError, ConfigProblem, Degraded, EggycoreError
from eggycore.types import HealthCheck, Initializer
from eggycore.watching import FileWatch
from eggycore_k8s_watch.laying import Laying
from eggycore_k8s_watch.mount_points import MOUNTS, fixed_mounts
from eggycore_k8s_watch.mount_reading import origin_of, read_mount
from eggycore_k8s_watch.overlays import Overlay, overlay_of

if TYPE_CHECKING:
    from eggycore.runtime import Runtime

__all__ = ["CHECK", "MountMissing", "MountedConfig", "mount_check", "mount_initializer"]

CHECK = "k8s-mount"
"""The name of the initializer and of its health check."""


@dataclass(eq=False)
class MountMissing(EggycoreError):
    """There is no folder where K8S_CONFIG_DIR says that a ConfigMap is mounted."""

    folder: Path


@diagnose.register
def _(error: MountMissing) -> Diagnosis:
    return Diagnosis(
        description=f"There is no folder {error.folder}.",
        cause="K8S_CONFIG_DIR says that a ConfigMap is mounted there.",
        action="Mount the ConfigMap there as a volume, or correct K8S_CONFIG_DIR.",
    )


class MountedConfig:
    """The mounted ConfigMap of this process, followed for as long as `opened` is open. Used on one event loop.

    Args:
        runtime: Whose environment it is laid over.
        folder: Where it is mounted.
        mounts: Linux' list of mounts, which tells what Kubernetes will never update.
    """

    def __init__(self, runtime: Runtime, folder: Path, *, mounts: Path = MOUNTS) -> None:
        self._runtime = runtime
        self._folder, self._mounts = folder.absolute(), mounts
        self._laying = Laying(runtime, CHECK)
        self._good = Overlay()
        self._problems: tuple[ConfigProblem, ...] = ()
        self._fixed: tuple[Path, ...] = ()
        self._said: tuple[str, ...] = ()
        self._news = asyncio.Event()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[MountedConfig]:
        """Take the first state over, and follow it until the end of the block.

        Raises:
            MountMissing: There is no such folder.
        """
        if not await asyncio.to_thread(self._folder.is_dir):
            raise MountMissing(self._folder)
        self._fixed = await asyncio.to_thread(fixed_mounts, self._folder, self._mounts)
        # Watched before it is read: what changes in between is read again.
        async with FileWatch(self._paths, lambda _: self._news.set()), asyncio.TaskGroup() as tasks:
            await self._take_over()
            laying = tasks.create_task(self._lay_news(), name="eggycore k8s mount")
            try:
                yield self
            finally:
                laying.cancel()

    def check(self) -> None:
        """The health check.

        Raises:
            Degraded: Not every value that the folder holds is in force.
        """
        reasons = [f"{each.key}: {each.reason}; the last good values are kept" for each in self._problems]
        if self._laying.refusal:
            reasons.append(self._laying.refusal)
        if reasons:
            raise Degraded("; ".join(reasons))

    def _paths(self) -> list[Path]:
        """The folder, for files that come and go, and its files as users see them. In a worker thread."""
        try:
            return [self._folder, *(each for each in self._folder.iterdir() if not each.name.startswith("."))]
        except OSError:
            return [self._folder]

    async def _lay_news(self) -> None:
        """Lay the latest state, and again when it has changed meanwhile."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self._take_over()
            self._runtime.health.look_again(CHECK)

    async def _take_over(self) -> None:
        reading = await asyncio.to_thread(read_mount, self._folder)
        overlay = overlay_of(origin_of(self._folder), reading.texts, environment=self._runtime.environment)
        problems = (*reading.problems, *overlay.problems)
        if problems and problems != self._problems:
            what = "a mounted ConfigMap is not taken over; its last good values stay"
            log.error(what, reason=explain(ConfigError(problems)))
        self._problems = problems
        if not problems:
            self._good = overlay
            origin = origin_of(self._folder)
            ignored = (f"{origin}, key {name}, is ignored: {why}." for name, why in reading.ignored.items())
            self._say(*overlay.warnings, *ignored, *map(_never_updated, self._fixed))
        await self._laying.lay(self._good.layers)

    def _say(self, *warnings: str) -> None:
        for warning in warnings:
            if warning not in self._said:
                log.warn(warning)
        self._said = warnings


def mount_initializer(runtime: Runtime, folder: Path, *, mounts: Path = MOUNTS) -> Initializer[MountedConfig]:
    """The step that takes a mounted ConfigMap over, and follows it.

    Args:
        runtime: The runtime.
        folder: Where it is mounted: K8S_CONFIG_DIR.
        mounts: Linux' list of mounts.
    """

    @asynccontextmanager
    async def opened() -> AsyncIterator[MountedConfig]:
        async with MountedConfig(runtime, folder, mounts=mounts).opened() as mounted:
            yield mounted

    return Initializer(name=CHECK, open=opened, provides=MountedConfig)


def mount_check(runtime: Runtime) -> HealthCheck:
    """Whether every value of the mounted ConfigMap is in force. Not critical: the last good ones are."""
    return HealthCheck(name=CHECK, check=lambda: runtime.get(MountedConfig).check(), critical=False)


def _never_updated(path: Path) -> str:
    return (
        f"{path} is mounted with subPath: Kubernetes never updates it while this pod runs. Mount the whole ConfigMap as"
        " a folder, without subPath."
    )
