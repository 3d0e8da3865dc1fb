"""The manifests that the Apache Airflow chart has not.

These are the namespace, rights, ``orchestrator.yaml`` itself, who may talk to whom, and where secrets come from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.render import Source
from airflow_llm_provider.config.render.hidden import password_in
from airflow_llm_provider.config.render.secrets import entries
from airflow_llm_provider.config.secrets import leaves_of, secrets_of
from airflow_llm_provider.errors import ConfigurationError

__all__ = [
    "ACCOUNT",
    "API_SERVER_ACCOUNT",
    "CONFIG_MAP",
    "SCHEDULER_ACCOUNT",
    "STEP",
    "has_statsd",
    "manifests",
    "runs_pods",
]

CONFIG_MAP = "orchestrator-config"
"""What holds ``orchestrator.yaml``. It is no value of the chart, which would take ``{{ }}`` in it for its own."""

ACCOUNT, SCHEDULER_ACCOUNT, API_SERVER_ACCOUNT = (
    "orchestrator",
    "orchestrator-scheduler",
    "orchestrator-api-server",
)
"""Service accounts: of whom asks nothing of Kubernetes, of who makes the pods of steps, of who reads their logs."""

STEP = "step"
"""What the chart's label ``component`` says of the pod of a step. As one of Celery's workers, their autoscaler would count it."""

_WORK = ("worker", STEP)
_AIRFLOW = ("api-server", "scheduler", "dag-processor", "triggerer", *_WORK)
_MIGRATION = "run-airflow-migrations"
_PORTS = {
    "http": 80, "https": 443, "s3": 443, "postgresql": 5432, "redis": 6379, "rediss": 6379, "amqp": 5672, "amqps": 5671, "ssh": 22,
}  # fmt: skip
"""Scheme of an address to its port."""

_NOT_OUTSIDE = {"server", "topology", "kubernetes", "workflows"}
"""Sections whose addresses are those of this system itself, or of another kind of it."""


def manifests(source: Source) -> dict[str, Any]:
    """Give the manifests.

    Args:
        source: What ``orchestrator.yaml`` says.

    Returns:
        Name of the file to the document, or the documents, in it.

    Raises:
        ConfigurationError: The file holds a secret, or names a file with one.
    """
    configuration = source.configuration
    place = {"namespace": configuration.kubernetes.namespace}
    made: dict[str, Any] = {
        "namespace.yaml": {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": configuration.kubernetes.namespace,
                "labels": {
                    "pod-security.kubernetes.io/enforce": "restricted",
                },
            },
        },
        "rbac.yaml": list(_rights(configuration)),
        "config.yaml": {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": CONFIG_MAP, **place},
            "data": {"orchestrator.yaml": _without_secrets(source)},
        },
        "network-policies.yaml": list(_policies(configuration)),
    }
    monitor = configuration.kubernetes.service_monitor
    if monitor:
        made["service-monitor.yaml"] = {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "ServiceMonitor",
            "metadata": {"name": "orchestrator", **place, "labels": dict(monitor)},
            "spec": {
                "selector": _component("statsd"),
                "endpoints": [{"port": "statsd-scrape", "interval": "30s"}],
            },
        }
    store = configuration.kubernetes.secret_store
    if store is not None:
        made["external-secrets.yaml"] = [
            {
                "apiVersion": "external-secrets.io/v1",
                "kind": "ExternalSecret",
                "metadata": {"name": name, **place},
                "spec": {
                    "refreshInterval": "1h",
                    "secretStoreRef": {"name": store, "kind": "ClusterSecretStore"},
                    "target": {"name": name},
                    "data": [{"secretKey": entry, "remoteRef": {"key": name, "property": entry}} for entry in held],
                },
            }
            for name, held in entries(source).items()
        ]
    return made


def _without_secrets(source: Source) -> str:
    """Give the file; many may read a ConfigMap."""
    if source.secret_files:
        raise ConfigurationError(
            f"{', '.join(source.secret_files)}: no pod has this; write ${{VARIABLE}} in place of the key that ends in _file,"
            " and give the variable to: llm-orchestrator config render secrets"
        )
    told = {*source.variables.values()}
    for secret in secrets_of(source.configuration):
        hidden = password_in(secret)
        found = re.search(rf"(?<!\w){re.escape(hidden)}(?!\w)", source.text)
        if hidden and found and not {hidden, unquote(hidden)} & told:
            line = source.text[: found.start()].count("\n") + 1
            raise ConfigurationError(
                f"line {line} of the file holds a secret, and the file becomes a ConfigMap, which many may read;"
                " write ${VARIABLE}, and give the variable to: llm-orchestrator config render secrets"
            )
    return source.text


def runs_pods(configuration: Configuration) -> bool:
    """Tell whether a step has a pod of its own."""
    return "kubernetes" in configuration.executor


def has_statsd(configuration: Configuration) -> bool:
    """Tell whether the chart's own StatsD has the numbers."""
    metrics = configuration.observability.metrics
    return metrics.enabled and not metrics.statsd


def _rights(configuration: Configuration) -> Iterator[dict[str, Any]]:
    place = {"namespace": configuration.kubernetes.namespace}
    annotations = dict(configuration.kubernetes.account_annotations)

    def account(name: str, *, token: bool) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, **place, **({"annotations": annotations} if annotations else {})},
            "automountServiceAccountToken": token,
        }

    def may(name: str, rules: dict[str, list[str]]) -> Iterator[dict[str, Any]]:
        api = "rbac.authorization.k8s.io"
        yield account(name, token=True)
        yield {
            "apiVersion": f"{api}/v1",
            "kind": "Role",
            "metadata": {"name": name, **place},
            "rules": [{"apiGroups": [""], "resources": [what], "verbs": verbs} for what, verbs in rules.items()],
        }
        yield {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name, **place},
            "roleRef": {"apiGroup": api, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, **place}],
        }

    yield account(ACCOUNT, token=False)
    if runs_pods(configuration):
        yield from may(SCHEDULER_ACCOUNT, {"pods": ["create", "get", "list", "watch", "patch", "delete"]})
        yield from may(API_SERVER_ACCOUNT, {"pods": ["get", "list"], "pods/log": ["get"]})


