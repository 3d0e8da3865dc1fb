"""Values for the official Apache Airflow chart (1.22), and the manifests that the chart has not.

The file itself becomes a ConfigMap that all pods read, and each variable in it an entry of one Secret, named as the variable with
hyphens: ``OPENAI_API_KEY`` is ``openai-api-key``. So no value here is secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import yaml

from airflow_llm_provider.config.airflow_settings import Setting, settings_of
from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.kubernetes import PodResources, Replicas

__all__ = ["PLACEHOLDERS", "files"]

PLACEHOLDERS = {
    "DATABASE_URL": "postgresql://user@database/orchestrator",
    "REDIS_URL": "redis://cache:6379/0",
    "JWT_SECRET": "p" * 64,
}
"""Variables that stand for what only the cluster knows, while values are made."""

_CONFIG = "/etc/llm-orchestrator"
_VARIABLE = re.compile(r"\$[{(](\w+)")

_POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 50000,
    "runAsGroup": 0,
    "fsGroup": 0,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_CONTAINER_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}

_NO_GROOMER = {"enabled": False}
"""The logs are as old as the pod, and the program that removes old ones is in Apache's own image."""

_EXCUSES = (
    "CKV_K8S_8=a step ends by itself, and Airflow misses its heartbeat",
    "CKV_K8S_9=nobody sends requests to a step",
    "CKV_K8S_15=a tag is never used twice",
    "CKV_K8S_35=LLM clients read their keys from variables",
    "CKV_K8S_43=the tag is chosen in orchestrator.yaml",
)
"""What checkov would have otherwise, and why it is so."""

_ADMIN = "orchestrator-admin"
"""The volume with the user's password."""

_OF_THE_CHART = {
    ("core", "executor"), ("core", "dags_folder"), ("core", "execution_api_server_url"), ("api", "host"), ("api", "port"),
    ("api", "ssl_cert"), ("api", "ssl_key"), ("logging", "base_log_folder"), ("dag_processor", "dag_bundle_storage_path"),
    ("database", "sql_alchemy_pool_size"), ("database", "sql_alchemy_max_overflow"),
    ("core", "simple_auth_manager_passwords_file"),
}  # fmt: skip
"""Options that follow from the chart's own values, or from where things are in a pod."""


def files(configuration: Configuration, text: str = "") -> dict[str, str]:
    """Give ``values.yaml`` and the manifests.

    Args:
        configuration: What ``orchestrator.yaml`` says.
        text: That file.
    """
    head = "# Made from orchestrator.yaml: llm-orchestrator config render helm\n"
    made = {"values.yaml": _values(configuration, text), **_manifests(configuration, text)}
    return {name: head + _yaml(content) for name, content in made.items()}


