"""CACHE_URL: what each form names, and what is refused without a part of it being shown."""

from __future__ import annotations

import ipaddress
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.config import Secret
from eggycore.diagnostics import diagnose, render
from eggycore_cache.targets import CacheTarget, CacheUrlRefused, parse_servers, parse_url
from eggycore_cache.tls import Tls

VERIFIED = Tls(mode="verify-full")


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("memory://", CacheTarget(kind="memory")),
        ("MEMORY://", CacheTarget(kind="memory")),
        ("memcached://m1", CacheTarget(kind="memcached", hosts=(("m1", 11211),))),
        (
            "memcached://m1:11212,M2.example,[::1]:5",
            CacheTarget(kind="memcached", hosts=(("m1", 11212), ("m2.example", 11211), ("::1", 5))),
        ),
        (
            "memcached://u:p%40ss%2F@m1",
            CacheTarget(kind="memcached", hosts=(("m1", 11211),), user="u", password=Secret("p@ss/")),
        ),
        ("redis://r", CacheTarget(kind="redis", hosts=(("r", 6379),))),
        ("redis://r/", CacheTarget(kind="redis", hosts=(("r", 6379),))),
        ("redis://:pw@r:7/3", CacheTarget(kind="redis", hosts=(("r", 7),), password=Secret("pw"), db=3)),
        ("redis://r?db=3", CacheTarget(kind="redis", hosts=(("r", 6379),), db=3)),
        ("redis://u@r", CacheTarget(kind="redis", hosts=(("r", 6379),), user="u")),
        ("redis://u:p:w@r", CacheTarget(kind="redis", hosts=(("r", 6379),), user="u", password=Secret("p:w"))),
        ("redis://u:p@w@r", CacheTarget(kind="redis", hosts=(("r", 6379),), user="u", password=Secret("p@w"))),
        ("rediss://r", CacheTarget(kind="redis", hosts=(("r", 6379),), tls=VERIFIED)),
        (
            "redis://a,b:1,c/0?cluster=true",
            CacheTarget(kind="redis", hosts=(("a", 6379), ("b", 1), ("c", 6379)), cluster=True),
        ),
        ("redis://a?cluster=1", CacheTarget(kind="redis", hosts=(("a", 6379),), cluster=True)),
        (
            "redis+sentinel://:pw@s1,s2:1/mymaster/2",
            CacheTarget(
                kind="redis",
                hosts=(("s1", 26379), ("s2", 1)),
                password=Secret("pw"),
                db=2,
                sentinel_master="mymaster",
            ),
        ),
        (
            "rediss+sentinel://s1/my?sentinel_user=su&sentinel_password=s%26p",
            CacheTarget(
                kind="redis",
                hosts=(("s1", 26379),),
                sentinel_master="my",
                sentinel_user="su",
                sentinel_password=Secret("s&p"),
                tls=VERIFIED,
            ),
        ),
    ],
)
def test_a_url_names_a_cache(url: str, target: CacheTarget) -> None:
    assert parse_url(url) == target


EXAMPLES = "memory://, memcached://host1:11211,host2:11211 or redis://:password@host:6379/0"
ENCODE = "Percent-encode what is special in user and password: %40 for @, %2F for /, %3A for :, %23 for #."
HOST_PORT = f"Write each server as host:port. {ENCODE}"
HOST = f"Write each server as host:port, an IPv6 address in brackets. {ENCODE}"
PORT = "has a port that is not a number from 1 to 65535"
NO_HOST = "has a host that is neither a name nor an address"


