"""Values for the official Apache Airflow chart (1.22).

What the chart has not is in :mod:`.manifests`, and what is secret in :mod:`.secrets`: no value here is.
"""

from __future__ import annotations

import hashlib
from typing import Any

import yaml

from airflow_llm_provider.config.airflow_settings import settings_of
from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.kubernetes import GitSync, PodResources, Replicas
from airflow_llm_provider.config.render import Source
from airflow_llm_provider.config.render.cluster import HOME, refuse_what_cannot_run
from airflow_llm_provider.config.render.manifests import (
    ACCOUNT,
    API_SERVER_ACCOUNT,
    CONFIG_MAP,
    SCHEDULER_ACCOUNT,
    STEP,
    has_statsd,
    manifests,
    runs_pods,
)
from airflow_llm_provider.config.render.secrets import password_secret, secret_with, variables_from_secrets
from airflow_llm_provider.config.setting import Setting

__all__ = ["AIRFLOW_VERSION", "files"]

AIRFLOW_VERSION = "3.3.2"
"""Of the image, by which the chart decides what it starts."""

_CONFIG = "/etc/llm-orchestrator"

_POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 50000,
    "runAsGroup": 0,
    "fsGroup": 0,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_CONTAINER_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
_READ_ONLY = {**_CONTAINER_SECURITY, "readOnlyRootFilesystem": True}
_MOUNTS = [
    {"name": CONFIG_MAP, "mountPath": f"{_CONFIG}/orchestrator.yaml", "subPath": "orchestrator.yaml", "readOnly": True},
    {"name": "state", "mountPath": f"{HOME}/llm"},
    {"name": "tmp", "mountPath": "/tmp"},
]
"""In each container of Airflow: the file, and all that it may write besides logs."""

_BESIDE = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}}
"""Of the small programs beside Airflow. An autoscaler measures no pod with a container that asks for nothing."""

_NO_GROOMER = {"enabled": False}
"""The logs are as old as the pod, and the program that removes old ones is in Apache's own image."""

_NO_RIGHTS = {"serviceAccount": {"create": False, "name": ACCOUNT}}

_EXCUSES = (
    "CKV_K8S_8=a step ends by itself, and Airflow misses its heartbeat",
    "CKV_K8S_9=nobody sends requests to a step",
    "CKV_K8S_15=a tag is never used twice",
    "CKV_K8S_35=LLM clients read their keys from variables",
    "CKV_K8S_43=the tag is chosen in orchestrator.yaml",
)
"""What checkov would have otherwise, and why it is so."""

_OF_THE_CHART = {
    ("core", "executor"), ("core", "dags_folder"), ("api", "host"), ("api", "port"),
    ("api", "ssl_cert"), ("api", "ssl_key"), ("api", "ssl_ca_file"),
    ("logging", "base_log_folder"), ("dag_processor", "dag_bundle_storage_path"),
}  # fmt: skip
"""Options that follow from the chart's own values, or from where things are in a pod."""


def files(source: Source) -> dict[str, str]:
    """Give ``values.yaml`` and the manifests.

    Args:
        source: What ``orchestrator.yaml`` says.

    Raises:
        ConfigurationError: A cluster cannot run it, or a file would hold a secret.
    """
    refuse_what_cannot_run(source.configuration)
    head = "# Made from orchestrator.yaml: llm-orchestrator config render helm\n"
    made = {"values.yaml": _values(source), **{f"manifests/{name}": it for name, it in manifests(source).items()}}
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


def _options(configuration: Configuration) -> dict[str, dict[str, str]]:
    """Give the options of ``airflow.cfg``, in which the chart fills in its own ``{{ }}``."""
    cluster = configuration.kubernetes
    options: dict[str, dict[str, str]] = {}
    for setting in settings_of(configuration):
        if not isinstance(setting, Setting) or setting.is_secret or (setting.section, setting.key) in _OF_THE_CHART:
            continue
        # Airflow takes a % for its own, the chart a {{.
        value = setting.value.replace("%", "%%").replace("{{", '{{ "{{" }}')
        options.setdefault(setting.section, {})[setting.key] = value
    core, api = options["core"], options["api"]
    core["simple_auth_manager_passwords_file"] = "/passwords/passwords.json"
    # A pod of a Deployment is not found by its name: the API server asks for the logs of what still runs.
    core["hostname_callable"] = "airflow.utils.net.get_host_ip_address"
    address = configuration.server.base_url or (f"https://{cluster.ingress.host}" if cluster.ingress.host else None)
    if address:
        api["base_url"] = address
    else:
        del api["base_url"]
    # Below the path of the pages, if they have one.
    path = "/".join((address or "").split("/")[3:]).strip("/")
    server = '{{ include "airflow.fullname" . }}-api-server:{{ .Values.ports.apiServer }}'
    core["execution_api_server_url"] = f"http://{server}/{path}{'/' * bool(path)}execution/"
    return {section: options[section] for section in sorted(options)}


