"""A ConfigMap or Secret volume of a pod, written the way kubelet's atomic writer does."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

DATA = "..data"


class Volume:
    """A mounted folder: files are links through `..data`, a link to a folder with a time in its name, which is swapped.

    Args:
        folder: Where it is mounted; made if it is missing.
        files: Name and content of each file.
    """

    def __init__(self, folder: Path, files: Mapping[str, str | bytes]) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.write(files)

    @property
    def current(self) -> Path | None:
        """The folder that `..data` points to; None before the first write."""
        link = self.folder / DATA
        return self.folder / link.readlink() if link.is_symlink() else None

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Replace all files at once; does nothing when they are the same. The steps are kubelet's, in its order."""
        before = self.current
        if before is not None and _content(before) == {name: _bytes(text) for name, text in files.items()}:
            return
        fresh = self.prepare(files)
        self.swap(fresh)
        self.link(files)
        if before is not None:
            for link in self.folder.iterdir():
                if not link.name.startswith("..") and link.name not in files:
                    link.unlink()
            shutil.rmtree(before)

    def prepare(self, files: Mapping[str, str | bytes]) -> Path:
        """Write the files into a new folder, which nothing points to yet."""
        prefix = datetime.now(UTC).strftime("..%Y_%m_%d_%H_%M_%S.")
        fresh = Path(tempfile.mkdtemp(prefix=prefix, dir=self.folder))
        fresh.chmod(0o755)
        for name, text in files.items():
            (fresh / name).write_bytes(_bytes(text))
            (fresh / name).chmod(0o644)
        return fresh

    def swap(self, fresh: Path) -> None:
        """Point `..data` to a folder: from here on readers see the new files, all of them."""
        draft = self.folder / "..data_tmp"
        draft.symlink_to(fresh.name)
        draft.rename(self.folder / DATA)

    def link(self, files: Mapping[str, str | bytes]) -> None:
        """Make the links that users see, for names that are new."""
        for name in files:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"{DATA}/{name}")


def _content(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir()}


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
