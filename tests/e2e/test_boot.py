"""One call boots everything: `bootstrap`, its awaitable twin, and a launcher on its own."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

Start = Callable[..., Awaitable[Any]]


@pytest.mark.parametrize("how", ["bootstrap", "abootstrap", "launcher"])
async def test_an_app_made_in_code_runs_until_a_signal_and_closes_everything(start: Start, how: str):
    instance = await start(how, script="coded_app.py", EGGYCORE_PLUGINS="")
    await instance.until("ready")
    instance.signal(signal.SIGTERM)
    assert await instance.ended() == 0, await instance.stderr()
    store = ["store"] if how == "launcher" else []
    assert [line["what"] for line in instance.said("opened")] == [*store, "ticker"]
    assert [line["what"] for line in instance.said("closed")] == ["ticker", *store]
    if how != "launcher":
        assert instance.addresses["HEALTH_CHECK_PORT"][0] == "127.0.0.1"
        assert {line["service"] for line in instance.lines} == {"coded"}
