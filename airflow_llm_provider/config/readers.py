"""Who reads a key of ``orchestrator.yaml`` besides Airflow, and which keys nobody reads in this version."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["missing_part", "reader_of"]

_LATER = "carried; not part of this version: "

_READERS: Mapping[str, str] = {
    "environment": "workflows, as `system.environment`",
    "home": "all components",
    "server.mode": "`llm-orchestrator server`",
    "server.port.grpc": _LATER + "the gRPC API",
    "server.tls.enabled": "the API server",
    "server.behind_proxy": "the API server (`--proxy-headers`)",
    "database.type": "`llm-orchestrator server` and `db`",
    "database.pool.connection_timeout": "the database's URL (`connect_timeout`)",
    "database.migrations.auto_run": "`llm-orchestrator server`",
    "cache": "steps: cached answers, rate limits, circuit breakers and budgets",
    "execution.executor.task_timeout": "steps",
    "execution.executor.max_blocking_threads": "steps",
    "execution.resources": "`llm-orchestrator server`, and the rendered deployments",
    "execution.queue.names": "workers (`--queues`)",
    "fault_tolerance": "steps",
    "rate_limits": "steps",
    "prices": "steps",
    "budgets": "steps",
    "integrations.llm_forge": "steps",
    "integrations.llm_test_bench": _LATER + "the client of the evaluation service; steps evaluate by themselves",
    "integrations.llm_auto_optimizer": _LATER + "the client of the optimizer; steps record and recommend by themselves",
    "integrations.llm_governance": _LATER + "the client of the policy service; steps check by themselves",
    "actions": "steps",
    "alerts": "steps",
    "slack": "steps",
    "smtp": "steps",
    "storage": "steps",
    "storage.results": "",
    "storage.results_above": "",
    "observability.logging.output": "`llm-orchestrator server`",
    "observability.metrics.enabled": "`config render helm`: the StatsD of Airflow's chart",
    "observability.metrics.endpoint": _LATER + "the metrics page",
    "observability.metrics.port": _LATER + "the metrics page",
    "observability.metrics.prometheus": _LATER + "the metrics page",
    "observability.tracing": "all components, and steps",
    "security.authentication.provider": _LATER + "the login service",
    "security.authentication.admin_password": "API servers",
    "security.authorization": _LATER + "the login service",
    "security.audit": _LATER + "the audit log",
    "edge": "edge workers",
    "kubernetes": "`config render helm`",
    "topology.api_servers": "`config render haproxy`",
    "topology.load_balancer": "`config render haproxy`",
    "topology.postgres": "`config render patroni` and `haproxy`",
    "airflow": "Airflow",
}
"""Key, or section, to who reads it besides Airflow; the longest that fits counts."""


def reader_of(key: str) -> str:
    """Give who reads a key; empty when nobody does besides Airflow.

    Args:
        key: The dotted key.
    """
    fits = [name for name in _READERS if key == name or key.startswith((f"{name}.", f"{name}["))]
    return _READERS[max(fits, key=len)] if fits else ""


def missing_part(key: str) -> str:
    """Give the part that would read a key and is not there in this version; empty if somebody reads the key.

    Args:
        key: The dotted key.
    """
    reader = reader_of(key)
    return reader.removeprefix(_LATER) if reader.startswith(_LATER) else ""
