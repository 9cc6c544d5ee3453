"""The package: what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import eggycore_cache


def modules_after(code: str) -> set[str]:
    script = f"import sys; {code}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_else() -> None:
    assert not modules_after("import eggycore_cache") & {"asyncio", "eggycore.config", "eggycore_cache.plugin"}


def test_the_plugin_loads_no_client_of_a_cache_server() -> None:
    loaded = modules_after("import eggycore_cache.plugin, eggycore_cache.initializer")
    assert not loaded & {"aiohttp", "pymemcache", "redis"}


def test_every_public_name_is_there_and_no_other() -> None:
    assert all(getattr(eggycore_cache, name) is not None for name in eggycore_cache.__all__)
    assert eggycore_cache.__all__ == sorted(eggycore_cache.__all__)
    assert dir(eggycore_cache) == sorted([*eggycore_cache.__all__, "__version__"])
    with pytest.raises(AttributeError, match="module 'eggycore_cache' has no attribute 'nothing'"):
        _ = eggycore_cache.nothing
