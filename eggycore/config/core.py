"""The core's own settings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from eggycore.config.kinds import Duration
from eggycore.config.secret import Secret
from eggycore.config.settings import Settings, env
from eggycore.config.units import format_duration
from eggycore.errors import ConfigProblem

__all__ = ["Config"]

CLOSING_TIME = 5.0
"""Seconds at the end of a shutdown that belong to closing and flushing, so that a drain delay must not take them."""

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


class Config(Settings):
    """What every service has: its name, its ports, its log, its deadlines.

    Example:
        >>> Config(service_name="forms", business_http_port=0).environment
        'development'
    """

    service_name: str = env(
        "SERVICE_NAME",
        default_doc="required; by `eggycore run` the app's name",
        doc="Name of the service, in log lines, metrics and traces.",
    )
    environment: str = env(
        "ENVIRONMENT", default="development", doc="Where it runs: development, staging, production or a word of yours."
    )
    enable_business_http: bool = env("ENABLE_BUSINESS_HTTP", default=True, doc="Serve the recorded HTTP routes.")
    business_http_port: int = env(
        "BUSINESS_HTTP_PORT", default=8080, listens="business", when="ENABLE_BUSINESS_HTTP", doc="Port of HTTP."
    )
    enable_business_grpc: bool = env("ENABLE_BUSINESS_GRPC", default=True, doc="Serve the recorded gRPC services.")
    business_grpc_port: int = env(
        "BUSINESS_GRPC_PORT", default=9090, listens="business", when="ENABLE_BUSINESS_GRPC", doc="Port of gRPC."
    )
    enable_health_check: bool = env("ENABLE_HEALTH_CHECK", default=True, doc="Serve the health probes.")
    health_check_port: int = env(
        "HEALTH_CHECK_PORT",
        default=8081,
        listens="management",
        when="ENABLE_HEALTH_CHECK",
        doc="Port of /healthz, /livez, /readyz and /startupz; metrics may share it.",
    )
    bind_host: str = env(
        "BIND_HOST",
        default=lambda facts: "0.0.0.0" if facts.kubernetes or facts.container else "127.0.0.1",  # noqa: S104 - alone in there
        default_doc="0.0.0.0 in Kubernetes or a container, else 127.0.0.1",
        doc="Address that every server listens on.",
    )
    management_token: Secret[str] | None = env(
        "MANAGEMENT_TOKEN",
        default=None,
        doc="Bearer token of those who may see health details and the configuration, and may have that reloaded.",
    )
    log_level: Literal["debug", "info", "warn", "error", "fatal"] = env(
        "LOG_LEVEL", default="info", reload=True, doc="Least severe level that is logged."
    )
    log_format: Literal["json", "console"] = env(
        "LOG_FORMAT",
        default=lambda facts: "console" if facts.terminal else "json",
        default_doc="console on a terminal, else json",
        doc="One JSON object per line, or coloured lines for people.",
    )
    startup_timeout: Duration = env(
        "STARTUP_TIMEOUT",
        default=lambda facts: 300.0 if facts.kubernetes else 60.0,
        default_doc="300s in Kubernetes, else 60s",
        ge=0.1,
        doc="Time for start-up, in which refused connections are tried again.",
    )
    config_dir: Path = env(
        "CONFIG_DIR",
        default=Path("config"),
        doc="Folder of base.* and <environment>.*; set in the environment, in .env or with --set.",
    )
    config_watch: bool = env(
        "CONFIG_WATCH",
        default=True,
        doc="Whether a reload follows when a file changes that the configuration is read from.",
    )
    config_reload_spread: Duration = env(
        "CONFIG_RELOAD_SPREAD",
        default=0.0,
        le=3600.0,
        reload=True,
        doc="Time over which replicas take a costly change (pools, credentials, TLS) that they notice by themselves.",
    )
    shutdown_timeout: Duration = env(
        "SHUTDOWN_TIMEOUT",
        default=25.0,
        ge=0.1,
        reload=True,
        doc="Time from the signal to the exit, drain delay included.",
    )
    shutdown_drain_delay: Duration = env(
        "SHUTDOWN_DRAIN_DELAY",
        default=lambda facts: 5.0 if facts.kubernetes else 0.0,
        default_doc="5s in Kubernetes, else 0s",
        reload=True,
        doc="Time in which a draining process still serves, so that balancers learn of it.",
    )

    def problems(self) -> Iterable[ConfigProblem]:
        if not _WORD.fullmatch(self.environment):
            yield ConfigProblem(
                key="ENVIRONMENT",
                value=self.environment,
                reason="not one word",
                action="Set it to a letter followed by letters, digits, hyphens or underscores.",
            )
        if self.shutdown_drain_delay > max(0.0, self.shutdown_timeout - CLOSING_TIME):
            yield ConfigProblem(
                key="SHUTDOWN_DRAIN_DELAY",
                value=format_duration(self.shutdown_drain_delay),
                reason=f"leaves less than {CLOSING_TIME:g} s of SHUTDOWN_TIMEOUT, which includes it, for closing",
                action=f"Make SHUTDOWN_TIMEOUT at least {CLOSING_TIME:g} s longer than it, or set it to 0.",
            )
