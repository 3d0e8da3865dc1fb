"""What a cluster cannot run, or would not heed: told before values are made, all of it at once."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.contradictions import Contradiction, contradictions
from airflow_llm_provider.config.render.manifests import has_statsd
from airflow_llm_provider.errors import ConfigurationError

__all__ = ["refuse_what_cannot_run"]

_MADE_ELSEWHERE = {"security.authentication.jwt_secret"}
"""Keys that a server needs in the file, and a cluster has in a Secret."""


def refuse_what_cannot_run(configuration: Configuration) -> None:
    """See to it that a cluster can run what is rendered.

    Args:
        configuration: What ``orchestrator.yaml`` says.

    Raises:
        ConfigurationError: It cannot; the message has all that is wrong.
    """
    errors = [it for it in contradictions(configuration) if it.severity == "error" and it.key not in _MADE_ELSEWHERE]
    # Of two of one key, the cluster's own says more.
    found = {it.key: it for it in (*errors, *_of_a_cluster(configuration))}
    if found:
        raise ConfigurationError("\n".join(f"'{it.key}': {it.message}; {it.suggestion}" for it in found.values()))


def _of_a_cluster(configuration: Configuration) -> Iterator[Contradiction]:
    server, cluster = configuration.server, configuration.kubernetes
    if server.mode == "edge-worker":
        yield Contradiction(
            "server.mode", "an edge worker is at a site of its own, not in the cluster of the centre", "write api"
        )
    if configuration.database.kind == "sqlite":
        yield Contradiction(
            "database.url",
            "pods cannot share SQLite",
            'write the URL of a PostgreSQL, such as "${DATABASE_URL}"',
        )
    if configuration.executor == "local":
        yield Contradiction(
            "execution.executor.type",
            "in a cluster tasks are run by workers or by pods of their own, never within the scheduler's",
            "write celery or kubernetes, or server.mode api, whose 'auto' is celery",
        )
    if server.tls.enabled:
        yield Contradiction(
            "server.tls.enabled",
            "in a cluster TLS ends at the ingress",
            "leave it out; kubernetes.ingress.host has https",
        )
    if server.port.http != type(server.port)().http:
        yield Contradiction(
            "server.port.http",
            "the chart's API server listens on 8080 only",
            "leave it out; the ingress has ports 80 and 443",
        )
    if cluster.api.least == 0:
        yield Contradiction("kubernetes.api.least", "tasks report to an API server", "write 1, or more")
    if cluster.workers.least == 0 and cluster.autoscaler != "keda" and "celery" in configuration.executor:
        yield Contradiction(
            "kubernetes.workers.least",
            "without workers there is no load that could add one",
            "write 1, or autoscaler: keda",
        )
    if cluster.service_monitor and not has_statsd(configuration):
        yield Contradiction(
            "kubernetes.service_monitor",
            "there is no StatsD of the chart that it could name",
            "write observability.metrics.enabled: true, without observability.metrics.statsd",
        )
