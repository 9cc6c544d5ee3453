"""What a file holds, as a digest: for telling whether it has changed, never for showing."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

__all__ = ["MISSING", "content_digest"]

MISSING = "missing"
"""The digest of a file that is not there."""

_COMPARED = 1_048_576
"""Bytes of a file that are compared; of a longer one, its length is too."""


def content_digest(path: Path) -> str:
    """64 hexadecimal digits that differ when the content does; words for what holds none. Never raises."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return "no file"  # reading a pipe would wait for its writer
        with path.open("rb") as file:
            content = file.read(_COMPARED + 1)
            length = os.fstat(file.fileno()).st_size if len(content) > _COMPARED else len(content)
    except FileNotFoundError:
        return MISSING
    except OSError as error:
        return f"unreadable: {errno.errorcode.get(error.errno or 0, type(error).__name__)}"
    except ValueError:  # a null character in the name
        return MISSING
    return hashlib.sha256(content + length.to_bytes(8, "big")).hexdigest()