def _yaml(content: Any) -> str:
    if isinstance(content, list):
        return "---\n".join(map(_yaml, content))
    dumped: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=120)
    return dumped


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are, and nothing by reference."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _values(configuration: Configuration, text: str) -> dict[str, Any]:
    cluster, settings = configuration.kubernetes, settings_of(configuration)
    options: dict[str, dict[str, str]] = {}
    variables: dict[str, str] = {}
    for setting in settings:
        if setting.is_secret:
            continue
        if not isinstance(setting, Setting):
            variables[setting.variable] = setting.value
        elif (setting.section, setting.key) not in _OF_THE_CHART:
            options.setdefault(setting.section, {})[setting.key] = setting.value
    options.setdefault("core", {})["simple_auth_manager_passwords_file"] = "/passwords/passwords.json"
    if cluster.ingress.host:
        options.setdefault("api", {})["base_url"] = f"https://{cluster.ingress.host}"
    variables.pop("AIRFLOW_HOME", None)
    variables["ORCHESTRATOR_CONFIG"] = f"{_CONFIG}/orchestrator.yaml"
    with_celery = "celery" in configuration.executor
    values: dict[str, Any] = {
        "airflowVersion": "3.3.2",
        "defaultAirflowRepository": cluster.image,
        "defaultAirflowTag": cluster.tag,
        "executor": next(item.value for item in settings if isinstance(item, Setting) and item.key == "executor"),
        "config": {section: options[section] for section in sorted(options)},
        "env": [{"name": name, "value": value} for name, value in sorted(variables.items())],
        "secret": [
            *({"envName": name, "secretName": cluster.secret, "secretKey": _key(name)} for name in _names(text)),
            # The chart sets the other one only, and Airflow would take a driver for this one that is not installed.
            {
                "envName": "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC",
                "secretName": f"{cluster.secret}-database",
                "secretKey": "connection",
            },
        ],
        "extraConfigMaps": {"orchestrator-config": {"data": _yaml({"orchestrator.yaml": text})}},
        "volumes": [
            {"name": "orchestrator-config", "configMap": {"name": "orchestrator-config"}},
            {"name": _ADMIN, "secret": {"secretName": f"{cluster.secret}-admin"}},
        ],
        "volumeMounts": [
            {
                "name": "orchestrator-config",
                "mountPath": f"{_CONFIG}/orchestrator.yaml",
                "subPath": "orchestrator.yaml",
                "readOnly": True,
            },
            {"name": _ADMIN, "mountPath": f"{_CONFIG}/admin", "readOnly": True},
        ],
        # Not in any file: each is a Secret with the one key that the chart reads there.
        "data": {
            "metadataSecretName": f"{cluster.secret}-database",
            **({"brokerUrlSecretName": f"{cluster.secret}-queue"} if with_celery else {}),
        },
        "fernetKeySecretName": f"{cluster.secret}-fernet",
        "jwtSecretName": f"{cluster.secret}-jwt",
        "apiSecretKeySecretName": f"{cluster.secret}-session",
        "postgresql": {"enabled": False},
        "redis": {"enabled": False},
        # The chart's own needs the database's password in its values; one before the database serves as well.
        "pgbouncer": {"enabled": False},
        # The user and its password are in a Secret.
        "createUserJob": {"enabled": False},
        "migrateDatabaseJob": {"enabled": configuration.database.migrations.auto_run},
        "apiServer": {
            "replicas": cluster.api.least,
            "hpa": _hpa(cluster.api),
            "resources": _resources(cluster.api.resources),
            "podDisruptionBudget": {"enabled": True, "config": {"maxUnavailable": 1}},
            # One server for pages and tasks: more connections than its 40 threads keep it from stopping.
            "env": [
                {"name": "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE", "value": "20"},
                {"name": "AIRFLOW__DATABASE__SQL_ALCHEMY_MAX_OVERFLOW", "value": "40"},
            ],
            # Airflow opens the file to write, and a Secret cannot be written to.
            "extraInitContainers": [
                {
                    "name": "passwords",
                    "image": f"{cluster.image}:{cluster.tag}",
                    "command": ["cp", f"{_CONFIG}/admin/passwords.json", "/passwords/passwords.json"],
                    "volumeMounts": [
                        {"name": _ADMIN, "mountPath": f"{_CONFIG}/admin", "readOnly": True},
                        {"name": "passwords", "mountPath": "/passwords"},
                    ],
                }
            ],
            "extraVolumes": [{"name": "passwords", "emptyDir": {}}],
            "extraVolumeMounts": [{"name": "passwords", "mountPath": "/passwords"}],
            # The first start takes up to 40 s.
            "startupProbe": {"failureThreshold": 18, "periodSeconds": 10},
            "networkPolicy": {"ingress": {"from": [_from_ingress(configuration)]}},
        },
        "scheduler": {
            "replicas": cluster.schedulers,
            "podDisruptionBudget": _budget(cluster.schedulers),
            "logGroomerSidecar": _NO_GROOMER,
        },
        "dagProcessor": {"enabled": True, "replicas": 1, "logGroomerSidecar": _NO_GROOMER},
        "triggerer": {
            "replicas": cluster.triggerers,
            "persistence": {"enabled": False},
            "podDisruptionBudget": _budget(cluster.triggerers),
            "logGroomerSidecar": _NO_GROOMER,
        },
        "securityContexts": {"pod": _POD_SECURITY, "containers": _CONTAINER_SECURITY},
        "workers": _workers(configuration),
        "ingress": _ingress(configuration),
        "networkPolicies": {"enabled": True},
        "statsd": {"enabled": configuration.observability.metrics.enabled},
        "logs": {"persistence": {"enabled": False}},
        "dags": _dags(configuration),
    }
    if "kubernetes" in configuration.executor and configuration.kubernetes.git.repository is None:
        # With git-sync it is the chart's own, which has the container that brings the files.
        values["podTemplate"] = _yaml(_step_pod(configuration, values))
    return values


