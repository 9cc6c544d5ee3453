"""Real servers for tests, each on a free port of the loopback with a folder of its own.

    with postgres_server(options={"max_connections": "5"}) as server:
        server.dsn()        postgresql://postgres@127.0.0.1:20123/test
        server.kill()       and start(), stop(), pause(), resume()

The Kubernetes API is the one that is imitated: tests/infra/test_kubernetes_api.py holds it to what a real one answers.
Fixtures are in tests/servers/fixtures.py. A server whose binary is missing skips the test, and fails it where CI=true.
"""

from tests.servers.certificates import Certificates, Identity
from tests.servers.kubernetes import KubernetesAPI
from tests.servers.kubernetes_volume import Volume
from tests.servers.mariadb import MariaDBServer, mariadb_replica, mariadb_server
from tests.servers.memcached import MemcachedServer, memcached_server
from tests.servers.ports import reserved_port
from tests.servers.postgres import PostgresServer, postgres_replica, postgres_server
from tests.servers.processes import Server, ServerFailed, ServerMissing
from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer, redis_server
from tests.servers.redis_topologies import RedisCluster, RedisSentinels, redis_cluster, redis_sentinels

__all__ = [
    "Certificates",
    "Identity",
    "KubernetesAPI",
    "MariaDBServer",
    "MemcachedServer",
    "PostgresServer",
    "Proxy",
    "RedisCluster",
    "RedisSentinels",
    "RedisServer",
    "Server",
    "ServerFailed",
    "ServerMissing",
    "Volume",
    "mariadb_replica",
    "mariadb_server",
    "memcached_server",
    "postgres_replica",
    "postgres_server",
    "redis_cluster",
    "redis_sentinels",
    "redis_server",
    "reserved_port",
]
