"""The parser fed in any pieces, the list of generations against what it promises, and names and homes of keys."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymemcache.client.rendezvous import RendezvousHash

from eggycore_cache.hashing import Ring, wire_key
from eggycore_cache.memcached_generations import LARGEST, MOST, Generations
from eggycore_cache.memcached_protocol import LARGEST_VALUE, Answer, Garbled, Parser

ANSWERS = st.one_of(
    st.tuples(st.just(b"VA"), st.sampled_from([b"", b"f1", b"f12 c7"]), st.binary(max_size=40)),
    st.tuples(st.sampled_from([b"HD", b"EN", b"NS", b"EX", b"NF", b"MN"]), st.sampled_from([b"", b"f3"]), st.none()),
    st.tuples(st.just(b"VERSION"), st.just(b"1.6.18"), st.none()),
    st.tuples(st.just(b"SERVER_ERROR"), st.just(b"object too large for cache"), st.none()),
    st.tuples(st.just(b"END"), st.just(b""), st.lists(st.sampled_from([b"a 1", b"b 2"])).map(b"\n".join)),
)


def written(answer: Answer) -> bytes:
    """What a server writes to say this."""
    code, rest, value = answer
    if code == b"VA":
        assert value is not None
        return b"VA %d %b\r\n%b\r\n" % (len(value), rest, value) if rest else b"VA %d\r\n%b\r\n" % (len(value), value)
    if code == b"END":
        return b"".join(b"STAT %b\r\n" % line for line in (value or b"").split(b"\n") if line) + b"END\r\n"
    return (b"%b %b" % (code, rest)).rstrip() + b"\r\n"


@given(answers=st.lists(ANSWERS, max_size=8), data=st.data())
def test_answers_are_the_same_in_whatever_pieces_they_arrive(answers: list[Answer], data: st.DataObject) -> None:
    stream = b"".join(map(written, answers))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    parser = Parser()
    pieces = [stream[start:stop] for start, stop in pairwise([0, *cuts, len(stream)])]
    assert [answer for piece in pieces for answer in parser.feed(piece)] == answers


@given(answers=st.lists(ANSWERS, max_size=4))
def test_answers_are_the_same_byte_by_byte(answers: list[Answer]) -> None:
    parser = Parser()
    stream = b"".join(map(written, answers))
    assert [answer for byte in stream for answer in parser.feed(bytes([byte]))] == answers


@given(stream=st.binary(max_size=200), cut=st.integers(0, 200))
def test_anything_else_is_refused_or_waited_for_and_nothing_else_is_raised(stream: bytes, cut: int) -> None:
    parser = Parser()
    try:
        parser.feed(stream[:cut])
        parser.feed(stream[cut:])
    except Garbled as garbled:
        assert str(garbled)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"ERROR\r\n", "does not know a command"),
        (b"ERROR Too many open connections\r\n", "has too many connections"),
        (b"CLIENT_ERROR bad data chunk\r\n", "refuses a command"),
        (b"CLIENT_ERROR unauthenticated\r\n", "wants a user and a password"),
        (b"HTTP/1.1 400 Bad Request\r\n", "does not speak Memcached's protocol"),
        (b"\r\n", "does not speak Memcached's protocol"),
        (b"VA -1 f0\r\n", "sent a value without a size"),
        (b"VA \r\n", "sent a value without a size"),
        (b"VA %d\r\n" % (LARGEST_VALUE + 1), "sent a value without a size"),
        (b"VA 1 f0\r\nabc\r\n", "sent a value of another length than it said"),
        (b"x" * 70_000, "sent a line without an end"),
    ],
)
def test_what_leaves_doubt_is_told(line: bytes, reason: str) -> None:
    with pytest.raises(Garbled) as caught:
        Parser().feed(line)
    assert str(caught.value) == reason


KEYS = ["a", "ab", "abc", "b", "bc"]
PREFIXES = st.sampled_from(["", "a", "ab", "b", "c"])


@given(clears=st.lists(st.sets(PREFIXES, min_size=1, max_size=2), max_size=10), data=st.data())
def test_a_value_is_valid_until_a_prefix_of_its_key_is_cleared(clears: list[set[str]], data: st.DataObject) -> None:
    generations = Generations.first()
    kept: dict[str, int] = {}
    for prefixes in clears:
        for key in data.draw(st.lists(st.sampled_from(KEYS), max_size=3)):
            kept[key] = generations.newest
        generations = generations.cleared(prefixes)
        kept = {key: number for key, number in kept.items() if not key.startswith(tuple(prefixes))}
        for key in KEYS:
            if key in kept:
                assert generations.holds(kept[key], key)
            assert not generations.holds(0, key)
    assert Generations.parse(generations.raw) == generations
    assert all(0 < number <= LARGEST for number, _ in generations.clears)


@given(prefix=PREFIXES, before=st.integers(0, 5))
def test_what_was_there_before_a_clear_is_not_valid_after_it(prefix: str, before: int) -> None:
    generations = Generations.first()
    for _ in range(before):
        generations = generations.cleared(["z"])
    later = generations.cleared([prefix])
    for number, _ in generations.clears:
        assert not later.holds(number, f"{prefix}x")
    assert later.holds(later.newest, f"{prefix}x")


def test_a_long_list_forgets_the_oldest_and_with_them_their_values() -> None:
    first = Generations.first()
    generations, numbers = first, [first.newest]
    for _ in range(MOST + 5):
        generations = generations.cleared(["z"])
        numbers.append(generations.newest)
    assert len(generations.clears) == MOST
    assert [generations.holds(number, "a") for number in numbers] == [False] * 6 + [True] * MOST


def test_clearing_everything_makes_the_list_short() -> None:
    generations = Generations.first().cleared(["a"]).cleared(["b"]).cleared(["c", ""])
    assert len(generations.clears) == 1


def test_two_generations_never_have_one_number() -> None:
    numbers = iter([0, 0, 0, 1, 1, 2])
    generations = Generations.first(draw=lambda _: next(numbers))
    for prefix in ("a", "b"):
        generations = generations.cleared([prefix], draw=lambda _: next(numbers))
    assert [number for number, _ in generations.clears] == [1, 2, 3]


ODD = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3))


@given(junk=st.one_of(st.binary(max_size=20), st.lists(ODD | st.lists(ODD, max_size=3), max_size=3).map(json.dumps)))
def test_a_state_item_of_somebody_else_is_no_list(junk: bytes | str) -> None:
    raw = junk if isinstance(junk, bytes) else junk.encode(errors="replace")
    generations = Generations.parse(raw)
    assert generations is None or generations.clears


@given(key=st.text(st.characters(exclude_categories=["Cc", "Cs", "Z"]), min_size=1, max_size=400))
def test_every_key_has_a_name_that_memcached_takes(key: str) -> None:
    wire = wire_key(key)
    assert 0 < len(wire) <= 249
    assert all(0x21 <= byte <= 0x7E for byte in wire)
    assert not wire.startswith(b"!")
    assert wire == wire_key(key)
    assert wire == key.encode() or (wire.rpartition(b"!")[0] and wire_key(wire.decode()) != wire)


@given(first=st.text(min_size=1), second=st.text(min_size=1))
def test_no_two_keys_have_one_name(first: str, second: str) -> None:
    encodable = all(sign < "\ud800" or sign > "\udfff" for sign in first + second)
    assert not encodable or first == second or wire_key(first) != wire_key(second)


def test_a_key_that_could_end_a_command_is_hashed() -> None:
    assert (
        wire_key("a b")
        == b"a_b!c8687a08aa5d6ed2044328fa6a697ab8e96dc34291e8c034ebf9f9b5c1a3ba6a"[:4] + wire_key("a b")[4:]
    )
    assert b"\r\n" not in wire_key("a\r\nflush_all\r\n")


SERVERS = [f"10.0.0.{number}:11211" for number in range(1, 6)]


def test_homes_are_those_of_pymemcache_and_so_is_who_takes_over() -> None:
    ring = Ring(SERVERS)
    for number in range(200):
        key = f"app:{number}"
        theirs = RendezvousHash(list(SERVERS))
        order = []
        for _ in SERVERS:
            order.append(theirs.get_node(key))
            theirs.remove_node(order[-1])
        assert [SERVERS[index] for index in ring.order(key.encode())] == order


def test_keys_are_spread_evenly() -> None:
    ring = Ring(SERVERS)
    homes = [ring.order(b"app:%d" % number)[0] for number in range(5000)]
    assert all(800 < homes.count(index) < 1200 for index in range(5))
