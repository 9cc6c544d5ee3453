"""The parts of the Redis backend: what is sent, how replies find their callers, and what is owed."""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import hiredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eggycore_cache.backend import NO_ANSWER
from eggycore_cache.redis_connecting import Connector, Credentials
from eggycore_cache.redis_errors import RedisTrouble
from eggycore_cache.redis_link import Answer, RedisLink
from eggycore_cache.redis_owed import MAX_PREFIXES, Owed
from eggycore_cache.redis_protocol import Redirection, milliseconds, pack, prefix_pattern, redirection, slot_of


@pytest.mark.parametrize(
    ("ttl", "expected"), [(0.0001, 1), (0.001, 1), (0.0015, 2), (1.5, 1500), (60, 60_000), (1e300, 2**53)]
)
def test_a_time_to_live_is_whole_milliseconds(ttl: float, expected: int) -> None:
    assert milliseconds(ttl) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MOVED 3999 127.0.0.1:6381", Redirection(host="127.0.0.1", port=6381, lasting=True)),
        ("ASK 3999 10.0.0.1:1", Redirection(host="10.0.0.1", port=1, lasting=False)),
        ("MOVED 3999 ::1:6381", Redirection(host="::1", port=6381, lasting=True)),
        ("MOVED 3999 :6381", Redirection(host="", port=6381, lasting=True)),
        ("MOVED 3999 node.example:6381", Redirection(host="node.example", port=6381, lasting=True)),
        ("MOVED", None),
        ("MOVED 1", None),
        ("ERR no", None),
        ("", None),
    ],
)
def test_a_redirection_is_read(text: str, expected: Redirection | None) -> None:
    assert redirection(text) == expected


@given(st.text())
def test_any_error_is_a_redirection_or_none(text: str) -> None:
    for each in (text, f"MOVED {text}", f"ASK 1 {text}"):
        found = redirection(each)
        assert found is None or found.port >= 0


def test_keys_with_a_tag_share_a_slot() -> None:
    assert slot_of("foo") == 12182
    assert slot_of("{foo}:1") == slot_of("a{foo}b") == slot_of("foo")
    assert slot_of("{}foo") != slot_of("foo")
    assert slot_of("форма") == slot_of("форма".encode())


@settings(max_examples=30)
@given(keys=st.lists(st.text(alphabet="ab*?[]\\^-", min_size=1, max_size=6), min_size=1, max_size=10), data=st.data())
def test_a_pattern_finds_what_begins_so_and_nothing_else(redis_url: str, keys: list[str], data: st.DataObject) -> None:
    prefix = data.draw(st.sampled_from(keys))[:3]
    found = globbed(redis_url, keys, prefix_pattern(prefix))
    assert found == {key for key in keys if key.startswith(prefix)}


def globbed(url: str, keys: list[str], pattern: str) -> set[str]:
    """What Redis itself finds."""
    name = f"eggycore-glob-{uuid.uuid4().hex}"
    commands = [("HSET", name, *(word for key in keys for word in (key, "1"))), ("HSCAN", name, 0, "MATCH", pattern)]
    commands.append(("DEL", name))
    replies: list[object] = []
    reader = hiredis.Reader()
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port), 5) as connection:
        connection.sendall(b"".join(map(pack, commands)))
        while len(replies) < 3:
            reader.feed(connection.recv(65536))
            while (reply := reader.gets()) is not False:
                replies.append(reply)
    assert isinstance(replies[1], list)
    return {word.decode() for word in replies[1][1][::2]}


class Owner:
    """Who is told about a link."""

    name = "h:1"

    def __init__(self) -> None:
        self.refusals: list[str] = []
        self.losses: list[RedisTrouble | None] = []

    def answered(self, link: RedisLink) -> None:
        """Not of interest."""

    def refused(self, link: RedisLink, error: hiredis.ReplyError) -> None:
        self.refusals.append(str(error))

    def writable(self, link: RedisLink) -> None:
        """Not of interest."""

    def lost(self, link: RedisLink, trouble: RedisTrouble | None) -> None:
        self.losses.append(trouble)


