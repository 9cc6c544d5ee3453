"""Settings of the servers. Imports neither aiohttp nor grpc."""

from __future__ import annotations

from eggycore.config import Duration, Settings, Size, env

__all__ = ["GRPCSettings", "HTTPSettings"]


class HTTPSettings(Settings):
    """How HTTP is served."""

    max_body_size: Size = env(
        "HTTP_MAX_BODY_SIZE",
        default=1_000_000,
        ge=1,
        reload=True,
        doc="Longest request body that is read; a longer one gets 413.",
    )
    keepalive_timeout: Duration = env(
        "HTTP_KEEPALIVE_TIMEOUT",
        default=75.0,
        ge=0.1,
        reload=True,
        doc="How long an idle connection stays open; more than the idle timeout of the balancer in front.",
    )
    access_log: bool = env("HTTP_ACCESS_LOG", default=True, reload=True, doc="Write one log line for each request.")


class GRPCSettings(Settings):
    """How gRPC is served."""

    reflection: bool = env("GRPC_REFLECTION", default=True, doc="Tell clients which services and messages there are.")
    max_message_size: Size = env(
        "GRPC_MAX_MESSAGE_SIZE", default=4 * 1024**2, ge=1, doc="Largest message that is received or sent."
    )
    keepalive_time: Duration = env(
        "GRPC_KEEPALIVE_TIME", default=7200.0, ge=1, doc="Silence after which the server pings a client."
    )
    keepalive_timeout: Duration = env(
        "GRPC_KEEPALIVE_TIMEOUT", default=20.0, ge=0.1, doc="How long the answer to such a ping may take."
    )
