"""How connections to Redis are made: by redis-py, which does address, TLS, user and database, and asks sentinels."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, TypedDict

from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, ResponseError

from eggycore.config import Secret
from eggycore_cache.redis_errors import RedisTrouble
from eggycore_cache.targets import Host
from eggycore_cache.tls import Tls

__all__ = ["Connect", "Connector", "Credentials", "Identity", "SentinelConnector", "SlotRange", "identity_of"]


@dataclass
class Credentials:
    """Who signs in. New connections read it, so a rotated password is used from then on."""

    user: str = ""
    password: Secret[str] | None = None


@dataclass(frozen=True, kw_only=True)
class SlotRange:
    """The slots `first` to `last` of a cluster, and the primary that serves them."""

    first: int
    last: int
    primary: Host


Connect: TypeAlias = Callable[[], Awaitable[Connection]]
"""Finds the server and makes a connection to it, authenticated and on the right database."""

Identity: TypeAlias = tuple[str, str]
"""Id and address of a connection, as the server knows it."""


async def identity_of(connection: Connection) -> Identity | None:
    """What the server calls a connection. None when it does not tell: before 6.2, and to users who may not ask.

    Closes the connection when anything else comes of it, and raises that.
    """
    try:
        await connection.send_command("CLIENT", "INFO")
        reply = await connection.read_response()
    except (NoPermissionError, ResponseError) as error:
        if not str(error).startswith("NOAUTH"):
            return None
        await connection.disconnect(nowait=True)
        raise
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    fields = dict(field.partition("=")[::2] for field in _text(reply).split())
    return (fields["id"], fields["addr"]) if "id" in fields and "addr" in fields else None


class _Authentication(TypedDict):
    username: str | None
    password: str | None


class Connector:
    """Makes connections to servers that share user, database and TLS.

    Args:
        credentials: Who signs in.
        db: Number of the database.
        tls: How connections are encrypted, None for not at all.
        timeout: Seconds for the connection and for each answer while it is made.
    """

    def __init__(self, credentials: Credentials, *, db: int, tls: Tls | None, timeout: float) -> None:
        self._credentials = credentials
        self._db = db
        self._tls = tls
        self.timeout = timeout

    async def connect(self, host: Host) -> Connection:
        """A connection that is signed in and on its database. Raises what redis-py and the network raise."""
        make = Connection if self._tls is None else partial(SSLConnection, **_tls_options(self._tls))
        connection = make(
            host=host[0],
            port=host[1],
            db=self._db,
            socket_timeout=self.timeout,
            socket_connect_timeout=self.timeout,
            protocol=2,
            driver_info=None,
            **_authentication(self._credentials),
        )
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def slots(self, hosts: Iterable[Host]) -> list[SlotRange]:
        """Which primary serves which slots, as the first of these nodes that answers tells.

        redis-py's RedisCluster asks for that too, but with it for the description of all 240 commands, each time.

        Raises:
            RedisTrouble: None of them answers, or they are no cluster.
        """
        for host in hosts:
            try:
                return await asyncio.wait_for(self._slots_of(host), self.timeout * 2)
            except Exception:  # noqa: BLE001, S112 - the border to redis-py; another node may know
                continue
        raise RedisTrouble("the cluster", "no-cluster")

    async def _slots_of(self, host: Host) -> list[SlotRange]:
        connection = await self.connect(host)
        try:
            await connection.send_command("CLUSTER", "SLOTS")
            rows = await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)
        # A node that does not know its own address says "" or "?", which is the one it was asked at.
        found = [
            SlotRange(first=first, last=last, primary=(_text(primary[0]) or host[0], primary[1]))
            for first, last, primary, *_ in rows
        ]
        if not found:
            raise RedisTrouble("the cluster", "no-cluster")
        return found


class SentinelConnector:
    """Makes connections to whatever server the sentinels name as the primary of a group.

    Args:
        connector: Makes the connection.
        sentinels: Where they are.
        group: Name of the group.
        credentials: Who signs in at the sentinels.
        tls: How connections to them are encrypted.
        timeout: Seconds for each sentinel.
    """

    def __init__(
        self,
        connector: Connector,
        sentinels: Iterable[Host],
        group: str,
        *,
        credentials: Credentials,
        tls: Tls | None,
        timeout: float,
    ) -> None:
        self._connector = connector
        self._group = group
        options = {"ssl": True, **_tls_options(tls)} if tls else {}
        self._sentinels = Sentinel(  # type: ignore[no-untyped-call]  # redis-py's
            list(sentinels),
            sentinel_kwargs={
                "socket_timeout": timeout,
                "socket_connect_timeout": timeout,
                "retry": Retry(NoBackoff(), 0),
                "driver_info": None,
                **_authentication(credentials),
                **options,
            },
        )

    async def connect(self) -> Connection:
        """A connection to the present primary. Raises what redis-py and the network raise."""
        try:
            host, port = await self._sentinels.discover_master(self._group)
        except MasterNotFoundError as error:
            raise RedisTrouble(self._group, "no-master") from error
        return await self._connector.connect((str(host), int(port)))

    def set_timeout(self, seconds: float) -> None:
        """Give each sentinel so many seconds from now on, once its connection is made anew."""
        for sentinel in self._sentinels.sentinels:
            sentinel.connection_pool.connection_kwargs |= {
                "socket_timeout": seconds,
                "socket_connect_timeout": seconds,
            }

    async def close(self) -> None:
        """Close the connections to the sentinels."""
        await self._sentinels.aclose()


class _TlsOptions(TypedDict):
    ssl_ca_certs: str | None
    ssl_certfile: str | None
    ssl_keyfile: str | None
    ssl_cert_reqs: str
    ssl_check_hostname: bool


def _tls_options(tls: Tls) -> _TlsOptions:
    return _TlsOptions(
        ssl_ca_certs=str(tls.ca) if tls.ca else None,
        ssl_certfile=str(tls.certificate) if tls.certificate else None,
        ssl_keyfile=str(tls.key) if tls.key else None,
        ssl_cert_reqs="required" if tls.mode == "verify-full" else "none",
        ssl_check_hostname=tls.mode == "verify-full",
    )


def _authentication(credentials: Credentials) -> _Authentication:
    password = credentials.password.reveal() if credentials.password else None
    return _Authentication(username=credentials.user or None, password=password)


def _text(host: bytes | str | None) -> str:
    text = host.decode() if isinstance(host, bytes) else host or ""
    return "" if text == "?" else text