def _policies(configuration: Configuration) -> Iterator[dict[str, Any]]:
    """Nobody comes in and nobody goes out, but by what is said here of each component."""
    cluster, metrics = configuration.kubernetes, configuration.observability.metrics
    ingress, prometheus = _namespace(cluster.ingress.namespace), _namespace(cluster.prometheus_namespace)
    statsd = has_statsd(configuration)

    def policy(name: str, pods: dict[str, Any], **rules: Any) -> dict[str, Any]:
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": cluster.namespace},
            "spec": {"podSelector": pods, **rules},
        }

    def into(name: str, *sources: dict[str, Any], port: int, protocol: str = "TCP") -> dict[str, Any]:
        rule = {"from": list(sources), "ports": [{"protocol": protocol, "port": port}]}
        return policy(f"to-{name}-{port}", _component(name), policyTypes=["Ingress"], ingress=[rule])

    def out_of(name: str, *components: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
        return policy(name, _component(*components), policyTypes=["Egress"], egress=rules)

    def to(name: str, port: int, protocol: str = "TCP") -> dict[str, Any]:
        return {"to": [{"podSelector": _component(name)}], "ports": [{"protocol": protocol, "port": port}]}

    yield policy("default-deny", {}, policyTypes=["Ingress", "Egress"])
    dns = [{"protocol": protocol, "port": port} for port in cluster.dns_ports for protocol in ("UDP", "TCP")]
    # What is on each node is in no namespace that a policy could name.
    where = {"to": [_namespace(cluster.dns_namespace)]} if cluster.dns_namespace else {}
    yield policy("names", {}, policyTypes=["Egress"], egress=[{**where, "ports": dns}])
    # Work reports to the API server, and people come by the ingress; the API server fetches the logs of what still runs.
    within = {"podSelector": _component(*_WORK)}
    yield into("api-server", *([ingress] if cluster.ingress.host else []), within, port=8080)
    yield out_of("work-reports", *_WORK, rules=[to("api-server", 8080)])
    yield into("worker", {"podSelector": _component("api-server")}, port=8793)
    yield into("triggerer", {"podSelector": _component("api-server")}, port=8794)
    yield out_of("logs-are-read", "api-server", rules=[to("worker", 8793), to("triggerer", 8794)])
    if statsd:
        yield into("statsd", {"podSelector": _component(*_AIRFLOW)}, port=9125, protocol="UDP")
        yield into("statsd", prometheus, port=9102)
        yield out_of("numbers", *_AIRFLOW, rules=[to("statsd", 9125, "UDP")])
    ports = [{"protocol": "TCP", "port": port} for port in _ports_outside(configuration)]
    if metrics.statsd:
        ports.append({"protocol": "UDP", "port": int(metrics.statsd.rpartition(":")[2])})
    # A policy knows addresses and no names, and those of models and stores are not known: the ports are what can be said.
    yield out_of("outside", *_AIRFLOW, _MIGRATION, rules=[{"ports": ports}])
    if runs_pods(configuration):
        kubernetes_api = [{"protocol": "TCP", "port": port} for port in cluster.api_ports]
        yield out_of("kubernetes", "scheduler", "api-server", rules=[{"ports": kubernetes_api}])
    if cluster.ingress.host:
        # The pod by which cert-manager proves that the name is ours.
        solver = {"matchLabels": {"acme.cert-manager.io/http01-solver": "true"}}
        rule = {"from": [ingress], "ports": [{"protocol": "TCP", "port": 8089}]}
        yield policy("certificates", solver, policyTypes=["Ingress"], ingress=[rule])


def _namespace(name: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _component(*names: str) -> dict[str, Any]:
    """Select pods by the labels that the chart gives them."""
    if len(names) == 1:
        return {"matchLabels": {"tier": "airflow", "component": names[0]}}
    chosen = {"key": "component", "operator": "In", "values": list(names)}
    return {"matchLabels": {"tier": "airflow"}, "matchExpressions": [chosen]}


def _ports_outside(configuration: Configuration) -> list[int]:
    """Give the ports of all addresses that the file names, and https, by which models are called."""
    sections = {*type(configuration).model_fields} - _NOT_OUTSIDE
    texts = {text for section in sections for text in _texts(getattr(configuration, section))}
    tracing, git = configuration.observability.tracing, configuration.kubernetes.git
    texts = texts - {tracing.endpoint} | {tracing.spans_endpoint}
    found = {443, *configuration.kubernetes.egress_ports, *(port for text in texts if (port := _port(text)))}
    if configuration.smtp.host:
        found.add(configuration.smtp.port_or_default)
    if git.repository:
        # What is no URL, such as git@host:path, is ssh.
        found.add(_port(git.repository) or 22)
    return sorted(found)


def _texts(value: Any) -> Iterator[str]:
    yield from secrets_of(value)
    yield from (leaf for leaf in leaves_of(value) if isinstance(leaf, str))


def _port(text: str) -> int | None:
    """Give the port of another machine's address; None of what is none."""
    scheme = re.match(r"([a-z][a-z0-9]*)(\+\w+)?://", text)
    if scheme is None:
        return None
    try:
        address = urlsplit(text)
        return None if address.hostname in ("localhost", "127.0.0.1", "::1") else address.port or _PORTS.get(scheme[1])
    except ValueError:
        return None
