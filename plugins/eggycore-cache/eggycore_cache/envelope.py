"""How a typed value lies in the cache: a header that says how to read it and until when it is fresh, then its bytes."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Envelope", "open_envelope", "seal"]

MAGIC = b"\xe9gg\x01"
"""Its last byte is the version of the format: a value of another one is a miss."""

_HEAD = struct.Struct(">4sdBB")  # magic, fresh until, length of the serializer's name, number of tags
_HEAD_SIZE = _HEAD.size
_TAG = struct.Struct(">H8s")  # length of the tag's name, its version; the name follows

VERSION_BYTES = 8
MAX_TAGS = 255


@dataclass(kw_only=True, slots=True)  # not frozen: that costs a microsecond for each that is read
class Envelope:
    """A value before it is decoded.

    Args:
        payload: What the serializer wrote.
        serializer: Its name.
        fresh_until: Seconds since the epoch after which the value is stale; 0 for never.
        tags: The version that each of its tags had when the value was made.
    """

    payload: bytes
    serializer: str
    fresh_until: float = 0.0
    tags: Mapping[str, bytes] = field(default_factory=dict)


def seal(envelope: Envelope) -> bytes:
    """The bytes of an envelope.

    Raises:
        ValueError: It has more than 255 tags, or a name in it is too long.
    """
    if len(envelope.tags) > MAX_TAGS:
        raise ValueError(f"a value has at most {MAX_TAGS} tags, not {len(envelope.tags)}")
    name = envelope.serializer.encode()
    parts = [_HEAD.pack(MAGIC, envelope.fresh_until, len(name), len(envelope.tags)), name]
    for tag, version in envelope.tags.items():
        text = tag.encode()
        parts += (_TAG.pack(len(text), version), text)
    parts.append(envelope.payload)
    return b"".join(parts)


def open_envelope(data: bytes) -> Envelope | None:
    """The envelope in these bytes; None when they are something else, or of another version of the format."""
    try:
        magic, fresh_until, name_length, tag_count = _HEAD.unpack_from(data)
        if magic != MAGIC:
            return None
        position = _HEAD_SIZE + name_length
        serializer = data[_HEAD_SIZE:position].decode()
        tags: dict[str, bytes] = {}
        for _ in range(tag_count):
            length, version = _TAG.unpack_from(data, position)
            position += _TAG.size + length
            tags[data[position - length : position].decode()] = version
    except (struct.error, UnicodeDecodeError):
        return None
    if position > len(data):
        return None
    return Envelope(payload=data[position:], serializer=serializer, fresh_until=fresh_until, tags=tags)
