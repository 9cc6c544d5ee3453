"""URLs as the values of variables: what is one, and how it may be shown."""

from __future__ import annotations

import re

from eggycore.config.secret import MASK

__all__ = ["check_url", "masked_url"]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]")
_PASSWORD = re.compile(r"((?>(?:[A-Za-z][A-Za-z0-9+.-]*://)?)[^:]*:)(.*)(@[^@]*)", re.DOTALL)


def check_url(text: str) -> str | None:
    """Why the text is no absolute URL with a host, without the text; None when it is one."""
    from urllib.parse import urlsplit  # here, because few settings are URLs

    if _BLANK.search(text):
        return "not a URL: it holds a space or a control character"
    if not _SCHEME.match(text):
        return "not a URL: it does not begin with a scheme such as https://"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return "not a URL: its host or port cannot be read"
    if not parts.hostname or (port is None and parts.netloc.endswith(":")):
        return "not a URL: it has no host" if not parts.hostname else "not a URL: its host or port cannot be read"
    return None


def masked_url(text: str) -> str:
    """The text with what may be a password masked, whether it is a URL or was to be one.

    Between the first colon and the last "@" is the password of whoever forgot to encode it, too.

    >>> masked_url("https://user:s3cret@mail.example/send")
    'https://user:******@mail.example/send'
    """
    return _PASSWORD.sub(rf"\1{MASK}\3", text) if _PASSWORD.fullmatch(text) else text
