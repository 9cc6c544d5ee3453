"""Servers that follow each other."""

from __future__ import annotations

import psycopg2
import pymysql
import pytest
import redis

from tests.infra.clients import on_mariadb, on_postgres
from tests.servers import (
    Server,
    mariadb_replica,
    mariadb_server,
    postgres_replica,
    postgres_server,
    redis_cluster,
    redis_sentinels,
)


@pytest.mark.parametrize("password", [None, "it's"])
def test_a_postgres_replica_follows_refuses_writes_and_is_promoted(password: str | None) -> None:
    with postgres_server(password=password) as primary, postgres_replica(primary) as replica:
        primary.execute("CREATE TABLE t (a int)")
        primary.execute("INSERT INTO t VALUES (1)")
        replica.catch_up(primary)
        assert on_postgres(replica.dsn(), "SELECT a FROM t") == [(1,)]
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            replica.execute("INSERT INTO t VALUES (2)")
        primary.kill()
        replica.promote()
        assert on_postgres(replica.dsn(), "INSERT INTO t VALUES (2) RETURNING a") == [(2,)]


def test_a_postgres_replica_of_a_primary_with_settings_of_its_own() -> None:
    with postgres_server(options={"max_connections": "120"}) as primary, postgres_replica(primary) as replica:
        replica.catch_up(primary)
        assert replica.execute("SHOW max_connections") == [("120",)]


@pytest.mark.parametrize("password", [None, "it's"])
def test_a_mariadb_replica_follows_refuses_writes_and_is_promoted(password: str | None) -> None:
    with mariadb_server(password=password) as primary, mariadb_replica(primary) as replica:
        primary.execute("CREATE TABLE test.t (a int)", "INSERT INTO test.t VALUES (1)")
        replica.catch_up(primary)
        assert on_mariadb(replica.dsn(), "SELECT a FROM t") == ((1,),)
        with pytest.raises(pymysql.OperationalError, match="read-only"):
            on_mariadb(replica.dsn(), "INSERT INTO t VALUES (2)")
        primary.kill()
        replica.promote()
        on_mariadb(replica.dsn(), "INSERT INTO t VALUES (2)")


def test_sentinels_replace_a_dead_primary() -> None:
    with redis_sentinels(password="secret") as group:
        group.primary.execute("SET", "a", "1")
        assert group.primary.execute("WAIT", "1", "5000") == 1
        assert group.current_primary() == (Server.host, group.primary.port)
        group.fail_over()
        assert group.current_primary() == (Server.host, group.replicas[0].port)
        assert group.replicas[0].execute("GET", "a") == "1"
        assert group.replicas[0].execute("SET", "a", "2")


def test_a_cluster_serves_every_slot() -> None:
    with redis_cluster() as cluster:
        with redis.RedisCluster(Server.host, cluster.nodes[0].port) as client:
            for number in range(50):
                client.set(f"key-{number}", number)
            assert len(client.get_primaries()) == 3
        assert sum(node.execute("DBSIZE") for node in cluster.nodes) == 50
