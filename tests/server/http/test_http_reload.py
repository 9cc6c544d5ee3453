"""A server whose settings change while it serves: on open connections too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiohttp import web

from eggycore import Runtime, hookimpl
from eggycore.server.settings import HTTPSettings
from eggycore.testing import running


async def length(request: web.Request) -> dict[str, int]:
    return {"length": len(await request.read())}


async def test_the_longest_body_changes_on_an_open_connection(router: Any, start: Any, connect: Any) -> None:
    router.post("/", length)
    server = await start()
    client = await connect()
    assert (await client.get("/", method="POST", body=b"x" * 50)).json == {"length": 50}
    server.configure(HTTPSettings(max_body_size=10))
    assert (await client.get("/", method="POST", body=b"x" * 50)).status == 413


async def test_an_open_connection_is_closed_after_the_new_idle_time(router: Any, start: Any, connect: Any) -> None:
    router.post("/", length)
    server = await start()
    client = await connect()
    await client.get("/", method="POST")
    server.configure(HTTPSettings(keepalive_timeout=0.1))
    assert await client.closed()
    again = await connect()
    await again.get("/", method="POST")
    assert await again.closed()


async def test_the_access_log_is_switched_off_and_on(router: Any, start: Any, connect: Any, lines: Any) -> None:
    router.post("/", length)
    server = await start()
    client = await connect()
    server.configure(HTTPSettings(access_log=False))
    await client.get("/", "X-Request-ID: silent", method="POST")
    server.configure(HTTPSettings(access_log=True))
    await client.get("/", "X-Request-ID: told", method="POST")
    await lines.wait("request")
    assert [line["request_id"] for line in lines.all("request")] == ["told"]


async def test_a_reload_reaches_the_server_of_business_http(tmp_path: Path) -> None:
    class App:
        @hookimpl
        def register_services(self, runtime: Runtime) -> None:
            runtime.http.post("/", length)

    async with running(App(), folder=tmp_path) as service:
        async with service.http.post("/", data=b"x" * 50) as response:
            assert response.status == 200
        (tmp_path / ".env").write_text("HTTP_MAX_BODY_SIZE=10B\n")
        result = await service.runtime.reload()
        assert (result.outcome, set(result.changed)) == ("applied", {"HTTP_MAX_BODY_SIZE"})
        async with service.http.post("/", data=b"x" * 50) as response:
            assert response.status == 413
