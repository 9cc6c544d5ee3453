"""Says why the API server gave no answer, from what the HTTP client and the operating system raised."""

from __future__ import annotations

import ssl

from eggycore_k8s_watch.errors import ApiUnreachable

__all__ = ["unreachable"]

_COMPARE = "Compare the certificate authority of the ServiceAccount, or of the kubeconfig, with the server's."


def unreachable(server: str, error: BaseException, *, connecting: float) -> ApiUnreachable:
    """The error for a request that got no answer.

    Args:
        server: The URL that was asked.
        error: What was raised.
        connecting: Seconds that a connection may take.
    """
    for one in _chain(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            reason = (one.verify_message or str(one.reason)).rstrip(".")
            return ApiUnreachable(server, f"has a certificate that is not accepted: {reason}", _COMPARE)
        if isinstance(one, ssl.SSLError):
            reason = (one.reason or "handshake failed").replace("_", " ").lower()
            return ApiUnreachable(server, f"did not agree on TLS: {reason}")
        if isinstance(one, ConnectionRefusedError):
            return ApiUnreachable(server, "refused the connection")
        if isinstance(one, ConnectionResetError):
            return ApiUnreachable(server, "cut the connection")
        if isinstance(one, TimeoutError):
            return ApiUnreachable(server, f"took no connection within {connecting:g} s")
        if isinstance(one, OSError) and one.strerror:
            return ApiUnreachable(server, f"could not be connected to: {one.strerror}")
    return ApiUnreachable(server, "cut the connection")


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what it stands for, the innermost first."""
    chain: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and seen not in chain:
        chain.append(seen)
        inner = getattr(seen, "os_error", None) or getattr(seen, "certificate_error", None)
        seen = inner if isinstance(inner, BaseException) else seen.__cause__ or seen.__context__
    return chain[::-1]
