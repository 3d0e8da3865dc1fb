"""What ``orchestrator.yaml`` says of the machines of a distributed system: the section ``topology``.

The components do not read it; the files of the programs beside them are rendered from it (``llm-orchestrator config render``).
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, model_validator
from typing_extensions import Self

from airflow_llm_provider.config.section import FilePath, Port, Section

__all__ = ["LoadBalancer", "PostgresCluster", "Topology"]


class LoadBalancer(Section):
    """The HAProxy before the API servers: section ``topology.load_balancer``.

    Attributes:
        host: Address to listen on; ``*`` for all.
        http: Port for http.
        https: Port for https.
        stats: Port of the page that shows how the servers are.
        stats_host: Address that this page listens on; nobody is asked for a password there.
        certificate: PEM file with certificate and key. Without it there is only http.
        max_connections: Connections at once.
    """

    host: str = "*"
    http: Port = 80
    https: Port = 443
    stats: Port = 9000
    stats_host: str = "127.0.0.1"
    certificate: FilePath | None = None
    max_connections: int = Field(default=4096, ge=1)


class PostgresCluster(Section):
    """A PostgreSQL that outlives its machine, by Patroni: section ``topology.postgres``.

    Attributes:
        scope: The cluster's name.
        nodes: Name of a machine to its address.
        port: Port of PostgreSQL.
        api_port: Port of Patroni, by which HAProxy finds the leader.
        etcd: Addresses of etcd, which knows who leads.
        network: Whose machines may replicate and log in: the database's own.
        clients: Whose machines may log in, too, but as ``role`` to ``database`` only: those of the components, or of the HAProxy
            between.
        database: The database of the components, as in ``database.url``.
        role: As whom they log in, as in ``database.url``.
        data_dir: Where PostgreSQL keeps its data.
        bin_dir: Where PostgreSQL's programs are; by default those on the path.
        ttl: Seconds after which a leader that is not heard of is replaced.
        loop_wait: Seconds between two looks at the cluster.
        parameters: Settings of PostgreSQL.
    """

    scope: str = "orchestrator"
    nodes: Mapping[str, str] = Field(default_factory=dict)
    port: Port = 5432
    api_port: Port = 8008
    etcd: tuple[str, ...] = ()
    network: str = "10.0.2.0/24"
    clients: tuple[str, ...] = ("10.0.0.0/8",)
    database: str = "orchestrator"
    role: str = "orchestrator"
    data_dir: str = "/var/lib/postgresql/15/main"
    bin_dir: str | None = None
    ttl: int = Field(default=30, ge=15)
    loop_wait: int = Field(default=10, ge=1)
    parameters: Mapping[str, str | int | float] = Field(
        default={
            "max_connections": 300,
            "shared_buffers": "4GB",
            "effective_cache_size": "12GB",
            "maintenance_work_mem": "1GB",
            "checkpoint_completion_target": 0.9,
            "wal_buffers": "16MB",
            "default_statistics_target": 100,
            "random_page_cost": 1.1,
            "effective_io_concurrency": 200,
        }
    )

    @property
    def retry_timeout(self) -> int:
        """Seconds for which Patroni tries to reach etcd or PostgreSQL again; two of them and a look fit into ``ttl``."""
        return min(10, (self.ttl - self.loop_wait) // 2)

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        # https://patroni.readthedocs.io/en/latest/dynamic_configuration.html: 3 s is the least retry_timeout.
        if self.retry_timeout < 3:
            raise ValueError(
                f"'ttl' is {self.ttl}, too short for 'loop_wait', {self.loop_wait}; write at least {self.loop_wait + 6}"
            )
        return self


class Topology(Section):
    """Section ``topology``.

    Attributes:
        api_servers: Machines with API servers: ``host``, or ``host:port`` with the port of the pages; tasks report to the port
            after it, unless ``server.port.execution`` says otherwise.
        load_balancer: What is before them.
        postgres: The database's machines.
    """

    api_servers: tuple[str, ...] = ()
    load_balancer: LoadBalancer = LoadBalancer()
    postgres: PostgresCluster = PostgresCluster()
