"""Says in the log that something was not served because what it needs is unavailable; an outage does not flood it."""

from __future__ import annotations

from eggycore import log
from eggycore.log.sampling import Sampler, Sampling

__all__ = ["warn_unserved"]

FIRST = 5
"""Lines with the same reason in each second; the access lines show each request."""

_sampler = Sampler(Sampling(first=FIRST))


def warn_unserved(message: str, reason: str, **fields: object) -> None:
    """Warn, unless the same was said often enough in this second; `held_back` tells how many lines were not written."""
    held_back = _sampler.admit(0, f"{message}: {reason}")
    if held_back > 0:
        fields["held_back"] = held_back
    if held_back >= 0:
        log.warn(message, reason=reason, **fields)