def _variables(configuration: Configuration) -> dict[str, str]:
    """Give the variables of all pods that are not secret."""
    found = {
        item.variable: item.value
        for item in settings_of(configuration)
        if not isinstance(item, Setting) and not item.is_secret and item.variable != "AIRFLOW_HOME"
    }
    return {**found, "ORCHESTRATOR_CONFIG": f"{_CONFIG}/orchestrator.yaml"}


def _values(source: Source) -> dict[str, Any]:
    configuration = source.configuration
    cluster = configuration.kubernetes
    secret, with_celery = cluster.secret, "celery" in configuration.executor
    components = _resources(cluster.components)
    [executor] = [item.value for item in settings_of(configuration) if item.variable == "AIRFLOW__CORE__EXECUTOR"]
    return {
        "airflowVersion": AIRFLOW_VERSION,
        "defaultAirflowRepository": cluster.image,
        "defaultAirflowTag": cluster.tag,
        **({"imagePullSecrets": [{"name": cluster.pull_secret}]} if cluster.pull_secret else {}),
        "executor": executor,
        "config": _options(configuration),
        "env": [{"name": name, "value": value} for name, value in sorted(_variables(configuration).items())],
        "secret": [
            {"envName": variable, "secretName": name, "secretKey": entry}
            for variable, (name, entry) in variables_from_secrets(source).items()
        ],
        # Tasks of Airflow 3 have no business in the database; with KEDA the variable is among the secrets above.
        "enableBuiltInSecretEnvVars": {"AIRFLOW_CONN_AIRFLOW_DB": False},
        # Pods start anew when the file has changed.
        "airflowPodAnnotations": {"checksum/orchestrator": hashlib.sha256(source.text.encode()).hexdigest()},
        "volumes": _volumes(),
        "volumeMounts": _MOUNTS,
        "data": {
            "metadataSecretName": f"{secret}-database",
            **(
                {"brokerUrlSecretName": f"{secret}-queue", "resultBackendSecretName": f"{secret}-results"}
                if with_celery
                else {}
            ),
        },
        "fernetKeySecretName": secret_with(source, "fernet-key"),
        "jwtSecretName": secret_with(source, "jwt-secret"),
        "apiSecretKeySecretName": secret_with(source, "api-secret-key"),
        # Rights and policies are in the manifests, each as small as it can be.
        "rbac": {"create": False},
        "networkPolicies": {"enabled": False},
        "postgresql": {"enabled": False},
        "redis": {"enabled": False},
        # The chart's own needs the database's password in its values; one before the database serves as well.
        "pgbouncer": {"enabled": False},
        # The user and its password are in a Secret.
        "createUserJob": {"enabled": False},
        "migrateDatabaseJob": {
            "enabled": configuration.database.migrations.auto_run,
            "resources": components,
            **_NO_RIGHTS,
        },
        "apiServer": _api_server(configuration),
        "scheduler": {
            "replicas": cluster.schedulers,
            "serviceAccount": {"create": False, "name": SCHEDULER_ACCOUNT if runs_pods(configuration) else ACCOUNT},
            "podDisruptionBudget": _budget(cluster.schedulers),
            "resources": components,
            "logGroomerSidecar": _NO_GROOMER,
        },
        "dagProcessor": {
            "enabled": True,
            "replicas": 1,
            "resources": components,
            "logGroomerSidecar": _NO_GROOMER,
            **_NO_RIGHTS,
        },
        "triggerer": {
            "replicas": cluster.triggerers,
            "persistence": {"enabled": False},
            "podDisruptionBudget": _budget(cluster.triggerers),
            "resources": components,
            "logGroomerSidecar": _NO_GROOMER,
            **_NO_RIGHTS,
        },
        "securityContexts": {"pod": _POD_SECURITY, "containers": _READ_ONLY},
        "workers": _workers(configuration),
        "ingress": _ingress(configuration),
        "statsd": {
            "enabled": has_statsd(configuration),
            "resources": _BESIDE,
            "securityContexts": {
                "pod": {**_POD_SECURITY, "runAsUser": 65534, "runAsGroup": 65534},
                "container": _READ_ONLY,
            },
            **_NO_RIGHTS,
        },
        "logs": {"persistence": {"enabled": False}},
        "dags": _dags(configuration),
        **({"podTemplate": _yaml(_step_pod(source))} if runs_pods(configuration) else {}),
    }


