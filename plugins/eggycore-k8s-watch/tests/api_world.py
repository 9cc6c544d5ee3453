"""Clients of the API server, and something else that answers in its place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from eggycore.diagnostics import diagnose, render
from eggycore_k8s_watch.api import ApiClient, Timeouts
from eggycore_k8s_watch.kubeconfig import read_kubeconfig
from tests.servers.kubernetes import KubernetesAPI

QUICK = Timeouts(connect=0.5, request=0.5, idle=0.5)


LONG = "x" * 1_000_000


def client(server: KubernetesAPI, folder: Path, **options: Any) -> ApiClient:
    namespace = options.pop("namespace", "shop")
    options.setdefault("timeouts", Timeouts(request=5.0))
    token = options.pop("token", None)
    return ApiClient(read_kubeconfig([server.kubeconfig(folder, token=token, namespace=namespace)]), **options)


@asynccontextmanager
async def answering(answer: web.Response | bytes, *, status: int = 200) -> AsyncIterator[str]:
    """Something on the network that gives this answer to everything."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if isinstance(answer, web.Response):
            return answer
        response = web.StreamResponse(status=status)
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(answer)
        return response

    runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def to(url: str, folder: Path, **options: Any) -> ApiClient:
    file = folder / "config"
    file.write_text(
        f"current-context: x\ncontexts: [{{name: x, context: {{cluster: x}}}}]\n"
        f"clusters: [{{name: x, cluster: {{server: '{url}'}}}}]\n"
    )
    options.setdefault("timeouts", QUICK)
    return ApiClient(read_kubeconfig([file]), **options)


def message(error: BaseException) -> str:
    return render(diagnose(error))


# --- what it does
