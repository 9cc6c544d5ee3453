"""A mounted folder is read as one state, whatever happens to it meanwhile; what is never updated is found."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore_k8s_watch import mount_reading
from eggycore_k8s_watch.mount_points import fixed_mounts
from eggycore_k8s_watch.mount_reading import MAX_BYTES, read_mount
from tests.servers import Volume


@contextmanager
def meanwhile(act: Callable[[], object]) -> Iterator[None]:
    """Do something again and again in another thread."""
    over = threading.Event()

    def repeat() -> None:
        while not over.is_set():
            act()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def told(folder: Path) -> list[tuple[str, str]]:
    """Of what, and why it cannot be used."""
    return [(problem.key, problem.reason) for problem in read_mount(folder).problems]


def test_the_files_of_a_volume_are_read(tmp_path: Path) -> None:
    Volume(tmp_path, {"LOG_LEVEL": "debug\n", "production.yaml": "log:\n  level: info\n"})
    reading = read_mount(tmp_path)
    assert reading.texts == {"LOG_LEVEL": "debug\n", "production.yaml": "log:\n  level: info\n"}
    assert reading.problems == ()


def test_a_state_that_is_being_written_is_not_seen_until_it_is_swapped_in(tmp_path: Path) -> None:
    volume = Volume(tmp_path, {"A": "1"})
    fresh = volume.prepare({"A": "2", "B": "2"})
    assert read_mount(tmp_path).texts == {"A": "1"}
    volume.swap(fresh)
    assert read_mount(tmp_path).texts == {"A": "2", "B": "2"}  # before kubelet has made the link B


def test_two_states_are_never_mixed(tmp_path: Path) -> None:
    volume = Volume(tmp_path, {f"K{number}": "0" for number in range(20)})
    counter = iter(range(1_000_000))

    def swap() -> None:
        text = str(next(counter))
        volume.write({f"K{number}": text for number in range(20)})

    seen = set()
    with meanwhile(swap):
        until = time.monotonic() + 20
        while len(seen) < 20 and time.monotonic() < until:
            reading = read_mount(tmp_path)
            if reading.problems:
                assert "20 times in a row" in reading.problems[0].reason  # said, rather than a mixture shown
                continue
            assert len(reading.texts) == 20
            (text,) = set(reading.texts.values())
            seen.add(text)
    assert len(seen) == 20


def test_a_state_that_is_taken_away_while_it_is_read_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = Volume(tmp_path, {"A": "1", "B": "1"})
    old, look = volume.current, mount_reading._files

    def late(folder: Path) -> Any:
        if folder == old:
            volume.swap(volume.prepare({"A": "2", "B": "2"}))
            (folder / "B").unlink()  # kubelet has begun to remove it
        return look(folder)

    monkeypatch.setattr(mount_reading, "_files", late)
    assert read_mount(tmp_path).texts == {"A": "2", "B": "2"}


def test_a_folder_of_plain_files_is_read_when_it_stands_still(tmp_path: Path) -> None:
    (tmp_path / "LOG_LEVEL").write_text("debug")
    (tmp_path / "LOG_FORMAT").symlink_to("LOG_LEVEL")
    assert read_mount(tmp_path).texts == {"LOG_LEVEL": "debug", "LOG_FORMAT": "debug"}


def test_a_folder_of_plain_files_that_never_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mount_reading, "ATTEMPTS", 3)
    counter = iter(range(1_000_000))
    with meanwhile(lambda: (tmp_path / "LOG_LEVEL").write_text(str(next(counter)))):
        (problem,) = read_mount(tmp_path).problems
    assert problem.key == f"ConfigMap mounted at {tmp_path}"
    assert problem.reason == "changes while it is read, 3 times in a row"
    assert problem.action.startswith("Look at what writes there so often;")


def test_hidden_files_and_folders_are_nobody_s(tmp_path: Path) -> None:
    (tmp_path / ".LOG_LEVEL.swp").write_text("x")
    (tmp_path / "certificates").mkdir()
    assert read_mount(tmp_path).texts == {}
    assert told(tmp_path) == []


def test_a_file_that_is_meant_and_cannot_be_used_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "production.yaml").write_bytes(b"x" * (MAX_BYTES + 1))
    (tmp_path / "LOG_LEVEL").write_bytes(b"\xff\xfe")
    (tmp_path / "HTTP_PORT").write_bytes(b"80\x0080")
    (tmp_path / "base.json").symlink_to("base.json")
    where = f"ConfigMap mounted at {tmp_path}, key"
    assert told(tmp_path) == [
        (f"{where} HTTP_PORT", "binary data, not text in UTF-8"),
        (f"{where} LOG_LEVEL", "binary data, not text in UTF-8"),
        (f"{where} base.json", "cannot be read: Too many levels of symbolic links"),
        (f"{where} production.yaml", "larger than 1 MiB"),
    ]


def test_other_files_may_be_what_they_are(tmp_path: Path) -> None:
    Volume(tmp_path, {"trust.jks": b"\xff\xfe", "large.txt": "x" * (MAX_BYTES + 1), "LOG_LEVEL": "x" * MAX_BYTES})
    reading = read_mount(tmp_path)
    assert reading.ignored == {"large.txt": "larger than 1 MiB", "trust.jks": "binary data, not text in UTF-8"}
    assert (list(reading.texts), reading.problems) == (["LOG_LEVEL"], ())


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    where = f"ConfigMap mounted at {tmp_path / 'none'}"
    assert told(tmp_path / "none") == [(where, "the folder cannot be read: No such file or directory")]


def test_a_volume_whose_state_is_gone(tmp_path: Path) -> None:
    (tmp_path / "..data").symlink_to("..2026_01_01_00_00_00.1")
    where = f"ConfigMap mounted at {tmp_path}"
    assert told(tmp_path) == [(where, "the folder cannot be read: No such file or directory")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mounts")


POD = "/var/lib/kubelet/pods/5c1d/volumes/kubernetes.io~configmap/config"


def mounts(tmp_path: Path, *pairs: tuple[str, Path]) -> Path:
    """A list of mounts: what of the file system is mounted, and where."""
    path = tmp_path / "mountinfo"
    lines = [
        f"{number} 1 259:1 {root} {str(point).replace(' ', chr(92) + '040')} ro,relatime - ext4 /dev/vda rw"
        for number, (root, point) in enumerate([("/", Path("/")), *pairs], 100)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_volume_that_is_mounted_whole_is_updated(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    Volume(folder, {"LOG_LEVEL": "debug"})
    assert fixed_mounts(folder, mounts(tmp_path, (POD, folder))) == ()


def test_a_file_that_is_mounted_by_itself_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "my config"
    folder.mkdir()
    (folder / "LOG_LEVEL").write_text("debug")
    (folder / "data").mkdir()
    listed = mounts(
        tmp_path,
        (f"{POD}/..2026_11_21_09_00_00.123456/LOG_LEVEL", folder / "LOG_LEVEL"),
        ("/", folder / "data"),
        (f"{POD}/..2026_11_21_09_00_00.123456/LOG_LEVEL", tmp_path / "LOG_LEVEL"),
    )
    assert fixed_mounts(folder, listed) == (folder / "LOG_LEVEL",)


def test_a_folder_that_is_mounted_out_of_one_state_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    listed = mounts(tmp_path, (f"{POD}/..2026_11_21_09_00_00.123456/sub", folder))
    assert fixed_mounts(folder, listed) == (folder,)


def test_where_there_is_no_list_nothing_is_found(tmp_path: Path) -> None:
    assert fixed_mounts(tmp_path, tmp_path / "none") == ()


def test_this_machine_s_list_can_be_read(tmp_path: Path) -> None:
    assert fixed_mounts(tmp_path) == ()


WORDS = st.sampled_from(["1", "0:1", "/", "/config", POD, "\\040", "\\7", "-", "ro", "é", "", "\0", "/..", "\t"])


@given(lines=st.lists(st.lists(WORDS, max_size=8)), end=st.sampled_from(["", "\n", "\r\n", "\udcff"]))
def test_any_list_is_read(folder: Path, lines: list[list[str]], end: str) -> None:
    path = folder / "mountinfo"
    path.write_text("\n".join(" ".join(words) for words in lines) + end, errors="surrogateescape")
    fixed_mounts(folder, path)