def _api_server(configuration: Configuration) -> dict[str, Any]:
    cluster, admin = configuration.kubernetes, {"name": "admin", "mountPath": "/admin", "readOnly": True}
    passwords = {"name": "passwords", "mountPath": "/passwords"}
    proxied = configuration.server.behind_proxy or bool(cluster.ingress.host)
    return {
        "replicas": cluster.api.least,
        "hpa": _hpa(cluster.api),
        "resources": _resources(cluster.api.resources),
        "serviceAccount": {"create": False, "name": API_SERVER_ACCOUNT if runs_pods(configuration) else ACCOUNT},
        "podDisruptionBudget": _budget(cluster.api.most),
        "args": ["bash", "-c", f"exec airflow api-server{' --proxy-headers' * proxied}"],
        # No policy lets anybody but the ingress and Airflow itself to this server.
        "env": [{"name": "FORWARDED_ALLOW_IPS", "value": "*"}] * (proxied and not configuration.server.behind_proxy),
        # Airflow opens the file to write, and a Secret cannot be written to.
        "extraInitContainers": [
            {
                "name": "passwords",
                "image": f"{cluster.image}:{cluster.tag}",
                "command": ["cp", "/admin/passwords.json", "/passwords/passwords.json"],
                "resources": _BESIDE,
                "securityContext": _READ_ONLY,
                "volumeMounts": [admin, passwords],
            }
        ],
        "extraVolumes": [
            {"name": "admin", "secret": {"secretName": password_secret(configuration)}},
            {"name": "passwords", "emptyDir": {}},
        ],
        "extraVolumeMounts": [passwords],
        # The first start takes up to 40 s.
        "startupProbe": {"failureThreshold": 18, "periodSeconds": 10},
    }


def _volumes() -> list[dict[str, Any]]:
    """Give what is mounted in each pod of Airflow."""
    empty: list[dict[str, Any]] = [{"name": name, "emptyDir": {}} for name in ("state", "tmp")]
    return [{"name": CONFIG_MAP, "configMap": {"name": CONFIG_MAP}}, *empty]


def _step_pod(source: Source) -> dict[str, Any]:
    """Give the pod of a step, which the Kubernetes executor completes with the step's command and its ``airflow: {pod: …}``.

    The chart fills in the release; it is the chart's ConfigMap that has ``airflow.cfg``. It gets the variables of the
    file, and no access to the metadata database beyond those.
    """
    configuration = source.configuration
    cluster, git = configuration.kubernetes, configuration.kubernetes.git
    secrets = [
        {"name": variable, "valueFrom": {"secretKeyRef": {"name": name, "key": entry}}}
        for variable, (name, entry) in variables_from_secrets(source).items()
        if not variable.startswith("AIRFLOW__DATABASE__")
    ]
    plain = [{"name": name, "value": value} for name, value in sorted(_variables(configuration).items())]
    base = {
        "name": "base",
        "image": f"{cluster.image}:{cluster.tag}",
        "imagePullPolicy": "IfNotPresent",
        "env": [
            {"name": "AIRFLOW_HOME", "value": HOME},
            # The pod runs its one task itself.
            {"name": "AIRFLOW__CORE__EXECUTOR", "value": "LocalExecutor"},
            *plain,
            *secrets,
        ],
        "resources": _of_work(configuration),
        "securityContext": _READ_ONLY,
        "volumeMounts": [
            {"name": "config", "mountPath": f"{HOME}/airflow.cfg", "subPath": "airflow.cfg", "readOnly": True},
            {"name": "logs", "mountPath": f"{HOME}/logs"},
            *_MOUNTS,
            *([{"name": "dags", "mountPath": f"{HOME}/dags", "readOnly": True}] if git.repository else []),
        ],
    }
    volumes: list[dict[str, Any]] = [
        {"name": "config", "configMap": {"name": '{{ include "airflow_config" . }}'}},
        {"name": "logs", "emptyDir": {}},
        *_volumes(),
    ]
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": False,
        "securityContext": _POD_SECURITY,
    }
    if cluster.pull_secret:
        spec["imagePullSecrets"] = [{"name": cluster.pull_secret}]
    if git.repository:
        spec["initContainers"] = [_fetches_once(git)]
        volumes.append({"name": "dags", "emptyDir": {}})
        if git.secret and git.by_ssh:
            volumes.append({"name": "git-key", "secret": {"secretName": git.secret, "defaultMode": 0o440}})
            if git.known_hosts:
                held = {"name": '{{ include "airflow_config" . }}', "items": [{"key": "known_hosts", "path": "hosts"}]}
                volumes.append({"name": "git-hosts", "configMap": held})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "step",
            "labels": {"tier": "airflow", "component": STEP, "release": "{{ .Release.Name }}"},
            "annotations": {f"checkov.io/skip{number}": reason for number, reason in enumerate(_EXCUSES, start=1)},
        },
        "spec": {**spec, "containers": [base], "volumes": volumes},
    }


