"""A Kubernetes API server for tests: ConfigMaps and Leases, as kube-apiserver answers, with the faults it can have.

    with KubernetesAPI() as api:
        api.put("configmaps", "shop", "forms", data={"LOG_LEVEL": "debug"})
        api.kubeconfig(folder)      for a client
        api.stop(), api.start()     killed and restarted on its port, with what it keeps
        api.compact(), api.stall(), api.cut(), api.refuse(429), api.deny("watch", "configmaps"), ...

It lives in a thread of its own, so that clients may be in other processes and a test may block its event loop.
"""

from __future__ import annotations

import asyncio
import queue
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping, Set
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web

from tests.servers.certificates import TLS, Certificates, TLSMode, identity
from tests.servers.kubernetes_access import ServiceAccount, write_kubeconfig
from tests.servers.kubernetes_faults import Call, Faults, GoneAnswer, Match, Refusal, every
from tests.servers.kubernetes_kinds import KINDS
from tests.servers.kubernetes_rest import Rest
from tests.servers.kubernetes_status import ApiStatus, Object
from tests.servers.kubernetes_store import Store
from tests.servers.kubernetes_volume import Volume
from tests.servers.ports import HOST, reserved_port

PATIENCE = 10.0
"""Seconds for its own thread to do what it is told."""

_RESET = struct.pack("ii", 1, 0)