@pytest.mark.parametrize(
    ("url", "reason", "action"),
    [
        ("hunter2", "is not a URL", f"Write it as {EXAMPLES}."),
        ("hunter2://", "names a kind of cache that is not known", f"Write it as {EXAMPLES}."),
        ("memroy://", "names a kind of cache that is not known, perhaps a misspelt one", f"Write it as {EXAMPLES}."),
        ("memory://hunter2", "has something after memory://, which takes nothing", "Write memory:// alone."),
        ("redis://", "names no server", f"Write it as {EXAMPLES}."),
        ("redis://:hunter2@", "names no server", f"Write it as {EXAMPLES}."),
        ("redis://h:hunter2", PORT, HOST_PORT),
        ("redis://h:0", PORT, HOST_PORT),
        ("redis://h:65536", PORT, HOST_PORT),
        ("redis://h:", PORT, HOST_PORT),
        ("redis://[::1]hunter2", PORT, HOST_PORT),
        ("redis://:hunter2/x@h", "has an @ after its servers, so its password is cut short", ENCODE),
        ("redis://:hunter2#x@h", "has a # in it", ENCODE),
        ("redis://::1", NO_HOST, HOST),
        ("redis://[::1", NO_HOST, HOST),
        ("redis://a,", NO_HOST, HOST),
        ("redis://-a", NO_HOST, HOST),
        ("redis://a b", NO_HOST, HOST),
        ("redis://a,a:6379?cluster=true", "names a server twice", "Name each once."),
        (
            "redis://:hunter2@a,b",
            "names several Redis servers and does not say what they are to each other",
            "Add ?cluster=true for a cluster, or use redis+sentinel://host1,host2/group/0 for sentinels.",
        ),
        (
            "redis://a/1?cluster=true",
            "names a database of a Redis Cluster, which has only number 0",
            "Leave the number out.",
        ),
        ("redis://a/hunter2", "has a database that is not a number", f"Write it as redis://host:6379/0. {ENCODE}"),
        ("redis://a?hunter2=1", "has an option that is not known", f"The options here are cluster and db. {ENCODE}"),
        ("redis://a?db=1&db=2", "has the same option twice", "Keep one of them."),
        ("redis://a?cluster=hunter2", "has an option cluster that is neither true nor false", "Write ?cluster=true."),
        (
            "redis+sentinel://a",
            "does not name the group that its sentinels watch",
            "Write it as redis+sentinel://host1:26379,host2:26379/group/0.",
        ),
        (
            "memcached://a/hunter2",
            "has something after its Memcached servers, which take no path and no options",
            f"Write it as memcached://host1:11211,host2:11211. {ENCODE}",
        ),
        ("redis://:%ff@a", "is not UTF-8 once it is percent-decoded", "Write it in UTF-8."),
        ("redis://:a%0Ab@a", "has a line break or null character in it", "Leave it out."),
    ],
)
def test_what_cannot_be_used_is_told_without_a_part_of_it(url: str, reason: str, action: str) -> None:
    with pytest.raises(CacheUrlRefused) as refused:
        parse_url(url)
    text = render(diagnose(refused.value))
    assert text == f"The cache URL {reason}.\n  action: {action}"
    assert "hunter2" not in text + repr(refused.value)


def test_servers_are_those_of_memcached() -> None:
    assert parse_servers(["m1", " m2:5"]) == CacheTarget(kind="memcached", hosts=(("m1", 11211), ("m2", 5)))
    with pytest.raises(CacheUrlRefused):
        parse_servers(["m1", "m 2"])


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=12)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?(\.[a-z0-9]{1,5})?", fullmatch=True)
HOSTS = st.tuples(NAMES | st.ip_addresses().map(lambda ip: ip.compressed), st.integers(1, 65535))


@given(user=TEXT, password=TEXT, host=HOSTS, db=st.integers(0, 15), tls=st.booleans())
def test_what_was_written_is_what_is_read(user: str, password: str, host: tuple[str, int], db: int, tls: bool) -> None:
    name = f"[{host[0]}]" if ":" in host[0] else host[0]
    credentials = f"{quote(user, safe='')}:{quote(password, safe='')}@"
    target = parse_url(f"{'rediss' if tls else 'redis'}://{credentials}{name}:{host[1]}/{db}")
    assert target == CacheTarget(
        kind="redis",
        hosts=(host,),
        user=user,
        password=Secret(password) if password else None,
        db=db,
        tls=VERIFIED if tls else None,
    )
    assert parse_url(target.location).hosts == target.hosts


@given(st.lists(HOSTS, min_size=1, max_size=4, unique=True))
def test_a_location_names_the_same_servers(hosts: list[tuple[str, int]]) -> None:
    for target in (
        CacheTarget(kind="memcached", hosts=tuple(hosts)),
        CacheTarget(kind="redis", hosts=tuple(hosts), cluster=True),
        CacheTarget(kind="redis", hosts=tuple(hosts), sentinel_master="my", db=3, tls=VERIFIED),
    ):
        assert parse_url(target.location) == target
        assert str(target) == target.location


SCRAPS = st.lists(
    st.sampled_from(["redis://", "memcached://", "redis+sentinel://", ":", "@", "/", "?", "&", "=", ",", "[", "]", "%"])
    | st.text(max_size=3),
    max_size=10,
).map("".join)


@given(SCRAPS)
def test_anything_else_is_refused_or_read_and_never_a_crash(url: str) -> None:
    try:
        target = parse_url(url)
    except CacheUrlRefused:
        return
    assert target.kind == "memory" or target.hosts
    assert all(":" not in host or ipaddress.ip_address(host.partition("%")[0]) for host, _ in target.hosts)


def test_a_password_is_never_shown() -> None:
    target = parse_url("redis+sentinel://:hunter2@a/my?sentinel_password=hunter2")
    assert "hunter2" not in f"{target} {target!r} {target.location}"
