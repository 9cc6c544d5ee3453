"""The mounted folder that tests use is written as kubelet's atomic writer does it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.servers.kubernetes_volume import Volume


def test_files_are_links_through_data_to_a_folder_with_a_time_in_its_name(tmp_path: Path) -> None:
    volume = Volume(tmp_path, {"LOG_LEVEL": "debug", "base.yaml": b"a: 1\n"})
    assert (tmp_path / "LOG_LEVEL").read_text() == "debug"
    assert (tmp_path / "LOG_LEVEL").readlink() == Path("..data/LOG_LEVEL")
    link = (tmp_path / "..data").readlink()
    assert re.fullmatch(r"\.\.\d{4}(_\d\d){5}\.\w+", str(link))
    assert volume.current == tmp_path / link
    assert {each.name for each in tmp_path.iterdir()} == {"..data", str(link), "LOG_LEVEL", "base.yaml"}


def test_a_write_swaps_all_files_at_once_and_leaves_nothing_of_the_old_ones(tmp_path: Path) -> None:
    volume = Volume(tmp_path, {"a": "1", "b": "1"})
    before = volume.current
    volume.write({"b": "2", "c": "2"})
    assert before is not None
    assert not before.exists()
    assert {each.name for each in tmp_path.iterdir() if not each.name.startswith("..")} == {"b", "c"}
    assert [(tmp_path / name).read_text() for name in "bc"] == ["2", "2"]


def test_the_same_content_is_not_written_again(tmp_path: Path) -> None:
    volume = Volume(tmp_path, {"a": "1"})
    before = volume.current
    volume.write({"a": "1"})
    assert volume.current == before


def test_the_steps_can_be_taken_one_by_one(tmp_path: Path) -> None:
    volume = Volume(tmp_path, {"a": "1"})
    fresh = volume.prepare({"a": "2"})
    assert (tmp_path / "a").read_text() == "1"
    volume.swap(fresh)
    assert (tmp_path / "a").read_text() == "2"
