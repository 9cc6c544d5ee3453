"""One Memcached server: a few connections, made when they are needed, and the breaker that says whether to ask."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from socket import gaierror

from eggycore.config import Secret
from eggycore_cache import memcached_protocol as protocol
from eggycore_cache.backend import NO_ANSWER, NoAnswer
from eggycore_cache.breaker import Breaker
from eggycore_cache.memcached_connection import Batch, Connection
from eggycore_cache.memcached_protocol import Answer
from eggycore_cache.outage_log import log_outages

__all__ = ["Options", "Server"]

OLDEST = (1, 6, 12)
"""The first version whose meta commands are those of today."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How servers are talked to.

    Args:
        timeout: Seconds in which an answer must come.
        connect_timeout: Seconds in which a connection must be there, with TLS and password.
        connections: The most connections to each server.
        user: Who connects, "" for no password.
        password: Their password.
        tls: How connections are encrypted, None for not at all.
        breaker: Makes the breaker of a server.
    """

    timeout: float = 0.5
    connect_timeout: float = 1.0
    connections: int = 2
    user: str = ""
    password: Secret[str] | None = None
    tls: ssl.SSLContext | None = None
    breaker: Callable[[], Breaker] = field(default=Breaker)


class _Refused(Exception):
    """It answers, and will not do. Its text is for people."""


class Server:
    """Sends batches to one server, or loses them at once while its breaker is open.

    Args:
        host: Name or address.
        port: TCP port.
        options: How it is talked to.
        opened: Called when its breaker opens.
    """

    def __init__(self, host: str, port: int, options: Options, opened: Callable[[Server], None]) -> None:
        self.name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.breaker = options.breaker()
        log_outages(self.name, self.breaker)
        self.options = options
        self._host = host
        self._port = port
        self._opened = opened
        self._connections: list[Connection] = []
        self._ended: list[Connection] = []  # over, their sockets not yet closed
        self._queue: deque[Batch] = deque()  # until there is a connection
        self._connecting: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.item_limit: int | None = None
        """Bytes that it takes for one item, as far as it is known."""

    @property
    def usable(self) -> bool:
        """Whether to ask it now. One that has cooled down is probed meanwhile, and usable again once it answers."""
        if self.breaker.state == "closed":
            return True
        if self.breaker.allow():
            self._connect()
        return False

    def send(self, batch: Batch) -> None:
        """Send it over the connection with the least to do. Its callbacks come later, or at once if it is lost."""
        if self._closed or not self.usable:
            batch.lose()
            return
        if self._connections:
            # A change that its caller has given up on may still be under way: nothing later may overtake it. So all
            # changes take the first connection, and so do reads while one is under way there.
            first = self._connections[0]
            best = first if batch.writes or first.writing else min(self._connections, key=_waiting)
            best.send(batch)
            if len(best.sent) > 1 and len(self._connections) < self.options.connections:
                self._connect()
        else:
            self._queue.append(batch)
            self._connect()
        self._watch(batch.deadline)

    async def ask(self, payload: bytes, expected: int, timeout: float | None = None) -> list[Answer] | NoAnswer:
        """Send commands and wait for their answers.

        Args:
            payload: Commands.
            expected: How many answers they get.
            timeout: Seconds, the server's own when None.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Answer] | NoAnswer] = loop.create_future()

        def finish(outcome: list[Answer] | NoAnswer) -> None:
            if not future.done():
                future.set_result(outcome)

        deadline = loop.time() + (self.options.timeout if timeout is None else timeout)
        self.send(Batch(payload, expected, deadline, finish, lambda: finish(NO_ANSWER)))
        return await future

    async def connected(self) -> bool:
        """Wait until it answers or is known not to: whether it does. Probes it when it has cooled down."""
        if self._closed:
            return False
        if self.usable and not self._connections:
            self._connect()
        if self._connecting is not None and not self._connections:
            await asyncio.wait([self._connecting])
        return self.breaker.state == "closed" and bool(self._connections)

    async def close(self) -> None:
        """End every connection; nobody waits for an answer any more. Idempotent."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        for connection in [*self._connections]:
            connection.drop("closed here")
        self._lose_queue()
        for connection in [*self._ended]:
            await connection.over()

    def _connect(self) -> None:
        """Make one more connection, if that is not being done already."""
        if self._connecting is None and not self._closed:
            self._connecting = asyncio.get_running_loop().create_task(self._connecting_now(), name=f"cache {self.name}")

    async def _connecting_now(self) -> None:
        reason = ""
        try:
            async with asyncio.timeout(self.options.connect_timeout):
                connection = await self._greeted()
        except TimeoutError:
            reason = f"did not answer within {self.options.connect_timeout:g} s"
        except (OSError, UnicodeError, _Refused) as error:
            reason = _reason(error)
        except BaseException:  # closed meanwhile, or a mistake of ours: another may probe
            self.breaker.released()
            self._lose_queue()
            raise
        finally:
            self._connecting = None
        if reason:
            self._failed(reason)
            if not self._connections:
                self._lose_queue()
            return
        self.item_limit = connection.item_limit
        self._connections.append(connection)
        self.breaker.succeeded()
        while self._queue:
            connection.send(self._queue.popleft())

    async def _greeted(self) -> Connection:
        """A connection whose server has let us in and is new enough."""
        loop = asyncio.get_running_loop()
        failures: list[str] = []

        def ended(connection: Connection, reason: str, waiting: bool) -> None:
            failures.append(reason)
            self._connection_ended(connection, reason, waiting)

        _, connection = await loop.create_connection(
            lambda: Connection(self.breaker.succeeded, ended), self._host, self._port, ssl=self.options.tls
        )
        try:
            await self._greet(connection, failures)
        except BaseException:  # also when the time is up: nobody else owns it yet
            connection.drop("not used")
            raise
        return connection

    async def _greet(self, connection: Connection, failures: list[str]) -> None:
        if self.options.user:
            password = self.options.password.reveal() if self.options.password else ""
            (code, _, _), *_ = await _said(connection, protocol.authenticate(self.options.user, password), 1, failures)
            if code != b"STORED":
                raise _Refused("refused the user or the password")
        (_, version, _), (_, _, settings) = await _said(connection, b"version\r\nstats settings\r\n", 2, failures)
        if _version(version) < OLDEST:
            at_least = ".".join(map(str, OLDEST))
            raise _Refused(f"is memcached {version.decode(errors='replace')[:20]}, and {at_least} is needed")
        connection.item_limit = _item_limit(settings or b"")

    def _connection_ended(self, connection: Connection, reason: str, waiting: bool) -> None:
        self._ended = [other for other in self._ended if not other.is_over]
        self._ended.append(connection)
        if connection in self._connections:
            self._connections.remove(connection)
            if waiting and not self._closed:
                self._failed(reason)

    def _failed(self, reason: str) -> None:
        was = self.breaker.state
        self.breaker.failed(reason)
        if was == "closed" and self.breaker.state == "open":
            self._opened(self)
            for connection in [*self._connections]:
                connection.drop(reason)

    def _lose_queue(self) -> None:
        lost, self._queue = self._queue, deque()
        for batch in lost:
            batch.lose()

    def _watch(self, deadline: float) -> None:
        """Look again by then, unless that is planned already. One timer for all: under load it rings twice a second."""
        if self._timer is None or deadline < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_at(deadline, self._look)

    def _look(self) -> None:
        """Give up on what is overdue. A connection whose oldest batch is overdue is stuck, and goes."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._queue and self._queue[0].deadline <= now:
            self._queue.popleft().lose()
        for connection in [*self._connections]:
            if connection.sent and connection.sent[0].deadline <= now:
                connection.drop(f"did not answer within {self.options.timeout:g} s")
            for batch in connection.sent:
                if batch.deadline <= now:
                    batch.lose()
        waiting = [batch.deadline for batch in self._queue]
        waiting += [
            batch.deadline for connection in self._connections for batch in connection.sent if batch.deadline > now
        ]
        if waiting:
            self._watch(min(waiting))


