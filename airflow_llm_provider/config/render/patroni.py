"""Patroni's file of each machine of the database: a cluster that elects a new leader by itself when one is lost."""

from __future__ import annotations

from typing import Any

import yaml

from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.render import Source
from airflow_llm_provider.errors import ConfigurationError

__all__ = ["files"]


def files(source: Source) -> dict[str, str]:
    """Give ``NAME.yaml`` for each machine.

    The passwords are left to the variables that Patroni reads: ``PATRONI_SUPERUSER_PASSWORD``, ``PATRONI_REPLICATION_PASSWORD``,
    ``PATRONI_REWIND_PASSWORD``, and ``PATRONI_RESTAPI_USERNAME`` and ``PATRONI_RESTAPI_PASSWORD``, without which whoever reaches
    its API may restart the database.

    Raises:
        ConfigurationError: No machine, or no etcd, is named.
    """
    configuration = source.configuration
    cluster = configuration.topology.postgres
    if not cluster.nodes or not cluster.etcd:
        missing = "nodes" if not cluster.nodes else "etcd"
        raise ConfigurationError(f"'topology.postgres.{missing}' is empty; name the machines")
    head = "# Made from orchestrator.yaml: llm-orchestrator config render patroni\n"
    return {
        f"{name}.yaml": head + yaml.safe_dump(_node(configuration, name), sort_keys=False) for name in cluster.nodes
    }


def _node(configuration: Configuration, name: str) -> dict[str, Any]:
    cluster = configuration.topology.postgres
    host, _, ports = cluster.nodes[name].partition(":")
    port, _, api_port = ports.partition(":")
    address, api = f"{host}:{port or cluster.port}", f"{host}:{api_port or cluster.api_port}"
    postgresql: dict[str, Any] = {
        "listen": address,
        "connect_address": address,
        "data_dir": f"{cluster.data_dir.rstrip('/')}",
        "pgpass": f"{cluster.data_dir.rstrip('/')}.pgpass",
        # Read again by `patronictl reload`, unlike that of the bootstrap.
        "pg_hba": _access(configuration),
        "authentication": {
            "superuser": {"username": "postgres"},
            "replication": {"username": "replicator"},
            # A leader that was lost comes back as a replica; this user may do what that needs, and no more.
            "rewind": {"username": "rewind"},
        },
    }
    if cluster.bin_dir:
        postgresql["bin_dir"] = cluster.bin_dir
    return {
        "scope": cluster.scope,
        "namespace": "/service/",
        "name": name,
        "restapi": {"listen": api, "connect_address": api},
        "etcd3": {"hosts": list(cluster.etcd)},
        "bootstrap": {
            "dcs": {
                "ttl": cluster.ttl,
                "loop_wait": cluster.loop_wait,
                "retry_timeout": cluster.retry_timeout,
                "maximum_lag_on_failover": 1048576,
                # What a run has told the database is on two machines before it counts.
                "synchronous_mode": True,
                "postgresql": {"use_pg_rewind": True, "parameters": dict(cluster.parameters)},
            },
            # Without the last two, whoever is on the machine is let in as anybody.
            "initdb": [
                {"encoding": "UTF8"},
                "data-checksums",
                {"auth-host": "scram-sha-256"},
                {"auth-local": "peer"},
            ],
            # Patroni's own check asks for it here, too.
            "pg_hba": _access(configuration),
        },
        "postgresql": postgresql,
    }


def _access(configuration: Configuration) -> list[str]:
    cluster = configuration.topology.postgres
    return [
        # Who is postgres on the machine is postgres in the database.
        "local all all peer",
        f"host replication replicator {cluster.network} scram-sha-256",
        f"host all all {cluster.network} scram-sha-256",
        # From elsewhere nobody is more than the components are.
        *(f"host {cluster.database} {cluster.role} {network} scram-sha-256" for network in cluster.clients),
    ]
