"""What is said to Redis: commands as bytes, patterns, slots and redirections."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, cast

import hiredis
from redis.crc import key_slot

__all__ = [
    "INCREMENT",
    "MAX_VALUE",
    "Command",
    "Redirection",
    "milliseconds",
    "pack",
    "prefix_pattern",
    "redirection",
    "slot_of",
]

Command: TypeAlias = tuple[str | bytes | int, ...]

MAX_VALUE = 512 * 1024 * 1024
"""Bytes of the largest value: proto-max-bulk-len of Redis, unless it was changed there."""

pack = cast("Callable[[Command], bytes]", hiredis.pack_command)
"""A command as the bytes that are sent."""

# Answers nothing for what is no number: error replies of scripts look different from one version to the next.
# Redis counts in 64 bits and Lua in 53, so the number stays a text here. INCRBY refuses leading zeros, which
# Memcached takes. What follows a changed value does not touch its time to live.
INCREMENT = """local old = redis.call('GET', KEYS[1])
if old then
  if not string.find(old, '^%d+$') then return false end
  if string.find(old, '^0%d') then
    local bare = string.gsub(old, '^0+', '')
    redis.call('SET', KEYS[1], bare == '' and '0' or bare, 'KEEPTTL')
  end
end
local new = redis.pcall('INCRBY', KEYS[1], ARGV[1])
if type(new) == 'table' then
  if string.find(new.err, 'overflow') or string.find(new.err, 'integer') then return false end
  return new
end
if new < 0 then redis.call('SET', KEYS[1], '0', 'KEEPTTL') end
if not old and ARGV[2] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return redis.call('GET', KEYS[1])"""

_GLOB = re.compile(r"([\\*?\[\]])")
_LONGEST = 2**53
"""Milliseconds; some 285,000 years. Redis refuses what overflows its clock."""


def milliseconds(ttl: float) -> int:
    """A time to live as Redis takes it: at least 1."""
    return max(1, min(_LONGEST, round(ttl * 1000))) if ttl < _LONGEST else _LONGEST


def prefix_pattern(prefix: str) -> str:
    """The pattern of SCAN MATCH for every key that begins with this text."""
    return _GLOB.sub(r"\\\1", prefix) + "*"


def slot_of(key: str | bytes) -> int:
    """The slot of a Redis Cluster that a key belongs to, 0 to 16383."""
    return key_slot(key.encode() if isinstance(key, str) else key)


@dataclass(frozen=True, kw_only=True)
class Redirection:
    """Where a node of a cluster sends a client that asked the wrong one.

    Args:
        host: Of the right node; "" for the same host.
        port: Its port.
        lasting: Whether the slot has moved for good (MOVED), not for this one command (ASK).
    """

    host: str
    port: int
    lasting: bool


def redirection(text: str) -> Redirection | None:
    """What a "MOVED 3999 127.0.0.1:6381" or "ASK ..." says, None for every other error reply."""
    word, _, rest = text.partition(" ")
    if word not in ("MOVED", "ASK"):
        return None
    host, _, port = rest.partition(" ")[2].rpartition(":")
    return Redirection(host=host.strip("[]"), port=int(port), lasting=word == "MOVED") if port.isdecimal() else None
