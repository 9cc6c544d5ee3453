"""What can be wrong with a log target when it is opened."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import UsageError

__all__ = ["LogTargetError"]


@dataclass(eq=False)
class LogTargetError(UsageError):
    """A log file cannot be opened.

    Args:
        path: The file, as it was set.
        setting: The variable that names it: "LOG_FILE".
        code: The `errno` of the system.
    """

    path: str
    setting: str
    code: int


@diagnose.register
def _(error: LogTargetError) -> Diagnosis:
    return Diagnosis(
        description=f"The log file {error.path} cannot be written: {os.strerror(error.code)}.",
        cause=f"{error.setting} names it.",
        action=f"{_remedy(error)}, or set {error.setting} to a file that can be written.",
    )


def _remedy(error: LogTargetError) -> str:
    folder = os.path.dirname(error.path) or "."  # noqa: PTH120 - text for a message, whatever the path is
    match error.code:
        case errno.EACCES | errno.EPERM:
            return f"Let user {os.geteuid()} write to it and to the folder {folder}"
        case errno.EROFS:
            return f"Mount a writable volume at {folder}"
        case errno.ENOSPC | errno.EDQUOT:
            return f"Free space on the volume of {folder}"
        case errno.EISDIR:
            return "Name a file in that folder"
        case errno.ENOTDIR | errno.EEXIST:
            return f"Name a folder: a part of {folder} is a file"
        case _:
            return f"Check the path and the volume of {folder}"