def _waiting(connection: Connection) -> int:
    return len(connection.sent)


async def _said(connection: Connection, payload: bytes, expected: int, failures: list[str]) -> list[Answer]:
    """What a connection that nobody else uses answers; the time is bounded by the caller."""
    future: asyncio.Future[list[Answer] | None] = asyncio.get_running_loop().create_future()

    def finish(answers: list[Answer] | None) -> None:
        if not future.done():
            future.set_result(answers)

    connection.send(Batch(payload, expected, float("inf"), finish, lambda: finish(None)))
    if (answers := await future) is None:
        raise _Refused(failures[0] if failures else "closed the connection")
    return answers


def _version(text: bytes) -> tuple[int, ...]:
    """(1, 6, 18) of b"1.6.18-something"; all zeros of what is none."""
    parts = text.partition(b"-")[0].split(b".")[:3]
    return tuple(int(part) if part.isdigit() else 0 for part in parts)


def _item_limit(settings: bytes) -> int | None:
    for line in settings.split(b"\n"):
        name, _, value = line.partition(b" ")
        if name == b"item_size_max" and value.isdigit():
            return int(value)
    return None


def _reason(error: OSError | UnicodeError | _Refused) -> str:
    """What is told about it: short, the same for the same fault, and nothing of what was sent."""
    match error:
        case _Refused():
            return str(error)
        case ConnectionRefusedError():
            return "refused the connection"
        case ssl.SSLCertVerificationError():
            return f"has a certificate that is not accepted: {error.verify_message}"
        case ssl.SSLError():
            return "does not speak TLS as it should"
        case ConnectionError():
            return "closed the connection"
        case gaierror() | UnicodeError():
            return "has a name that is not known"
        case _:
            return (error.strerror or "cannot be reached").lower()
