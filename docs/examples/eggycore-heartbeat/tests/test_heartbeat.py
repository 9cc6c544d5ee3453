"""The plugin in a real runtime on free ports, without discovery: only what is given takes part."""

from pathlib import Path

import pytest

from eggycore import CheckFailed, ConfigError
from eggycore_heartbeat import Heart, plugin


async def test_the_file_is_fresh_while_the_service_lives_and_gone_afterwards(run_app, tmp_path: Path) -> None:
    file = tmp_path / "heartbeat.txt"
    service = await run_app(plugins=[plugin], settings={"HEARTBEAT_FILE": str(file), "HEARTBEAT_EVERY": "0.01"})
    beats = 0
    while beats < 3:
        async with service.http.get("/heartbeat") as response:
            beats = (await response.json())["beats"]
    assert service.runtime.get(Heart).age() < 10
    assert await service.stop() == 0
    assert not file.exists()


async def test_a_file_that_cannot_be_written_stops_the_start(run_app, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await run_app(plugins=[plugin], settings={"HEARTBEAT_FILE": str(tmp_path / "missing" / "heartbeat.txt")})


async def test_a_heart_that_stands_still_turns_the_check_red(run_app, tmp_path: Path) -> None:
    file = tmp_path / "heartbeat.txt"
    service = await run_app(plugins=[plugin], settings={"HEARTBEAT_FILE": str(file), "HEARTBEAT_EVERY": "1000"})
    check = plugin.register_health_checks(service.runtime)
    file.write_text("0")
    with pytest.raises(CheckFailed, match=r"the last beat is .* s old, one is due every 1000 s"):
        check.check()


async def test_an_interval_below_its_bound_is_refused(run_app) -> None:
    with pytest.raises(ConfigError) as refused:
        await run_app(plugins=[plugin], settings={"HEARTBEAT_EVERY": "0"})
    assert [problem.key for problem in refused.value.problems] == ["HEARTBEAT_EVERY"]
