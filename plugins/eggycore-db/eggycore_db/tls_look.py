"""A second look at a PostgreSQL server's certificate, as libpq does not say what is wrong with it."""

from __future__ import annotations

import socket
import ssl
import struct

from eggycore_db.targets import ServerTarget

__all__ = ["certificate_trouble"]

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
"""What a client sends first that wants TLS: its length and a number that stands for that."""


def certificate_trouble(target: ServerTarget, timeout: float) -> str:
    """What OpenSSL says of the server's certificate, "" when it finds nothing or cannot look.

    Args:
        target: With `tls` that verifies.
        timeout: Seconds for the connection, and for each answer.
    """
    assert target.tls is not None
    try:
        context = ssl.create_default_context(cafile=str(target.tls.ca) if target.tls.ca is not None else None)
        context.check_hostname = target.tls.mode == "verify-full"
        with socket.create_connection((target.host, target.port), timeout=timeout) as plain:
            plain.sendall(_SSL_REQUEST)
            if plain.recv(1) == b"S":
                context.wrap_socket(plain, server_hostname=target.host).close()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except OSError:
        return ""
    return ""