def _step_pod(configuration: Configuration, values: Mapping[str, Any]) -> dict[str, Any]:
    """Give the pod of a step, which the Kubernetes executor completes with the step's command and its ``airflow: {pod: …}``.

    The chart fills in the release; it is the chart's ConfigMap that has ``airflow.cfg``. It gets the variables of the
    file, and not the password of the user.
    """
    cluster = configuration.kubernetes
    secrets = [
        {
            "name": item["envName"],
            "valueFrom": {"secretKeyRef": {"name": item["secretName"], "key": item["secretKey"]}},
        }
        for item in values["secret"]
        if not item["envName"].startswith("AIRFLOW__")
    ]
    volumes = [volume for volume in values["volumes"] if volume["name"] != _ADMIN]
    mounts = [mount for mount in values["volumeMounts"] if mount["name"] != _ADMIN]
    base = {
        "name": "base",
        "image": f"{cluster.image}:{cluster.tag}",
        "imagePullPolicy": "IfNotPresent",
        "env": [
            {"name": "AIRFLOW_HOME", "value": "/opt/airflow"},
            # The pod runs its one task itself.
            {"name": "AIRFLOW__CORE__EXECUTOR", "value": "LocalExecutor"},
            *values["env"],
            *secrets,
        ],
        "resources": _resources(cluster.workers.resources),
        "securityContext": {**_CONTAINER_SECURITY, "readOnlyRootFilesystem": True},
        "volumeMounts": [
            {"name": "config", "mountPath": "/opt/airflow/airflow.cfg", "subPath": "airflow.cfg", "readOnly": True},
            {"name": "logs", "mountPath": "/opt/airflow/logs"},
            {"name": "state", "mountPath": "/opt/airflow/llm"},
            {"name": "tmp", "mountPath": "/tmp"},
            *mounts,
        ],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "step",
            # Not those of Celery's workers, whose autoscaler would count it.
            "labels": {"tier": "airflow", "component": "step", "release": "{{ .Release.Name }}"},
            "annotations": {f"checkov.io/skip{number}": reason for number, reason in enumerate(_EXCUSES, start=1)},
        },
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": "{{ .Release.Name }}-worker",
            "automountServiceAccountToken": False,
            "securityContext": _POD_SECURITY,
            "containers": [base],
            "volumes": [
                {"name": "config", "configMap": {"name": '{{ include "airflow_config" . }}'}},
                {"name": "logs", "emptyDir": {}},
                {"name": "state", "emptyDir": {}},
                {"name": "tmp", "emptyDir": {}},
                *volumes,
            ],
        },
    }


def _names(text: str) -> list[str]:
    return sorted({*_VARIABLE.findall(text)})


def _key(variable: str) -> str:
    return variable.lower().replace("_", "-")


def _resources(resources: PodResources) -> dict[str, Any]:
    return {
        "requests": {"cpu": resources.cpu_request, "memory": resources.memory_request},
        "limits": {"cpu": resources.cpu_limit, "memory": resources.memory_limit},
    }


def _metric(name: str, percent: int) -> dict[str, Any]:
    return {
        "type": "Resource",
        "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": percent}},
    }


def _hpa(replicas: Replicas) -> dict[str, Any]:
    metrics = [_metric("cpu", replicas.cpu), *([_metric("memory", replicas.memory)] if replicas.memory else [])]
    return {
        "enabled": replicas.most > replicas.least,
        "minReplicaCount": replicas.least,
        "maxReplicaCount": replicas.most,
        "metrics": metrics,
    }


def _budget(replicas: int) -> dict[str, Any]:
    return {"enabled": replicas > 1, "config": {"maxUnavailable": 1}}


def _workers(configuration: Configuration) -> dict[str, Any]:
    cluster, workers = configuration.kubernetes, configuration.kubernetes.workers
    pods = {"resources": _resources(workers.resources)}
    if "celery" not in configuration.executor:
        return {"kubernetes": pods}
    celery = {
        "replicas": workers.least,
        "hpa": {**_hpa(workers), "enabled": cluster.autoscaler == "hpa" and workers.most > workers.least},
        "keda": {
            "enabled": cluster.autoscaler == "keda",
            "minReplicaCount": workers.least,
            "maxReplicaCount": workers.most,
            "usePgbouncer": False,
        },
        "persistence": {"enabled": False},
        "logGroomerSidecar": _NO_GROOMER,
        "podDisruptionBudget": _budget(workers.least),
        # A worker that is asked to end finishes what it has begun.
        "terminationGracePeriodSeconds": 600,
        **pods,
    }
    return {"celery": celery, **({"kubernetes": pods} if "kubernetes" in configuration.executor else {})}


def _from_ingress(configuration: Configuration) -> dict[str, Any]:
    name = configuration.kubernetes.ingress.namespace
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _ingress(configuration: Configuration) -> dict[str, Any]:
    ingress = configuration.kubernetes.ingress
    if not ingress.host:
        return {"apiServer": {"enabled": False}}
    host = {"name": ingress.host, "tls": {"enabled": True, "secretName": "orchestrator-tls"}}
    return {
        "apiServer": {
            "enabled": True,
            "ingressClassName": ingress.class_name,
            "annotations": {"cert-manager.io/cluster-issuer": ingress.cluster_issuer},
            "hosts": [host],
        }
    }


