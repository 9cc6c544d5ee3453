"""Redis in numbers for tests: a primary under Sentinel, and a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.servers.ports import reserved_port
from tests.servers.processes import Server, binary, folder_for, run, started, wait_until
from tests.servers.redis import RedisServer, redis_server

SERVICE = "main"
DOWN_AFTER = 500
"""Milliseconds without an answer after which a Sentinel, or a cluster, takes a server for dead."""


@dataclass(frozen=True, kw_only=True)
class RedisSentinels:
    """A primary, its replicas, and the Sentinels that watch them under the name `service`."""

    primary: RedisServer
    replicas: list[RedisServer]
    sentinels: list[RedisServer]
    service: str = SERVICE

    def current_primary(self) -> tuple[str, int]:
        """Host and port that the first Sentinel which answers names as the primary."""
        first = next(sentinel for sentinel in self.sentinels if sentinel.running)
        host, port = first.execute("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
        return str(host), int(port)

    def fail_over(self) -> None:
        """Kill the primary and wait until the Sentinels have made a replica the primary."""
        before = self.current_primary()
        next(server for server in [self.primary, *self.replicas] if server.port == before[1]).kill()
        wait_until(lambda: self.current_primary() != before)
        _, port = self.current_primary()
        promoted = next(server for server in [self.primary, *self.replicas] if server.port == port)
        wait_until(lambda: promoted.execute("ROLE")[0] == "master")


@dataclass(frozen=True, kw_only=True)
class RedisCluster:
    """The nodes of a cluster: first the primaries."""

    nodes: list[RedisServer]

    def wait_until_whole(self) -> None:
        """Wait until every node that runs says that all slots are served."""
        wait_until(lambda: all(_is_whole(node) for node in self.nodes if node.running))


@contextmanager
def redis_sentinels(*, replicas: int = 1, sentinels: int = 3, password: str | None = None) -> Iterator[RedisSentinels]:
    """A primary with replicas under Sentinel; a dead primary is replaced within two seconds or so.

    Args:
        replicas: How many follow the primary.
        sentinels: How many watch; the majority decides.
        password: Of the servers; the Sentinels ask for none.
    """
    with ExitStack() as stack:
        own = {"repl-diskless-sync-delay": "0", **({"masterauth": password} if password else {})}
        primary = stack.enter_context(redis_server(options=own, password=password))
        follow = {**own, "replicaof": f"{primary.host} {primary.port}"}
        following = [stack.enter_context(redis_server(options=follow, password=password)) for _ in range(replicas)]
        wait_until(lambda: all(replica.execute("ROLE")[3] == "connected" for replica in following))
        quorum = sentinels // 2 + 1
        watching = [stack.enter_context(_sentinel(primary, quorum)) for _ in range(sentinels)]
        wait_until(lambda: all(_knows(sentinel, replicas, sentinels - 1) for sentinel in watching))
        yield RedisSentinels(primary=primary, replicas=following, sentinels=watching)


@contextmanager
def redis_cluster(
    *, primaries: int = 3, replicas: int = 0, options: Mapping[str, str] = {}, password: str | None = None
) -> Iterator[RedisCluster]:
    """A Redis Cluster with every slot served.

    Args:
        primaries: At least 3.
        replicas: How many follow each primary.
        options: Settings of every node.
        password: Of every node; None asks for none.
    """
    with ExitStack() as stack:
        nodes: list[RedisServer] = []
        for _ in range(primaries * (1 + replicas)):
            bus = stack.enter_context(reserved_port())
            own = {"cluster-enabled": "yes", "cluster-port": str(bus), "cluster-node-timeout": str(DOWN_AFTER * 2)}
            own |= {"masterauth": password} if password else {}
            nodes.append(stack.enter_context(redis_server(options={**own, **options}, password=password)))
        words = [binary("redis-cli", "redis-tools"), *(["-a", password] if password else []), "--cluster", "create"]
        words += [node.address for node in nodes]
        words += ["--cluster-replicas", str(replicas), "--cluster-yes"]
        run(words, user=None, cwd=nodes[0].folder)
        cluster = RedisCluster(nodes=nodes)
        cluster.wait_until_whole()
        yield cluster


@contextmanager
def _sentinel(primary: RedisServer, quorum: int) -> Iterator[RedisServer]:
    with reserved_port() as port, folder_for(None) as folder:
        lines = [
            f"port {port}",
            f"bind {Server.host}",
            f"dir {folder}",
            f"sentinel monitor {SERVICE} {primary.host} {primary.port} {quorum}",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER}",
            f"sentinel failover-timeout {SERVICE} {DOWN_AFTER * 4}",
            *([f"sentinel auth-pass {SERVICE} {primary.password}"] if primary.password else []),
        ]
        file = folder / "sentinel.conf"
        file.write_text("\n".join([*lines, ""]))
        with started(RedisServer([str(file), "--sentinel"], port=port, folder=folder)) as server:
            yield server


def _knows(sentinel: RedisServer, replicas: int, others: int) -> bool:
    answer = sentinel.execute("SENTINEL", "MASTER", SERVICE)
    facts = answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
    return int(facts["num-slaves"]) >= replicas and int(facts["num-other-sentinels"]) >= others


def _is_whole(node: RedisServer) -> bool:
    info = node.execute("CLUSTER", "INFO")
    state = info["cluster_state"] if isinstance(info, dict) else str(info)
    return "ok" in state.split("\r\n")[0]