def _fetches_once(git: GitSync) -> dict[str, Any]:
    """Give the container that brings the workflow files before the step begins; its options are git-sync's own (version 4)."""
    options = {
        "REPO": git.repository,
        "REF": git.branch,
        "DEPTH": "1",
        "ROOT": "/git",
        "LINK": "repo",
        "ONE_TIME": "true",
    }
    mounts: list[dict[str, Any]] = [{"name": "dags", "mountPath": "/git"}, {"name": "tmp", "mountPath": "/tmp"}]
    env: list[dict[str, Any]] = []
    if git.secret and git.by_ssh:
        options |= {"SSH_KEY_FILE": "/etc/git-key/gitSshKey", "SSH_KNOWN_HOSTS": str(bool(git.known_hosts)).lower()}
        mounts.append({"name": "git-key", "mountPath": "/etc/git-key", "readOnly": True})
        if git.known_hosts:
            options["SSH_KNOWN_HOSTS_FILE"] = "/etc/git-hosts/hosts"
            mounts.append({"name": "git-hosts", "mountPath": "/etc/git-hosts", "readOnly": True})
    elif git.secret:
        env = [
            {"name": name, "valueFrom": {"secretKeyRef": {"name": git.secret, "key": name}}}
            for name in ("GITSYNC_USERNAME", "GITSYNC_PASSWORD")
        ]
    return {
        "name": "git-sync",
        "image": '{{ include "git_sync_image" . }}',
        "imagePullPolicy": "IfNotPresent",
        "env": [*({"name": f"GITSYNC_{name}", "value": value} for name, value in options.items()), *env],
        "resources": _BESIDE,
        "securityContext": {**_READ_ONLY, "runAsUser": 65533},
        "volumeMounts": mounts,
    }


def _resources(resources: PodResources) -> dict[str, dict[str, Any]]:
    """Give resources as Kubernetes' quantities."""
    written = resources.model_dump(mode="json")
    return {
        f"{what}s": {
            "cpu": f"{getattr(resources, f'cpu_{what}') * 1000:g}m",
            "memory": written[f"memory_{what}"],
        }
        for what in ("request", "limit")
    }


def _of_work(configuration: Configuration) -> dict[str, Any]:
    """Give the resources of workers and steps, which the section ``execution.resources`` limits too."""
    said, resources = configuration.execution.resources, configuration.kubernetes.workers.resources
    most = {name: value for name in ("cpu_limit", "memory_limit") if (value := getattr(said, name)) is not None}
    # What is promised is no more than what is allowed.
    least = {
        request: min(getattr(resources, request), most[limit])
        for request, limit in (("cpu_request", "cpu_limit"), ("memory_request", "memory_limit"))
        if limit in most
    }
    made = _resources(resources.model_copy(update={**least, **most}))
    if said.gpu_limit:
        made["limits"]["nvidia.com/gpu"] = said.gpu_limit
    return made


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
    pods = {"resources": _of_work(configuration), **_NO_RIGHTS}
    if "celery" not in configuration.executor:
        return {"kubernetes": pods}
    celery = {
        "queue": ",".join(configuration.execution.queue.names),
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
        "podDisruptionBudget": _budget(workers.most),
        # A worker that is asked to end finishes what it has begun.
        "terminationGracePeriodSeconds": 600,
        **pods,
    }
    return {"celery": celery, **({"kubernetes": pods} if "kubernetes" in configuration.executor else {})}


def _ingress(configuration: Configuration) -> dict[str, Any]:
    ingress = configuration.kubernetes.ingress
    if not ingress.host:
        return {"apiServer": {"enabled": False}}
    host = {"name": ingress.host, "tls": {"enabled": True, "secretName": "orchestrator-tls"}}
    return {
        "apiServer": {
            "enabled": True,
            "ingressClassName": ingress.class_name,
            "annotations": {"cert-manager.io/cluster-issuer": ingress.cluster_issuer, **ingress.annotations},
            "hosts": [host],
        }
    }


def _dags(configuration: Configuration) -> dict[str, Any]:
    git = configuration.kubernetes.git
    if git.repository is None:
        # They are in the image.
        return {"gitSync": {"enabled": False}, "persistence": {"enabled": False}}
    sync: dict[str, Any] = {
        "enabled": True,
        "repo": git.repository,
        "branch": git.branch,
        "ref": git.branch,
        "subPath": git.folder,
        "resources": _BESIDE,
        "securityContexts": {"container": _CONTAINER_SECURITY},
    }
    if git.secret:
        sync["sshKeySecret" if git.by_ssh else "credentialsSecret"] = git.secret
    if git.known_hosts:
        sync["knownHosts"] = git.known_hosts
    return {"gitSync": sync}