def _dags(configuration: Configuration) -> dict[str, Any]:
    git = configuration.kubernetes.git
    if git.repository is None:
        # They are in the image.
        return {"gitSync": {"enabled": False}, "persistence": {"enabled": False}}
    sync = {"enabled": True, "repo": git.repository, "branch": git.branch, "ref": git.branch, "subPath": git.folder}
    return {"gitSync": {**sync, **({"credentialsSecret": git.secret} if git.secret else {})}}


def _manifests(configuration: Configuration, text: str) -> dict[str, Any]:
    cluster = configuration.kubernetes
    place = {"namespace": cluster.namespace}
    made: dict[str, Any] = {
        "manifests/namespace.yaml": {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": cluster.namespace,
                "labels": {
                    "pod-security.kubernetes.io/warn": "restricted",
                    "pod-security.kubernetes.io/enforce": "baseline",
                },
            },
        },
        "manifests/network-policies.yaml": _policies(configuration),
    }
    if cluster.secret_store is not None:
        made["manifests/external-secrets.yaml"] = [
            {
                "apiVersion": "external-secrets.io/v1",
                "kind": "ExternalSecret",
                "metadata": {"name": name, **place},
                "spec": {
                    "refreshInterval": "1h",
                    "secretStoreRef": {"name": cluster.secret_store, "kind": "ClusterSecretStore"},
                    "target": {"name": name},
                    "data": [{"secretKey": key, "remoteRef": {"key": f"{name}/{key}"}} for key in keys],
                },
            }
            for name, keys in _secrets(configuration, text).items()
        ]
    return made


def _secrets(configuration: Configuration, text: str) -> dict[str, list[str]]:
    """Give all Secrets that the values name, with their keys."""
    name, with_celery = configuration.kubernetes.secret, "celery" in configuration.executor
    return {
        **({name: [_key(variable) for variable in _names(text)]} if _names(text) else {}),
        f"{name}-admin": ["passwords.json"],
        f"{name}-database": ["connection"],
        **({f"{name}-queue": ["connection"]} if with_celery else {}),
        f"{name}-fernet": ["fernet-key"],
        f"{name}-jwt": ["jwt-secret"],
        f"{name}-session": ["api-secret-key"],
    }


def _policies(configuration: Configuration) -> list[dict[str, Any]]:
    """Nobody comes in and nobody goes out, but to what is needed; the chart's own policies let pods of one kind reach another."""

    def policy(name: str, types: list[str], **rules: Any) -> dict[str, Any]:
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": configuration.kubernetes.namespace},
            "spec": {"podSelector": {}, "policyTypes": types, **rules},
        }

    def port(number: int, protocol: str = "TCP") -> dict[str, Any]:
        return {"protocol": protocol, "port": number}

    dns = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}
    return [
        policy("default-deny", ["Ingress", "Egress"]),
        policy(
            "within-the-namespace",
            ["Ingress", "Egress"],
            ingress=[{"from": [{"podSelector": {}}]}],
            egress=[{"to": [{"podSelector": {}}]}],
        ),
        policy("names", ["Egress"], egress=[{"to": [dns], "ports": [port(53, "UDP"), port(53)]}]),
        # Models, object storage and the Kubernetes API speak https, the database and the queue their own.
        policy("out", ["Egress"], egress=[{"ports": [port(number) for number in _ports_out(configuration)]}]),
        policy("in", ["Ingress"], ingress=[{"from": [_from_ingress(configuration)], "ports": [port(8080)]}]),
    ]


def _ports_out(configuration: Configuration) -> list[int]:
    """Give https, the Kubernetes API, PostgreSQL and Redis, and the ports of what the file names by address."""
    tracing, broker = configuration.observability.tracing, configuration.broker or ""
    addresses = [configuration.storage.s3.endpoint_url, broker if broker.startswith("amqp") else None]
    if tracing.enabled:
        # Jaeger's old port stands for its OTLP one, as in the settings.
        addresses.append(tracing.endpoint.replace(":14268", ":4318"))
    named = {urlsplit(address).port for address in addresses if address}
    amqp = {5672} if broker.startswith("amqp") and None in named else set()
    return [443, 6443, 5432, 6379, *sorted({port for port in named if port} - {443, 6443, 5432, 6379} | amqp)]
