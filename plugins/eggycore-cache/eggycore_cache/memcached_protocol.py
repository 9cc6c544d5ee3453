"""Memcached's meta commands as bytes, and what the server says to them."""

from __future__ import annotations

from typing import TypeAlias

__all__ = ["Answer", "Garbled", "Parser", "authenticate", "count", "delete", "exists", "get", "look", "store", "touch"]

Answer: TypeAlias = tuple[bytes, bytes, bytes | None]
"""Its code (b"VA", b"HD", b"EN", ...), the rest of its line, and the value when there is one."""

LONGEST_LINE = 65_536
LARGEST_VALUE = 1 << 30
"""Bytes. What says more than that is no Memcached server: its largest item has 1 GB."""

# What leaves no doubt where the next answer begins. "VA" and the lines of statistics are read apart.
_CODES = frozenset([b"HD", b"EN", b"NS", b"EX", b"NF", b"MN", b"VERSION", b"STORED", b"SERVER_ERROR"])
_REASONS = {
    b"CLIENT_ERROR unauthenticated": "wants a user and a password",
    b"ERROR Too many open connections": "has too many connections",
}
_SAYS_NO = {b"ERROR": "does not know a command", b"CLIENT_ERROR": "refuses a command"}
_HARMLESS = (b"cannot increment or decrement", b"authentication failure")


class Garbled(Exception):
    """The server's words leave in doubt which answer belongs to which request. Its text is for people."""


class Parser:
    """Cuts what arrives, in pieces of any size, into answers. A value is put together once, when it is whole."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._held = 0
        self._wanted = 0
        self._statistics: list[bytes] = []

    def feed(self, data: bytes) -> list[Answer]:
        """The answers that are complete now, in order.

        Raises:
            Garbled: It is nothing that a Memcached server says, or says while all is well.
        """
        if self._pieces:
            self._pieces.append(data)
            self._held += len(data)
            if self._held < self._wanted:
                return []
            data = b"".join(self._pieces)
            self._pieces.clear()
        answers: list[Answer] = []
        at = 0
        while (eol := data.find(b"\r\n", at)) >= 0:
            line = data[at:eol]
            if line.startswith(b"VA "):
                size, _, rest = line[3:].partition(b" ")
                start = eol + 2
                stop = start + _size(size)
                if stop + 2 > len(data):
                    self._keep(data, at, wanted=stop + 2 - at)
                    return answers
                if data[stop : stop + 2] != b"\r\n":
                    raise Garbled("sent a value of another length than it said")
                answers.append((b"VA", rest, data[start:stop]))
                at = stop + 2
            else:
                self._plain(line, answers)
                at = eol + 2
        if len(data) - at > LONGEST_LINE:
            raise Garbled("sent a line without an end")
        self._keep(data, at, wanted=len(data) - at + 1)
        return answers

    def _keep(self, data: bytes, at: int, *, wanted: int) -> None:
        if at < len(data):
            self._pieces.append(data[at:])
            self._held = len(data) - at
            self._wanted = wanted

    def _plain(self, line: bytes, answers: list[Answer]) -> None:
        code, _, rest = line.partition(b" ")
        if code in _CODES or (code == b"CLIENT_ERROR" and rest.startswith(_HARMLESS)):
            answers.append((code, rest, None))
        elif code == b"STAT":
            self._statistics.append(rest)
        elif line == b"END":
            answers.append((b"END", b"", b"\n".join(self._statistics)))
            self._statistics.clear()
        else:
            raise Garbled(_REASONS.get(line) or _SAYS_NO.get(code, "does not speak Memcached's protocol"))


def get(wire: bytes) -> bytes:
    """Flags and value: VA or EN."""
    return b"mg %b f v\r\n" % wire


def look(wire: bytes) -> bytes:
    """Flags, the token that `store` takes as `cas`, and value: VA or EN."""
    return b"mg %b f c v\r\n" % wire


def exists(wire: bytes) -> bytes:
    """Flags, without a trace in the server's order of use: HD or EN."""
    return b"mg %b f u\r\n" % wire


def touch(wire: bytes, expiry: bytes) -> bytes:
    """Another end: HD with flags, or EN."""
    return b"mg %b f T%b\r\n" % (wire, expiry)


def delete(wire: bytes) -> bytes:
    """HD or NF."""
    return b"md %b\r\n" % wire


def store(wire: bytes, value: bytes, *, flags: int = 0, expiry: bytes = b"0", condition: bytes = b"") -> bytes:
    """HD when stored; NS, EX or NF when a condition did not hold; SERVER_ERROR.

    Args:
        wire: What the key is called there.
        value: Its value.
        flags: 32 bits that `get` gives back.
        expiry: Seconds as digits: up to 30 days from now, above that since 1970; b"0" for no end.
        condition: b" ME" when there must be none, b" C<token>" when it must be the one that `look` saw.
    """
    return b"ms %b %d F%d T%b%b\r\n%b\r\n" % (wire, len(value), flags, expiry, condition, value)


def count(wire: bytes, amount: int) -> bytes:
    """VA with the new number, NF, or CLIENT_ERROR when what is there is no number. Never falls below 0."""
    return b"ma %b v %b D%d\r\n" % (wire, b"MI" if amount >= 0 else b"MD", min(abs(amount), (1 << 64) - 1))


def authenticate(user: str, password: str) -> bytes:
    """STORED, or CLIENT_ERROR."""
    words = f"{user} {password}".encode()
    return b"set auth 0 0 %d\r\n%b\r\n" % (len(words), words)


def _size(text: bytes) -> int:
    if not text.isdigit() or len(text) > 10 or (size := int(text)) > LARGEST_VALUE:
        raise Garbled("sent a value without a size")
    return size
