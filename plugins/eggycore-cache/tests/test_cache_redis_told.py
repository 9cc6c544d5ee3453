"""What `RedisBackend` says of a server that it cannot use: URL, user, certificate, something else there."""

from __future__ import annotations

from importlib import import_module

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore_cache.backend import NO_ANSWER
from eggycore_cache.errors import CacheDown
from eggycore_cache.redis_backend import RedisBackend
from eggycore_cache.tls import Tls
from tests.servers import Certificates, redis_server

backends = import_module("plugins.eggycore-cache.tests.redis_backends")
conformance = import_module("plugins.eggycore-cache.tests.backend_conformance")
backend_of, takes, says, until = backends.backend_of, backends.takes, backends.says, conformance.until


async def reason_of(backend: RedisBackend) -> str:
    return str((await backend.stats()).servers[0].reason)


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("redis://{address}", "it asks for a password, and none was given"),
        ("redis://:wrong-s3cret@{address}", "it does not know this user or password"),
        ("redis://nobody:wrong-s3cret@{address}", "it does not know this user or password"),
        ("redis://:right-s3cret@{address}/99", "it has no database of this number"),
        ("rediss://:right-s3cret@{address}", "no connection was made in time"),
        ("redis://{address}/?cluster=true", "none of the servers in CACHE_URL could tell"),
        ("redis://no-such-host.invalid", "the name of its host is not known"),
        ("redis+sentinel://:right-s3cret@{address}/main", "none of the sentinels knows a primary"),
    ],
)
async def test_what_is_wrong_with_the_url_is_told_without_the_password(url: str, cause: str) -> None:
    with redis_server(password="right-s3cret") as server:
        async with backend_of(url.format(address=server.address), connect_timeout=2) as backend:
            assert await backend.get("a", timeout=5) is NO_ANSWER
            with pytest.raises(CacheDown) as caught:
                await backend.ping()
            message = render(diagnose(caught.value))
            assert cause in message
            assert "s3cret" not in f"{message}{caught.value!r}{backend.troubles}{await backend.stats()}"


async def test_a_user_without_a_permission_is_told_so() -> None:
    with redis_server() as server:
        server.execute("ACL", "SETUSER", "app", "on", ">pw", "~app:*", "+@read", "+unlink", "+ping", "+client|info")
        async with backend_of(f"redis://app:pw@{server.address}", namespace="app") as backend:
            assert await backend.get("app:a") is None
            assert await takes(backend, "app:a") is False
            assert await reason_of(backend) == "its user may not run a command, or not with these keys"
            assert await backend.get("app:a") is None
            assert backend.available is True


async def test_a_user_for_one_namespace_is_enough() -> None:
    with redis_server() as server:
        rights = "+@read +@write +@scripting +@connection +scan +info +dbsize".split()
        server.execute("ACL", "SETUSER", "app", "on", ">p@ss/:w", "~app:*", *rights)
        url = f"redis://app:p%40ss%2F%3Aw@{server.address}"
        async with backend_of(url, namespace="app") as backend:
            assert await takes(backend, "app:a")
            assert await backend.incr("app:n", 1, 60) == 1
            assert await backend.clear_prefix("app:") is True
            assert (await backend.stats()).bytes is not None
            assert backend.troubles == ()


async def test_tls_is_spoken_and_certificates_are_checked(certificates: Certificates) -> None:
    with redis_server(tls=certificates, tls_mode="client") as server:
        client = certificates.client
        good = Tls(mode="verify-full", ca=certificates.authority, certificate=client.certificate, key=client.key)
        async with backend_of(server.dsn(), tls=good) as backend:
            await conformance.many_callers_get_their_own_answers(backend, "a:")
            assert await backend.set("large", b"x" * 3_000_000, 60, timeout=5) is True
            assert await backend.get("large", timeout=5) == b"x" * 3_000_000
            server.kill()
            assert await backend.get("a") is NO_ANSWER
            server.start()
            await until(lambda: takes(backend, "a"))
        other = Tls(mode="verify-full", ca=certificates.other_authority)
        async with backend_of(server.dsn(), tls=other, connect_timeout=2) as backend:
            assert await backend.get("a", timeout=5) is NO_ANSWER
            assert (await reason_of(backend)).startswith("its certificate is signed by no authority known here")
        careless = Tls(mode="require", certificate=client.certificate, key=client.key)
        async with backend_of(server.dsn(), tls=careless) as backend:
            assert await takes(backend, "a")


async def test_a_certificate_for_another_host_is_refused(certificates: Certificates) -> None:
    with redis_server(tls=certificates.other_host) as server:
        tls = Tls(mode="verify-full", ca=certificates.authority)
        async with backend_of(server.dsn(), tls=tls, connect_timeout=2) as backend:
            assert await backend.get("a", timeout=5) is NO_ANSWER
            assert (await reason_of(backend)).startswith("its certificate")


async def test_a_server_that_wants_tls_is_told_from_one_that_is_away(certificates: Certificates) -> None:
    with redis_server(tls=certificates) as server:
        async with backend_of(f"redis://{server.address}", connect_timeout=2) as backend:
            assert await backend.get("a", timeout=5) is NO_ANSWER
            assert [trouble.kind for trouble in backend.troubles] == ["unreachable"]
            assert "TLS" in diagnose(backend.troubles[0]).action


async def test_what_does_not_speak_redis_is_told(memcached_address: str) -> None:
    async with backend_of(f"redis://{memcached_address}", connect_timeout=2) as backend:
        assert await backend.get("a", timeout=5) is NO_ANSWER
        assert await reason_of(backend) == "what answers there does not speak the protocol of Redis"


async def test_too_many_connections_are_told() -> None:
    with redis_server(options={"maxclients": "2"}) as server:
        async with backend_of(server.dsn()) as one, backend_of(server.dsn()) as two:
            assert await takes(one, "a")
            assert await takes(two, "a")
            async with backend_of(server.dsn()) as three:
                assert await three.get("a") is NO_ANSWER
                assert await reason_of(three) == "it has as many connections as its maxclients allows"
            await one.close()
            async with backend_of(server.dsn()) as four:
                await until(lambda: takes(four, "a"))
