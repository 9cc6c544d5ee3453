"""The settings of the servers, and how little it costs to read them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from eggycore.config import read_from_env
from eggycore.server.settings import GRPCSettings, HTTPSettings


def test_the_defaults_are_documented_values():
    assert HTTPSettings() == HTTPSettings(max_body_size=1_000_000, keepalive_timeout=75.0, access_log=True)
    assert GRPCSettings() == GRPCSettings(
        reflection=True, max_message_size=4_194_304, keepalive_time=7200.0, keepalive_timeout=20.0
    )


def test_every_setting_is_read_from_its_variable():
    environ = {"HTTP_MAX_BODY_SIZE": "5MB", "HTTP_KEEPALIVE_TIMEOUT": "1m", "HTTP_ACCESS_LOG": "false"}
    assert read_from_env(HTTPSettings, environ) == HTTPSettings(
        max_body_size=5_000_000, keepalive_timeout=60.0, access_log=False
    )
    environ = {
        "GRPC_REFLECTION": "false",
        "GRPC_MAX_MESSAGE_SIZE": "1MiB",
        "GRPC_KEEPALIVE_TIME": "30s",
        "GRPC_KEEPALIVE_TIMEOUT": "5s",
    }
    assert read_from_env(GRPCSettings, environ) == GRPCSettings(
        reflection=False, max_message_size=1_048_576, keepalive_time=30.0, keepalive_timeout=5.0
    )


@pytest.mark.parametrize("module", ["eggycore.server", "eggycore.server.settings", "eggycore.web"])
def test_nothing_that_serves_is_imported_before_it_is_wanted(module):
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"aiohttp", "grpc", "orjson", "structlog", "pydantic", "prometheus_client"} & set(loaded)
