"""Cuts a stream of bytes into its lines, however long and however torn they arrive."""

from __future__ import annotations

__all__ = ["LINE_LIMIT", "LineSplitter", "LineTooLong"]

LINE_LIMIT = 8 * 1_048_576
"""Bytes of one line: an object of 1 MiB, of which JSON may write every byte as six."""


class LineTooLong(ValueError):
    """A line that does not end where every line has long ended."""


class LineSplitter:
    """Collects chunks, and hands out the lines that they complete. Costs time in proportion to the bytes.

    Args:
        limit: Bytes that one line may have.
    """

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._length = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that end in this chunk, without their line ends and without empty ones.

        Raises:
            LineTooLong: A line has more bytes than the limit.
        """
        *ends, rest = chunk.split(b"\n")
        lines = []
        for end in ends:
            self._add(end)
            line = b"".join(self._parts)
            self._parts, self._length = [], 0
            if line.strip():
                lines.append(line)
        self._add(rest)
        return lines

    @property
    def pending(self) -> int:
        """Bytes of the line that has not ended yet."""
        return self._length

    def _add(self, part: bytes) -> None:
        self._length += len(part)
        if self._length > self._limit:
            raise LineTooLong
        if part:
            self._parts.append(part)