class KubernetesAPI:
    """An API server on a port of its own, for the time of a `with` block. Its methods may be called by any thread.

    Args:
        certificates: Its certificate; None serves plain HTTP, which a kubeconfig can name and a pod never meets.
        tls_mode: "client" asks for a client's certificate, whose common name is the user then.
        port: Where it listens; None for a free one.
    """

    host = HOST

    def __init__(
        self, certificates: TLS | None = None, *, tls_mode: TLSMode = "required", port: int | None = None
    ) -> None:
        self._certificates, self._tls_mode, self._asked_port = certificates, tls_mode, port
        self._resources = ExitStack()
        self._store, self._faults = Store(), Faults()
        self._rest = Rest(self._store, self._faults)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: web.Server | None = None
        self._over: asyncio.Event | None = None
        self._stalled: queue.SimpleQueue[Callable[[], None] | None] | None = None
        self.port = 0

    def __enter__(self) -> KubernetesAPI:
        self.port = self._resources.enter_context(reserved_port(self._asked_port))
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            self._resources.close()

    # Where it is, and who may ask

    @property
    def url(self) -> str:
        """What a kubeconfig calls the server."""
        return f"{'http' if self._certificates is None else 'https'}://{self.host}:{self.port}"

    def kubeconfig(
        self, folder: Path, *, token: str | None = None, namespace: str = "default", authority: Path | None = None
    ) -> Path:
        """Write a kubeconfig for it.

        Args:
            token: That the user sends; None for nobody, or for the client's certificate where the server asks for one.
            namespace: Of the context.
            authority: What the client trusts; None for the authority of the server's certificate.
        """
        cluster: Object = {"server": self.url}
        user: Object = {} if token is None else {"token": token}
        if self._certificates is not None:
            cluster["certificate-authority"] = str(authority or identity(self._certificates).authority)
        if isinstance(self._certificates, Certificates) and self._tls_mode == "client":
            mine = self._certificates.client
            user |= {"client-certificate": str(mine.certificate), "client-key": str(mine.key)}
        return write_kubeconfig(folder / "kubeconfig", cluster=cluster, user=user, namespace=namespace)

    def service_account(
        self, folder: Path, *, token: str = "token-1", namespace: str = "shop", name: str = "forms"
    ) -> ServiceAccount:
        """Write what a pod of this service account finds, and let the server know the token's user. Needs TLS."""
        assert self._certificates is not None, "a pod speaks TLS to the API server"
        self.know(token, f"system:serviceaccount:{namespace}:{name}")
        authority = identity(self._certificates).authority.read_bytes()
        volume = Volume(folder, {"token": token, "ca.crt": authority, "namespace": namespace})
        environ = {"KUBERNETES_SERVICE_HOST": self.host, "KUBERNETES_SERVICE_PORT": str(self.port)}
        return ServiceAccount(folder=folder, environ=environ, volume=volume)

    def know(self, token: str, user: str) -> None:
        """Call the bearer of a token by this name; whom the server does not know is `system:anonymous`."""
        self._faults.users[token] = user

    def require_tokens(self, tokens: Set[str] | Mapping[str, str] | None) -> None:
        """From now on answer 401 to everybody without one of these tokens. None ends it.

        Args:
            tokens: A mapping names their users.
        """
        if isinstance(tokens, Mapping):
            self._faults.users.update(tokens)
        self._faults.tokens = None if tokens is None else frozenset(tokens)

    # What it keeps

    def put(self, plural: str, namespace: str, name: str, **fields: Any) -> Object:
        """Create an object or replace it, whatever it is; also while the server is down, stalled or refuses.

        Args:
            plural: configmaps or leases.
            fields: Of the object, such as `data` or `spec`; `labels` and `annotations` go to its metadata.

        Returns:
            The object as it is stored.

        Raises:
            ApiStatus: It is against the rules.
        """
        kind = KINDS[plural]
        metadata: Object = {"name": name}
        metadata |= {each: fields.pop(each) for each in ("labels", "annotations") if each in fields}
        made = kind.decoded({"metadata": metadata, **fields})
        try:
            return self._store.create(kind, namespace, made)
        except ApiStatus as status:
            if status.reason != "AlreadyExists":
                raise
        return self._store.replace(kind, namespace, name, made)[0]

    def delete(self, plural: str, namespace: str, name: str) -> None:
        """Delete an object.

        Raises:
            ApiStatus: 404, it is not there.
        """
        self._store.delete(KINDS[plural], namespace, name, {})

    def get(self, plural: str, namespace: str, name: str) -> Object:
        """An object.

        Raises:
            ApiStatus: 404, it is not there.
        """
        return self._store.get(KINDS[plural], namespace, name)

    def list(self, plural: str, namespace: str = "") -> list[Object]:
        """The objects of a kind in the order of their names; of all namespaces when none is named."""
        return self._store.objects(KINDS[plural], namespace)[0]

    @property
    def resource_version(self) -> int:
        """Of the last write of anything."""
        return self._store.version

    # What it has been asked

    @property
    def requests(self) -> tuple[Call, ...]:
        """Every request so far, in the order in which they arrived."""
        return tuple(self._rest.calls)

    @property
    def watching(self) -> int:
        """How many watches are open, and told of whatever comes now."""
        return sum(watch.has_begun for watch in tuple(self._rest.watches))

    # What goes wrong

    def start(self) -> None:
        """Listen on its port. Does nothing while it does."""
        if self._thread is not None:
            return
        ready: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="kubernetes-api", daemon=True)
        self._thread.start()
        failed = ready.get(timeout=PATIENCE)
        if failed is not None:
            self._thread.join()
            self._thread = None
            raise failed

    def stop(self) -> None:
        """Die: no connection is taken, those that are open are closed, nothing is answered. What it keeps stays."""
        if self._thread is None:
            return
        self._call(self._end)
        self.resume()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the API server does not end"
        self._thread = None

    def stall(self) -> None:
        """Freeze: connections stay open, new ones are taken by the kernel, and nothing is answered until `resume`."""
        if self._stalled is None:
            self._stalled = queue.SimpleQueue()
            frozen = threading.Event()
            self._post(self._freeze, self._stalled, frozen)
            assert frozen.wait(PATIENCE), "the API server does not freeze"

    def resume(self) -> None:
        """Go on after a stall: what was asked meanwhile is carried out and answered now."""
        if self._stalled is not None:
            self._stalled.put(None)
            self._stalled = None

    def cut(self) -> None:
        """Reset every open connection, once."""
        self._call(lambda: self._disconnect(reset=True))

    def cut_mid_line(self) -> None:
        """End every open watch in the middle of the next line that it is sent."""
        self._call(self._cut_watches)

    def compact(self, *, answer: GoneAnswer = "event", open_watches: bool = False) -> None:
        """Forget the history: a watch or a continued list from a version that was seen so far gets 410.

        Args:
            answer: How a watch gets it: as an ERROR event in a 200, or as the HTTP status.
            open_watches: Whether watches that are open are ended with it too.
        """
        self._faults.gone = answer
        self._store.compact()
        if open_watches:
            self._call(self._expire_watches)

    def bookmark_every(self, seconds: float) -> None:
        """Be busy with other objects, so that watches that begin from now on get a bookmark this often.

        Otherwise bookmarks come once a minute and two seconds before the watch's end, and, as the real server does it,
        not at all as long as no version newer than the watch's beginning has been given out.
        """
        self._faults.bookmark_every = seconds

    def refuse(
        self, status: int, *, times: int | None = None, retry_after: int | None = None, match: Match = every
    ) -> None:
        """Answer with this status instead of doing what is asked.

        Args:
            status: 429 is answered as flow control does it, in plain text; others with a Status object.
            times: How often; None until `allow`.
            retry_after: Seconds in the header; None for none, and for 1 with a 429.
            match: Which requests.
        """
        refusal = Refusal(status=status, match=match, retry_after=retry_after, left=times)
        self._faults.refusals = (*self._faults.refusals, refusal)

    def lose_answers(self, *, times: int | None = None, match: Match = every) -> None:
        """Carry out what is asked, and never answer; the connection stays open. Watches are not concerned."""
        lost = Refusal(status=0, match=match, retry_after=None, left=times)
        self._faults.lost_answers = (*self._faults.lost_answers, lost)

    def delay(self, seconds: float, *, match: Match = every) -> None:
        """Take this long before anything is done about a request."""
        self._faults.delays = (*self._faults.delays, (seconds, match))

    def trickle(self, piece: int, pause: float) -> None:
        """Send answers and events in pieces of this many bytes, with a pause of this many seconds after each."""
        self._faults.trickle = (piece, pause)

    def deny(self, verb: str, resource: str) -> None:
        """Grant it no longer: 403 in RBAC's words. "*" is every verb, or every resource."""
        self._faults.denied |= {(verb, resource)}

    def lose_next_delete(self) -> None:
        """Tell no watch of the next deletion: the next list shows it."""
        self._store.lose_next_delete()

    def allow(self) -> None:
        """End `refuse`, `lose_answers`, `delay`, `trickle` and `deny`."""
        self._faults.refusals = self._faults.lost_answers = ()
        self._faults.delays, self._faults.trickle, self._faults.denied = (), None, frozenset()

    # Its thread

    def _run(self, ready: queue.SimpleQueue[BaseException | None]) -> None:
        try:
            asyncio.run(self._serve(ready))
        except OSError as error:
            ready.put(error)

    async def _serve(self, ready: queue.SimpleQueue[BaseException | None]) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self._server = web.Server(self._rest.handle, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(self._server, shutdown_timeout=0.1)
        await runner.setup()
        self._store.listen(self._wake)
        try:
            site = web.TCPSite(runner, self.host, self.port, ssl_context=self._ssl())
            await site.start()
            ready.put(None)
            await self._over.wait()
            await self._finish_accepting(site)
        finally:
            self._store.forget(self._wake)
            await runner.cleanup()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            self._loop = None

    async def _finish_accepting(self, site: web.TCPSite) -> None:
        """Take no more, and hand over what was accepted: a server that is closed drops that (CPython 3.11)."""
        assert isinstance(site._server, asyncio.Server)  # aiohttp keeps its server to itself
        for listening in site._server.sockets:
            asyncio.get_running_loop().remove_reader(listening)
        for _ in range(3):  # turns of the loop: a task for each connection, its transport, its protocol
            await asyncio.sleep(0)

    def _ssl(self) -> ssl.SSLContext | None:
        if self._certificates is None:
            return None
        mine = identity(self._certificates)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(mine.certificate, mine.key)
        if self._tls_mode == "client":
            context.load_verify_locations(mine.authority)
            context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def _wake(self) -> None:
        """Called by whoever writes, in any thread."""
        self._post(self._wake_watches)

    def _wake_watches(self) -> None:
        for watch in self._rest.watches:
            watch.wake()

    def _cut_watches(self) -> None:
        for watch in self._rest.watches:
            watch.cut()

    def _expire_watches(self) -> None:
        for watch in self._rest.watches:
            watch.expire()

    def _post(self, function: Callable[..., object], *args: object) -> None:
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it has just ended
                loop.call_soon_threadsafe(function, *args)

    def _call(self, function: Callable[[], object]) -> None:
        """Do something in its thread, also while it is stalled, and wait until it is done."""
        done = threading.Event()

        def carry_out() -> None:
            function()
            done.set()

        if self._thread is None:
            return
        if self._stalled is not None:
            self._stalled.put(carry_out)
        else:
            self._post(carry_out)
        assert done.wait(PATIENCE), "the API server does nothing"

    def _freeze(self, orders: queue.SimpleQueue[Callable[[], None] | None], frozen: threading.Event) -> None:
        """Block the loop; only what the test does to the server is done meanwhile."""
        frozen.set()
        while (order := orders.get()) is not None:
            order()

    def _end(self) -> None:
        assert self._over is not None
        self._disconnect(reset=False)
        self._over.set()

    def _disconnect(self, *, reset: bool) -> None:
        assert self._server is not None
        for connection in self._server.connections:
            transport = connection.transport
            if transport is None:
                continue
            held: socket.socket | None = transport.get_extra_info("socket")
            if reset and held is not None and not transport.is_closing():
                held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()
