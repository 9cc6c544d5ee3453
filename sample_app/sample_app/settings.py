"""The settings of the sample app."""

from __future__ import annotations

from eggycore import Settings, env
from eggycore.config import Duration

__all__ = ["FormsSettings"]


class FormsSettings(Settings):
    """How forms are kept and listed."""

    cache_ttl: Duration = env(
        "FORMS_CACHE_TTL", default=60.0, ge=0.1, reload=True, doc="How long a form is kept in the cache."
    )
    page_limit: int = env("FORMS_PAGE_LIMIT", default=100, ge=20, le=1000, reload=True, doc="Most forms of one page.")
