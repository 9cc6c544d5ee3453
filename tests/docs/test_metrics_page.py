"""docs/operations.md lists the metrics that there are."""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from eggycore import Runtime, hookimpl
from eggycore.testing import Running

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


class App:
    @hookimpl
    def register_services(self, runtime: Runtime) -> None:
        async def hello(request: object) -> dict[str, str]:
            return {"hello": "world"}

        runtime.http.get("/", hello)
        runtime.grpc.add(lambda servicer, server: None, object())


async def test_every_metric_is_on_the_page_and_none_else(
    run_app: Callable[..., Awaitable[Running]], tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"DATABASE_DSN": f"sqlite:///{tmp_path}/x.db"}
    service = await run_app(App(), plugins=["db", "cache", "monitoring"], settings=settings)
    async with service.metrics.get("/metrics") as response:
        exported = set(re.findall(r"^# TYPE (\S+)", await response.text(), flags=re.MULTILINE))
    listed = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    if sys.platform != "linux":  # prometheus_client reads them from /proc
        listed = {name for name in listed if not name.startswith("process_")}
    assert exported == listed
