"""A process follows its files by itself: what is right is taken over, what is half written changes nothing."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Start = Callable[..., Awaitable[Any]]


async def watched(start: Start, folder: Path, apps: Path, **settings: str) -> Any:
    """An app in the folder, with a file to watch from the beginning."""
    (folder / "phases_app.py").write_text((apps / "phases_app.py").read_text())
    (folder / ".env").write_text("SERVICE_NAME=watched\n")
    instance = await start("phases_app", "--plugins", "", folder=folder, **settings)
    await instance.until("ready")
    (folder / ".env").write_text("SERVICE_NAME=watched\nLOG_LEVEL=debug\n")
    applied = await instance.until("configuration applied")  # perhaps by the first look, before there are events
    assert (applied["changed"], applied["generation"]) == (["LOG_LEVEL"], 2)
    return instance


async def test_every_kind_of_file_is_followed(start: Start, apps: Path, tmp_path: Path) -> None:
    token, config = tmp_path / "token", tmp_path / "config"
    token.write_text("first")
    instance = await watched(start, tmp_path, apps, MANAGEMENT_TOKEN_FILE=str(token))

    (tmp_path / ".env").write_text("SERVICE_NAME=watched\nLOG_LEVEL=info\n")
    applied = await instance.until("configuration applied")
    assert (applied["by"], applied["changed"], applied["generation"]) == (".env", ["LOG_LEVEL"], 3)

    config.mkdir()
    (config / "base.yaml").write_text("shutdown:\n  timeout: 9s\n")
    applied = await instance.until("configuration applied")
    assert (applied["by"], applied["changed"]) == ("config/base.yaml", ["SHUTDOWN_TIMEOUT"])

    (config / "http").mkdir()
    (config / "http" / "development.json").write_text('{"max_body_size": "2MB"}')
    applied = await instance.until("configuration applied")
    assert (applied["by"], applied["changed"]) == ("config/http/development.json", ["HTTP_MAX_BODY_SIZE"])

    token.write_text("second")
    unchanged = await instance.until("configuration unchanged")
    assert (unchanged["by"], unchanged["pending_restart"]) == ("token", ["MANAGEMENT_TOKEN"])

    shutil.rmtree(config)
    applied = await instance.until("configuration applied")
    assert applied["changed"] == ["HTTP_MAX_BODY_SIZE", "SHUTDOWN_TIMEOUT"]
    instance.signal(signal.SIGTERM)
    assert await instance.ended() == 0


async def test_a_half_written_file_is_refused_once_and_taken_over_when_it_is_whole(
    start: Start, apps: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "base.json").write_text('{"shutdown": {"timeout": "9s"}}')
    instance = await watched(start, tmp_path, apps)
    for half in ('{"shutdown": {"time', ""):
        (config / "base.json").write_text(half)
        refused = await instance.until("configuration refused")
        assert (refused["by"], refused["generation"]) == ("config/base.json", 2)
        assert "config/base.json" in refused["reason"]
    (config / "base.json").write_text('{"shutdown": {"timeout": "8s"}}')
    applied = await instance.until("configuration applied")
    assert (applied["changed"], applied["generation"]) == (["SHUTDOWN_TIMEOUT"], 3)
    instance.signal(signal.SIGTERM)
    assert await instance.ended() == 0
    assert len(instance.said("configuration refused")) == 2


async def test_what_changed_between_the_start_and_ready_is_taken_over(start: Start, apps: Path, tmp_path: Path) -> None:
    (tmp_path / "phases_app.py").write_text((apps / "phases_app.py").read_text())
    (tmp_path / ".env").write_text("LOG_LEVEL=info\n")
    instance = await start("phases_app", "--plugins", "", folder=tmp_path)
    await instance.until("listening")  # the configuration has been read by now
    (tmp_path / ".env").write_text("LOG_LEVEL=debug\n")
    applied = await instance.until("configuration applied")
    assert applied["changed"] == ["LOG_LEVEL"]
    instance.signal(signal.SIGTERM)
    assert await instance.ended() == 0
