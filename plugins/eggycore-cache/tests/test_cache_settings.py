"""CACHE_*: defaults, and what is refused before anything opens."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.fernet import Fernet

from eggycore.config import Secret, read_from_env
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from eggycore_cache import CachePolicy, CacheSettings, close, connect, default_config
from eggycore_cache.targets import CacheTarget
from eggycore_cache.tls import Tls, TlsFileUnusable


def problem(environ: dict[str, str], settings: type[CacheSettings] | type[CachePolicy] = CacheSettings) -> str:
    with pytest.raises(ConfigError) as refused:
        read_from_env(settings, environ)
    (only,) = diagnose(refused.value).parts
    return f"{only.description} {only.action}"


def target(**environ: str) -> CacheTarget:
    return read_from_env(CacheSettings, environ).target


def test_the_defaults_keep_values_in_memory_without_an_end() -> None:
    settings, policy = read_from_env(CacheSettings, {}), read_from_env(CachePolicy, {})
    assert (settings, policy) == (default_config(), CachePolicy())
    assert (settings.target, settings.namespace, settings.max_size) == (CacheTarget(kind="memory"), "", 64_000_000)
    assert (settings.timeout, settings.connect_timeout, settings.max_idle_conns) == (0.5, 1.0, 2)
    assert (settings.local, settings.local_ttl, settings.max_factories) == (False, 5.0, 10)
    assert (policy.ttl, policy.max_entries, policy.stale, policy.ttl_jitter) == (None, None, None, None)


async def test_a_cache_follows_its_settings() -> None:
    environ = {"CACHE_TTL": "10m", "CACHE_NAMESPACE": "forms", "CACHE_MAX_ENTRIES": "1", "CACHE_MAX_SIZE": "1KB"}
    cache = await connect(read_from_env(CacheSettings, environ), policy=read_from_env(CachePolicy, environ))
    await cache.set("a", b"1")
    await cache.set("b", b"1")
    assert [await cache.exists(key) for key in "ab"] == [False, True]
    await close()


def test_servers_may_be_a_list_or_a_url_or_that_of_redis() -> None:
    memcached = CacheTarget(kind="memcached", hosts=(("m1", 11211), ("m2", 5)))
    assert target(CACHE_SERVERS="m1,m2:5") == target(CACHE_URL="memcached://m1,m2:5") == memcached
    assert target(REDIS_URL="redis://r") == CacheTarget(kind="redis", hosts=(("r", 6379),))
    assert target(REDIS_URL="redis://r", CACHE_URL="memory://") == CacheTarget(kind="memory")


def test_user_and_password_of_their_own_win_over_the_url() -> None:
    found = target(CACHE_URL="redis://u:p@r", CACHE_PASSWORD="other")
    assert (found.user, found.password) == ("u", Secret("other"))
    found = target(CACHE_SERVERS="m", CACHE_USER="u", CACHE_PASSWORD="p")
    assert (found.user, found.password) == ("u", Secret("p"))


def test_tls_is_asked_for_by_the_url_or_by_itself() -> None:
    assert target(CACHE_URL="redis://r").tls is None
    assert target(CACHE_URL="redis://r", CACHE_TLS="require").tls == Tls(mode="require")
    assert target(CACHE_URL="rediss://r", CACHE_TLS="require").tls == Tls(mode="require")
    assert target(CACHE_URL="rediss://r", CACHE_TLS_CA="/ca.pem").tls == Tls(mode="verify-full", ca=Path("/ca.pem"))
    files = {"CACHE_TLS_CERTIFICATE": "/c.pem", "CACHE_TLS_KEY": "/k.pem"}
    assert target(CACHE_SERVERS="m", CACHE_TLS="verify-full", **files).tls == Tls(
        mode="verify-full", certificate=Path("/c.pem"), key=Path("/k.pem")
    )


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        (
            {"CACHE_URL": "hunter2://"},
            "CACHE_URL: it names a kind of cache that is not known. Write it as memory://, "
            "memcached://host1:11211,host2:11211 or redis://:password@host:6379/0.",
        ),
        (
            {"CACHE_SERVERS": "m1,m1"},
            "CACHE_SERVERS: it names a server twice. Name each once.",
        ),
        (
            {"CACHE_SERVERS": "m1", "CACHE_URL": "redis://:hunter2@r"},
            "CACHE_SERVERS: CACHE_URL (or REDIS_URL) says where the cache is, too. Set one of them.",
        ),
        (
            {"CACHE_URL": "rediss://:hunter2@r", "CACHE_TLS": "disable"},
            "CACHE_TLS 'disable': CACHE_URL asks for TLS with rediss://. Write redis:// there, or leave CACHE_TLS out.",
        ),
        (
            {"CACHE_LOCAL": "true"},
            "CACHE_LOCAL 'true': the cache is in this process already. Leave it out, or name a server in CACHE_URL.",
        ),
        (
            {"CACHE_TLS_KEY": "/k.pem"},
            "CACHE_TLS_KEY '/k.pem': there is no certificate that it belongs to. Set CACHE_TLS_CERTIFICATE too.",
        ),
        (
            {"CACHE_NAMESPACE": "my app"},
            "CACHE_NAMESPACE 'my app': not made of at most 64 letters, digits, dots, underscores and hyphens. "
            "Choose a short name, for example that of the app.",
        ),
        (
            {"CACHE_ENCRYPTION_KEY": f"{Fernet.generate_key().decode()},hunter2"},
            "CACHE_ENCRYPTION_KEY: key 2 of 2 is not a Fernet key: 32 bytes in url-safe base64. "
            'Make one: python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"; '
            "separate several by commas, the newest first.",
        ),
    ],
)
def test_what_cannot_be_used_is_told_without_showing_a_password(environ: dict[str, str], text: str) -> None:
    assert problem(environ) == text


def test_a_time_to_live_of_0_is_refused() -> None:
    assert problem({"CACHE_TTL": "0s"}, CachePolicy) == (
        "CACHE_TTL '0s': keeps nothing. Leave it out to keep values without an end, or give a time above 0."
    )


def test_what_is_no_key_file_or_certificate_is_told(tmp_path: Path) -> None:
    missing, foreign = tmp_path / "missing.pem", tmp_path / "foreign.pem"
    foreign.write_text("hunter2")
    said = []
    for tls in (
        Tls(mode="verify-full", ca=missing),
        Tls(mode="verify-full", ca=foreign),
        Tls(mode="require", certificate=missing),
        Tls(mode="require", certificate=foreign),
    ):
        with pytest.raises(TlsFileUnusable) as unusable:
            tls.context()
        said.append(render(diagnose(unusable.value)))
    action = "Give a PEM file that this process may read; a key must be that of the certificate and not encrypted."
    assert said[0] == (
        f"The file {missing} of CACHE_TLS_CA cannot be used.\n  cause:  No such file or directory.\n  action: {action}"
    )
    assert said[2] == said[0].replace("CACHE_TLS_CA", "CACHE_TLS_CERTIFICATE")
    assert f"The file {foreign} of CACHE_TLS_CA cannot be used." in said[1]
    assert f"The file {foreign} of CACHE_TLS_CERTIFICATE cannot be used." in said[3]
    assert "hunter2" not in "".join(said)


def test_a_context_checks_what_its_mode_says(tmp_path: Path) -> None:
    authority = trustme.CA()
    ca, own = tmp_path / "ca.pem", tmp_path / "own.pem"
    authority.cert_pem.write_to_path(str(ca))
    authority.issue_cert("client").private_key_and_cert_chain_pem.write_to_path(str(own))
    verifying = Tls(mode="verify-full", ca=ca, certificate=own).context()
    assert (verifying.verify_mode, verifying.check_hostname) == (ssl.CERT_REQUIRED, True)
    careless = Tls(mode="require").context()
    assert (careless.verify_mode, careless.check_hostname) == (ssl.CERT_NONE, False)