@asynccontextmanager
async def link_to(*pieces: bytes, owner: Owner) -> AsyncIterator[RedisLink]:
    """A link to a server that answers with these pieces, whatever it is asked."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(1)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
            ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    connector = Connector(Credentials(), db=0, tls=None, timeout=5)
    link = RedisLink(await connector.connect(("127.0.0.1", server.sockets[0].getsockname()[1])), None, owner)
    try:
        yield link
    finally:
        link.drop(None)
        server.close()
        await server.wait_closed()
        await ended.wait()
        await asyncio.sleep(0)


REPLIES = st.recursive(
    st.one_of(st.none(), st.integers(-(2**62), 2**62), st.binary(max_size=30)),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


def encoded(reply: Answer) -> bytes:
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, bytes):
        return b"$%d\r\n%s\r\n" % (len(reply), reply)
    assert isinstance(reply, list)
    return b"*%d\r\n" % len(reply) + b"".join(map(encoded, reply))


@settings(max_examples=25)
@given(st.lists(REPLIES, min_size=1, max_size=8), st.integers(1, 7))
def test_replies_find_their_callers_in_whatever_pieces_they_come(replies: list[Answer], size: int) -> None:
    async def run() -> list[Answer]:
        stream = b"".join(map(encoded, replies))
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        async with link_to(*pieces, owner=Owner()) as link:
            return list(await asyncio.gather(*(link.ask(("PING",), 5) for _ in replies)))

    assert asyncio.run(run()) == replies


async def test_an_array_is_shared_out_and_an_error_is_everybody_s() -> None:
    owner = Owner()
    loop = asyncio.get_running_loop()
    groups: list[list[asyncio.Future[Answer]]] = [[loop.create_future() for _ in range(3)] for _ in range(2)]
    async with link_to(b"*3\r\n$1\r\na\r\n$-1\r\n$1\r\nc\r\n", b"-OOM no\r\n", owner=owner) as link:
        groups[0][0].cancel()
        link.send(pack(("MGET", "a", "b", "c")) * 2, list(groups), loop.time() + 5)
        assert await asyncio.gather(*groups[0][1:]) == [None, b"c"]
        assert [str(answer) for answer in await asyncio.gather(*groups[1])] == ["OOM no"] * 3
        assert owner.refusals == ["OOM no"]
        assert owner.losses == []


@pytest.mark.parametrize("rubbish", [b"HTTP/1.1 400 Bad Request\r\n", b":1\r\n:2\r\n", b"ERROR\r\n"])
async def test_what_is_no_answer_closes_the_connection(rubbish: bytes) -> None:
    owner = Owner()
    async with link_to(rubbish, owner=owner) as link:
        answer = await link.ask(("PING",), 5)
        assert answer in (NO_ANSWER, 1)
        while link.open:
            await asyncio.sleep(0)
        assert [trouble and trouble.kind for trouble in owner.losses] == ["protocol"]
        assert await link.ask(("PING",), 5) is NO_ANSWER


async def test_an_overdue_reply_closes_the_connection_for_all_who_wait() -> None:
    owner = Owner()
    async with link_to(owner=owner) as link:
        answers = await asyncio.gather(link.ask(("PING",), 0.05), link.ask(("PING",), 5))
        assert answers == [NO_ANSWER, NO_ANSWER]
        assert [trouble and trouble.kind for trouble in owner.losses] == ["overdue"]
        assert link.unanswered == 2


async def test_an_event_loop_that_was_held_up_reads_before_it_calls_a_reply_overdue() -> None:
    async with link_to(b"+PONG\r\n", owner=Owner()) as link:
        answer = link.ask(("PING",), 0.05)
        await asyncio.sleep(0.02)
        time.sleep(0.1)  # noqa: ASYNC251 - that is what holds it up
        assert await answer == b"PONG"


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans())))
def test_what_is_owed_anew_is_not_settled_by_what_was_done_before(steps: list[tuple[str, bool]]) -> None:
    owed, numbers, model = Owed("app:"), dict[str, int](), set[str]()
    for key, add in steps:
        if add:
            first = numbers.get(key, 0)
            numbers[key] = owed.add(key)
            owed.settle(key, first)
            model.add(key)
        elif key in numbers:
            owed.settle(key, numbers[key])
            model.discard(key)
    assert set(owed.keys) == model
    assert bool(owed) == bool(model)


def test_what_is_owed_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eggycore_cache.redis_owed.MAX_KEYS", 3)
    monkeypatch.setattr("eggycore_cache.redis_owed.MAX_KEYS_WITHOUT_NAMESPACE", 5)
    named, nameless = Owed("app:"), Owed("")
    for number in range(7):
        named.add(f"app:{number}")
        nameless.add(str(number))
    assert (dict(named.keys), list(named.prefixes)) == ({}, ["app:"])
    assert (list(nameless.keys), list(nameless.prefixes)) == (["2", "3", "4", "5", "6"], [])
    named.settle_prefix("app:", -1)
    assert list(named.prefixes) == ["app:"]
    assert named.take() == ([], ["app:"])
    assert not named
    for number in range(MAX_PREFIXES + 1):
        named.add_prefix(f"app:{number}:")
        nameless.add_prefix(f"{number}:")
    assert list(named.prefixes) == ["app:"]
    assert len(nameless.prefixes) == MAX_PREFIXES
