"""Wheels of every distribution, and throw-away environments that hold nothing but what a wheel asks for."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.packaging.requirements import closure, installed_requires
from tests.served import served

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "eggycore-heartbeat"
PROJECTS = [ROOT, *sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml")), EXAMPLE]


@dataclass(frozen=True)
class Environment:
    """A virtual environment of its own, in which no checkout can be imported."""

    folder: Path

    @property
    def site_packages(self) -> Path:
        return next(self.folder.glob("lib/python*/site-packages"))

    def command(self, *words: str | Path) -> list[str]:
        """The command line of a script or python of this environment."""
        return [str(self.folder / "bin" / words[0]), *map(str, words[1:])]

    def run(self, *words: str | Path, cwd: Path | None = None) -> str:
        """Standard output of a command that must succeed."""
        done = subprocess.run(
            self.command(*words), cwd=cwd or self.folder, env=plain_environ(), capture_output=True, text=True
        )
        assert done.returncode == 0, f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def serving(self, *words: str, **settings: str) -> Iterator[str]:
        """The address of `eggycore run` with these words, until the end of the block."""
        command = self.command("eggycore", "run", *words)
        with served(command, cwd=self.folder, environ=plain_environ(**settings)) as ports:
            yield f"http://127.0.0.1:{ports['BUSINESS_HTTP_PORT']}"

    def plugins(self, *options: str, cwd: Path | None = None) -> dict[str, dict[str, object]]:
        """What `eggycore plugins --json` lists, by name."""
        return {row["name"]: row for row in json.loads(self.run("eggycore", "plugins", "--json", *options, cwd=cwd))}


def plain_environ(**extra: str) -> dict[str, str]:
    """This process's environment without what would lead back to the checkout."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | extra


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder with one wheel of each distribution, built once for all workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "wheels"
    with _locked(folder.with_suffix(".lock")):
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            for project in PROJECTS:
                build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(partial)]
                subprocess.run(build, cwd=project, check=True, capture_output=True)
            partial.rename(folder)
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def install(wheelhouse: Path, tmp_path: Path) -> Callable[..., Environment]:
    """Makes an environment with the wheels of the named distributions ("eggycore[grpc]") and what they require."""

    def make(*names: str) -> Environment:
        environment = Environment(tmp_path / "venv")
        venv.create(environment.folder, symlinks=True, with_pip=False)
        _link(_foreign(names, wheelhouse), environment.site_packages)
        # Without --no-deps: pip itself checks that everything the wheels require is there.
        target = [sys.executable, "-m", "pip", "--isolated", "--python", environment.command("python")[0]]
        offline = ["--quiet", "--no-index", "--find-links", str(wheelhouse)]
        subprocess.run([*target, "install", *offline, *names], check=True)
        return environment

    return make


def _foreign(names: tuple[str, ...], wheelhouse: Path) -> list[Distribution]:
    """The installed distributions that the wheels require, without the project's own."""

    def requires(name: str) -> list[str]:
        return _requires_of_wheel(name, wheelhouse) if name.startswith("eggycore") else installed_requires(name)

    return [distribution(name) for name in closure(names, requires) if not name.startswith("eggycore")]


def _requires_of_wheel(name: str, wheelhouse: Path) -> list[str]:
    (wheel,) = wheelhouse.glob(f"{name.replace('-', '_')}-*.whl")
    with ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        head = archive.read(metadata).decode().split("\n\n")[0]
    return [line.partition(": ")[2] for line in head.splitlines() if line.startswith("Requires-Dist: ")]


def _link(distributions: list[Distribution], site_packages: Path) -> None:
    for found in distributions:
        for top in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
            link = site_packages / top
            if not link.exists():
                link.symlink_to(str(found.locate_file(top)))
