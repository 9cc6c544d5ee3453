"""The pytest plugin of the test kit; pytest loads it by its entry point, and it imports little until it is used.

Without pytest-asyncio (see `pip install 'eggycore[testing]'`) it brings nothing, and disturbs nobody's tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eggycore.testing import Running

if find_spec("pytest_asyncio") is not None:
    import pytest_asyncio

    @pytest_asyncio.fixture
    async def run_app() -> AsyncIterator[Callable[..., Awaitable[Running]]]:
        """Start runtimes that are stopped at the end of the test; takes what `eggycore.testing.running` takes.

        Example:
            async def test_hello(run_app):
                service = await run_app("hello", plugins=["db"], settings={"GREETING": "hi"})
                response = await service.http.get("/hello")
                assert response.status == 200
        """
        from eggycore.testing import running

        async with AsyncExitStack() as stack:

            async def start(app: object | str | None = None, **options: object) -> Running:
                return await stack.enter_async_context(running(app, **options))  # type: ignore[arg-type]  # checked there

            yield start
