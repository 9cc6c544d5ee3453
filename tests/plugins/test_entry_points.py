"""Distributions are found in folders, archives and old layouts, and imported by none of it."""

from __future__ import annotations

import importlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from eggycore import entry_points
from eggycore.compatibility import refused_by
from eggycore.entry_points import PLUGINS, Distribution, EntryPoint

REPOSITORY = Path(__file__).parents[2]


def test_entry_points_come_with_their_distribution(fakes: Path) -> None:
    (found,) = entry_points.find(PLUGINS, [str(fakes / "good")])
    assert found == EntryPoint(PLUGINS, "good", "eggy_good", Distribution("eggycore-good", "1.2.0", ("eggycore>=0.1",)))


def test_they_are_found_in_a_zip_archive(tmp_path: Path, fakes: Path) -> None:
    archive = tmp_path / "plugins.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for item in (fakes / "good").rglob("*"):
            file.write(item, item.relative_to(fakes / "good"))
    (found,) = entry_points.find(PLUGINS, [str(archive)])
    assert (found.name, found.dist.version) == ("good", "1.2.0")
    importlib.invalidate_caches()  # importlib_metadata keeps archives open


def test_they_are_found_in_an_egg_info_of_a_development_install(tmp_path: Path) -> None:
    info = tmp_path / "Old_Plugin.egg-info"
    info.mkdir()
    (info / "PKG-INFO").write_text("Name: Old-Plugin\nVersion: 0.3\n\nA README\nName: not this\n")
    (info / "entry_points.txt").write_text("# hand-made\n[eggycore.plugins]\n; none\nold=old_plugin:hooks [extra]\n")
    (found,) = entry_points.find(PLUGINS, [str(tmp_path)])
    assert found == EntryPoint(PLUGINS, "old", "old_plugin:hooks [extra]", Distribution("Old-Plugin", "0.3"))
    assert entry_points.installed("old.plugin", [str(tmp_path)]) == found.dist


def test_a_distribution_without_metadata_is_named_after_its_folder(tmp_path: Path) -> None:
    info = tmp_path / "damaged-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_bytes(b"[eggycore.plugins]\nx = \xff\n[other]\ny = z\n")
    (found,) = entry_points.find(PLUGINS, [str(tmp_path), str(tmp_path / "not-there")])
    assert (found.name, found.dist) == ("x", Distribution("damaged"))


def test_extras_in_a_value_are_ignored(fakes: Path) -> None:
    assert entry_points.load("json.decoder:JSONDecoder.decode [fast]").__name__ == "decode"


@pytest.mark.parametrize(
    ("requirement", "version", "refused"),
    [
        ("eggycore", "0.1.0", False),
        ("eggycore>=0.1,<1", "0.1.0", False),
        ("Eggycore[grpc]>=0.1.0", "0.1", False),
        ("eggycore (>=0.1)", "0.1.0", False),
        ("eggycore>=99", "0.1.0", True),
        ("eggycore<0.1", "0.1.0", True),
        ("eggycore>=0.10", "0.9", True),
        ("eggycore~=0.1", "0.1.5", False),
        ("eggycore==0.2.*", "0.1.0", True),
        ("eggycore>=0.2", "0.2.0rc1", True),
        ("eggycore>=0.1", "0.2.0rc1", False),
        ("eggycore>=99; extra == 'future'", "0.1.0", False),
        ("eggycore>=99; python_version < '3'", "0.1.0", False),
        ("eggycore>=99; python_version > '3'", "0.1.0", True),
        ("eggycore-db>=99", "0.1.0", False),
        ("eggycore_db>=99", "0.1.0", False),
        ("eggycore.db>=99", "0.1.0", False),
        ("eggycore is great", "0.1.0", True),
    ],
)
def test_a_requirement_on_eggycore_is_held_against_the_running_version(
    requirement: str, version: str, refused: bool
) -> None:
    assert refused_by(["click>=8", requirement], version) == (requirement if refused else None)


def test_the_usual_requirement_needs_no_packaging_and_folders_need_no_importlib_metadata(fakes: Path) -> None:
    code = (
        "import sys; from eggycore import entry_points; from eggycore.compatibility import refused_by;"
        f"(found,) = entry_points.find(entry_points.PLUGINS, [{str(fakes / 'good')!r}]);"
        "assert refused_by([*found.dist.requires, 'eggycore>=0.1,<1'], '0.1.0') is None;"
        "print(*sorted(sys.modules.keys() & {'packaging', 'importlib_metadata', 'importlib.metadata', 'asyncio'}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "\n"


def test_importlib_metadata_is_touched_by_one_module() -> None:
    users = [
        file.name for file in (REPOSITORY / "eggycore").rglob("*.py") if "import importlib_metadata" in file.read_text()
    ]
    assert users == ["entry_points.py"]
