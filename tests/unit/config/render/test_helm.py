"""The values, held against the chart's own schema, and the manifests against Kubernetes' and against each other."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft7Validator
from yamllint import linter
from yamllint.config import YamlLintConfig

from airflow_llm_provider.cli import main
from airflow_llm_provider.config.reading import read_configuration
from airflow_llm_provider.config.render import render
from airflow_llm_provider.config.render.cluster import variables
from airflow_llm_provider.config.render.helm import PLACEHOLDERS
from tests.conftest import REPOSITORY

CHART = REPOSITORY.parent / "shared" / "corpus" / "airflow-chart-1.22.0"
ENVIRONMENTS = sorted(path.name for path in (REPOSITORY / "helm-values").iterdir() if path.is_dir())
NEWEST = ".".join(kubernetes_validate.latest_version().split(".")[:2])
HELM = {
    "{{ .Release.Name }}": "airflow",
    '{{ include "airflow_config" . }}': "airflow-config",
    "{{ .Values.images.gitSync.repository }}:{{ .Values.images.gitSync.tag }}": "git-sync:v4.4.2",
}
"""What Helm makes of the templates in the pod of a step."""


@pytest.fixture(params=ENVIRONMENTS)
def folder(request: pytest.FixtureRequest) -> Path:
    """Give the folder of an environment."""
    return REPOSITORY / "helm-values" / str(request.param)


def values(folder: Path) -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((folder / "values.yaml").read_text(encoding="utf-8"))
    return made


def documents(folder: Path, name: str = "*.yaml") -> Iterator[dict[str, Any]]:
    for path in sorted((folder / "manifests").glob(name)):
        yield from yaml.safe_load_all(path.read_text(encoding="utf-8"))


def step_pod(made: dict[str, Any]) -> dict[str, Any] | None:
    """Give the pod of a step as the chart would write it."""
    text = made.get("podTemplate")
    if text is None:
        return None
    for template, value in HELM.items():
        text = text.replace(template, value)
    assert "{{" not in text
    pod: dict[str, Any] = yaml.safe_load(text)
    return pod


def rendered(tmp_path: Path, text: str) -> dict[str, str]:
    """Give what a file becomes."""
    path = tmp_path / "orchestrator.yaml"
    path.write_text(text, encoding="utf-8")
    return render("helm", read_configuration(path, environment=PLACEHOLDERS).configuration, text)


def test_what_is_kept_is_what_is_rendered(folder: Path, tmp_path: Path) -> None:
    config = str(folder / "orchestrator.yaml")
    assert main(["config", "render", "helm", "--config", config, "--output", str(tmp_path)]) == 0

    def texts(root: Path) -> dict[Path, str]:
        found = (path for path in root.rglob("*") if path.is_file() and path.name != "orchestrator.yaml")
        return {path.relative_to(root): path.read_text(encoding="utf-8") for path in found}

    assert texts(tmp_path) == texts(folder), (
        "run: llm-orchestrator config render helm --config …/orchestrator.yaml --output … in helm-values"
    )


def test_the_chart_takes_the_values(folder: Path) -> None:
    if not CHART.is_dir():
        pytest.skip("the chart's schema is not beside this checkout")
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    found = Draft7Validator(schema).iter_errors(values(folder))
    assert [f"{'.'.join(map(str, error.path))}: {error.message[:200]}" for error in found] == []
    # A key that the chart has not would be ignored without a word.
    known = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    commented_out = {f"dags.gitSync.{name}" for name in ("credentialsSecret", "sshKeySecret", "knownHosts")}
    free = {"airflowPodAnnotations.checksum/orchestrator-config"}
    assert {*unknown(values(folder), known)} <= commented_out | free


def unknown(made: Any, known: Any, prefix: str = "") -> Any:
    """Give the keys that the chart's own values have not."""
    if isinstance(made, dict) and isinstance(known, dict) and known:
        for name, value in made.items():
            if name not in known and prefix.split(".")[0] != "config":
                yield f"{prefix}{name}"
            else:
                yield from unknown(value, known.get(name), f"{prefix}{name}.")


@pytest.mark.parametrize("version", ["1.30", NEWEST])
def test_kubernetes_takes_the_manifests_and_the_pod_of_a_step(folder: Path, version: str) -> None:
    for document in documents(folder):
        if document["kind"] == "ExternalSecret":
            # It is External Secrets' own kind, which no schema here knows.
            assert document["spec"]["data"]
            continue
        kubernetes_validate.validate(document, version, strict=True)
    if pod := step_pod(values(folder)):
        kubernetes_validate.validate(pod, version, strict=True)


def test_it_is_tidy_and_holds_no_secret(folder: Path) -> None:
    rules = YamlLintConfig("{extends: relaxed, rules: {line-length: disable}}")
    for path in folder.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert [str(problem) for problem in linter.run(text, rules)] == [], path
        assert not any(secret in text for secret in PLACEHOLDERS.values())
        assert "kind: Secret\n" not in text


def test_pods_carry_the_file_and_are_made_anew_when_it_changes(folder: Path) -> None:
    (config,) = documents(folder, "config.yaml")
    assert config["data"]["orchestrator.yaml"] == (folder / "orchestrator.yaml").read_text(encoding="utf-8")
    made = values(folder)
    assert made["volumes"][0]["configMap"]["name"] == config["metadata"]["name"]
    assert len(made["airflowPodAnnotations"]["checksum/orchestrator-config"]) == 64


def test_braces_in_the_file_are_no_templates_of_helm(tmp_path: Path) -> None:
    text = """\
server: {mode: api}
database: {url: "${DATABASE_URL}"}
cache: {type: redis, url: "${REDIS_URL}"}
execution: {executor: {type: celery-kubernetes, worker_threads: 2}}
airflow: {logging: {log_filename_template: "{{ ti.dag_id }}.log"}}
"""
    made = rendered(tmp_path, text)
    # Helm gives {{ for {{ "{{" }}.
    kept = yaml.safe_load(made["values.yaml"])["config"]["logging"]["log_filename_template"]
    assert kept.replace('{{ "{{" }}', "{{") == "{{ ti.dag_id }}.log"
    assert yaml.safe_load(made["manifests/config.yaml"])["data"]["orchestrator.yaml"] == text


def test_only_what_cannot_do_without_is_asked_for() -> None:
    assert variables("a: ${A}\nb: $(B)\n# c: ${C}\nd: ${D:-x}\ne: $${E}\n") == ["A", "B"]


# Secrets


def asked_for(folder: Path) -> set[tuple[str, str]]:
    """Give the Secrets and their keys that values and the pod of a step name."""
    made = values(folder)
    found = {(item["secretName"], item["secretKey"]) for item in made["secret"]}
    found |= {(name, "connection") for name in made["data"].values()}
    keys = {
        "fernetKeySecretName": "fernet-key",
        "jwtSecretName": "jwt-secret",
        "apiSecretKeySecretName": "api-secret-key",
    }
    found |= {(made[value], key) for value, key in keys.items()}
    found |= {(v["secret"]["secretName"], "passwords.json") for v in made["apiServer"]["extraVolumes"] if "secret" in v}
    git = made["dags"]["gitSync"]
    if "credentialsSecret" in git:
        # The chart's container of git-sync names the keys of both its versions.
        names = ("GIT_SYNC_USERNAME", "GIT_SYNC_PASSWORD", "GITSYNC_USERNAME", "GITSYNC_PASSWORD")
        found |= {(git["credentialsSecret"], name) for name in names}
    if "sshKeySecret" in git:
        found.add((git["sshKeySecret"], "gitSshKey"))
    spec = (step_pod(made) or {"spec": {"containers": []}})["spec"]
    for container in (*spec["containers"], *spec.get("initContainers", ())):
        references = (item["valueFrom"]["secretKeyRef"] for item in container["env"] if "valueFrom" in item)
        found |= {(reference["name"], reference["key"]) for reference in references}
    return found


KUBECTL = """\
#!/usr/bin/env bash
shift 2
if [ "$1" = get ]; then test -e "$SECRETS/$3"; exit; fi
for last; do :; done
mkdir "$SECRETS/$4"
cp "${last#--from-file=}"/* "$SECRETS/$4"
"""


def test_every_secret_that_is_named_is_made(folder: Path, tmp_path: Path) -> None:
    script = folder / "secrets.sh"
    if not script.exists():
        made = {
            (document["metadata"]["name"], item["secretKey"])
            for document in documents(folder, "external-secrets.yaml")
            for item in document["spec"]["data"]
        }
        assert made == asked_for(folder)
        return
    (tmp_path / "kubectl").write_text(KUBECTL, encoding="utf-8")
    (tmp_path / "kubectl").chmod(0o755)
    (tmp_path / "made").mkdir()
    given = {
        "DATABASE_URL": "postgresql://user:pass@db:5432/orchestrator?sslmode=require",
        "REDIS_URL": "redis://cache:6379/0",
        "OPENAI_API_KEY": "sk-'\"$x",
        "GIT_SSH_KEY": "-----BEGIN\nKEY-----",
    }
    environment = {**given, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SECRETS": str(tmp_path / "made")}

    def run() -> dict[tuple[str, str], str]:
        subprocess.run(["bash", script], env=environment, check=True, timeout=60)
        return {(path.parent.name, path.name): path.read_text() for path in (tmp_path / "made").glob("*/*")}

    first = run()
    assert {*first} == asked_for(folder)
    assert first["orchestrator-secrets", "database-url"] == given["DATABASE_URL"]
    known = "postgresql+psycopg://user:pass@db:5432/orchestrator?sslmode=require"
    assert first["orchestrator-secrets-database", "connection"] == known
    if ("orchestrator-secrets", "openai-api-key") in first:
        assert first["orchestrator-secrets", "openai-api-key"] == given["OPENAI_API_KEY"]
    assert len(base64.urlsafe_b64decode(first["orchestrator-secrets-fernet", "fernet-key"])) == 32
    assert [*json.loads(first["orchestrator-secrets-admin", "passwords.json"])] == ["admin"]
    # ssh takes no key without its last line's end.
    assert first.get(("git-key", "gitSshKey"), "\n").endswith("\n")
    assert run() == first, "no key changes when it is run again"


# Accounts and rights


def accounts(made: Any) -> Iterator[str]:
    """Give the service accounts that values name."""
    if isinstance(made, dict):
        for name, value in made.items():
            if name == "serviceAccount":
                assert value["create"] is False
                yield value["name"]
            yield from accounts(value)


def test_every_account_that_is_named_is_there_and_few_may_ask_the_cluster(folder: Path) -> None:
    made, there = values(folder), [*documents(folder, "rbac.yaml")]
    known = {
        item["metadata"]["name"]: item["automountServiceAccountToken"] for item in there if "Account" in item["kind"]
    }
    pod = step_pod(made)
    named = {*accounts(made), *([pod["spec"]["serviceAccountName"]] if pod else [])}
    assert named == {*known}
    roles = {item["metadata"]["name"]: item["rules"] for item in there if item["kind"] == "Role"}
    assert {name for name, may_ask in known.items() if may_ask} == {*roles}
    assert {*roles} == ({"orchestrator-scheduler", "orchestrator-api"} if pod else set())
    assert not any("secrets" in rule["resources"] for rules in roles.values() for rule in rules)


def test_what_the_pod_security_standard_restricted_asks_for(folder: Path) -> None:
    made = values(folder)
    pod = step_pod(made)
    (namespace,) = documents(folder, "namespace.yaml")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    statsd, git = made["statsd"].get("securityContexts"), made["dags"]["gitSync"].get("securityContexts")
    pods = [
        made["securityContexts"]["pod"],
        *([statsd["pod"]] if statsd else []),
        *([pod["spec"]["securityContext"]] if pod else []),
    ]
    for context in pods:
        assert (context["runAsNonRoot"], context["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    containers = [
        made["securityContexts"]["containers"],
        *(item["securityContext"] for item in made["apiServer"]["extraInitContainers"]),
        *([statsd["container"]] if statsd else []),
        *([git["container"]] if git else []),
    ]
    if pod:
        of_steps = [
            item["securityContext"] for name in ("initContainers", "containers") for item in pod["spec"].get(name, ())
        ]
        assert all(context["readOnlyRootFilesystem"] for context in of_steps)
        containers += of_steps
    for context in containers:
        assert (context["allowPrivilegeEscalation"], context["capabilities"]) == (False, {"drop": ["ALL"]})


# What the chart makes of the values


@pytest.mark.shows(
    "kubernetes.api.least", "kubernetes.workers.most", "kubernetes.autoscaler", "kubernetes.ingress.host"
)
def test_production_is_the_guides() -> None:
    made = values(REPOSITORY / "helm-values" / "production")
    api, workers = made["apiServer"], made["workers"]["celery"]
    assert (api["hpa"]["minReplicaCount"], api["hpa"]["maxReplicaCount"]) == (3, 10)
    assert [metric["resource"]["target"]["averageUtilization"] for metric in api["hpa"]["metrics"]] == [70, 80]
    assert api["resources"] == {
        "requests": {"cpu": "500m", "memory": "512Mi"},
        "limits": {"cpu": "2000m", "memory": "2Gi"},
    }
    assert (workers["hpa"]["enabled"], workers["hpa"]["minReplicaCount"], workers["hpa"]["maxReplicaCount"]) == (
        True,
        5,
        20,
    )
    assert workers["resources"] == {
        "requests": {"cpu": "1000m", "memory": "2Gi"},
        "limits": {"cpu": "4000m", "memory": "8Gi"},
    }
    assert workers["terminationGracePeriodSeconds"] == 3600, "a task of an hour is not cut off"
    assert made["ingress"]["apiServer"]["hosts"][0]["tls"]["enabled"]
    assert {item["envName"] for item in made["secret"]} == {
        "DATABASE_URL",
        "REDIS_URL",
        "ANTHROPIC_API_KEY",
        "OPENAI_API_KEY",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC",
    }
    assert values(REPOSITORY / "helm-values" / "hybrid")["executor"].endswith("EdgeExecutor")


def test_keda_gets_a_url_that_it_can_read() -> None:
    made = values(REPOSITORY / "helm-values" / "celery-keda")
    celery = made["workers"]["celery"]
    assert (celery["keda"]["enabled"], celery["hpa"]["enabled"]) == (True, False)
    # The chart's scaler reads this variable of the workers; the chart's own has Airflow's URL with a driver.
    (found,) = (item for item in made["secret"] if item["envName"] == "AIRFLOW_CONN_AIRFLOW_DB")
    assert (found["secretKey"], made["enableBuiltInSecretEnvVars"]["AIRFLOW_CONN_AIRFLOW_DB"]) == ("url", False)


def test_an_autoscaler_finds_a_request_in_every_container(folder: Path) -> None:
    made = values(folder)
    for component in ("apiServer", "scheduler", "dagProcessor", "triggerer", "migrateDatabaseJob"):
        assert made[component]["resources"]["requests"]
    assert all(item["resources"]["requests"] for item in made["apiServer"]["extraInitContainers"])
    assert not made["dags"]["gitSync"]["enabled"] or made["dags"]["gitSync"]["resources"]["requests"]


def test_no_probe_needs_a_program_of_apaches_image(folder: Path) -> None:
    made = values(folder)
    workers = made["workers"].get("celery")
    for component in (made["scheduler"], made["dagProcessor"], made["triggerer"], *([workers] if workers else [])):
        assert component["livenessProbe"]["command"][:2] == ["sh", "-c"]
        assert component["logGroomerSidecar"] == {"enabled": False}
    assert "/entrypoint" not in (folder / "values.yaml").read_text(encoding="utf-8")


def test_workflows_are_in_the_image_or_fetched(folder: Path) -> None:
    made = values(folder)
    git, pod = made["dags"]["gitSync"], step_pod(made)
    if folder.name in ("base", "development"):
        assert git == {"enabled": False}
        return
    assert git["enabled"]
    if pod:
        (fetches,) = pod["spec"]["initContainers"]
        said = {item["name"]: item.get("value") for item in fetches["env"]}
        assert (said["GITSYNC_REPO"], said["GITSYNC_REF"], said["GITSYNC_ONE_TIME"]) == (
            git["repo"],
            git["ref"],
            "true",
        )


# The pod of a step


@pytest.mark.airflow
@pytest.mark.parametrize("environment", ["hybrid", "kubernetes-executor"])
def test_the_kubernetes_executor_makes_a_pod_of_the_template(environment: str, tmp_path: Path) -> None:
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
    from kubernetes.client import ApiClient

    from dag_factory.pods import pod_override

    template = step_pod(values(REPOSITORY / "helm-values" / environment))
    path = tmp_path / "pod_template_file.yaml"
    path.write_text(yaml.safe_dump(template), encoding="utf-8")
    pod = PodGenerator.construct_pod(
        dag_id="digest",
        task_id="summary",
        pod_id="digest-summary-1",
        try_number=1,
        kube_image="llm-orchestrator:0.1.0",
        date=None,
        args=["python", "-m", "airflow.sdk.execution_time.execute_workload", "--json-string", "{}"],
        pod_override_object=pod_override({"memory": "4Gi", "memory_limit": "4Gi", "labels": {"team": "web"}}),
        base_worker_pod=PodGenerator.deserialize_model_file(str(path)),
        namespace="llm-orchestrator",
        scheduler_job_id="7",
        run_id="manual",
    )
    made = ApiClient().sanitize_for_serialization(pod)
    for version in ("1.30", NEWEST):
        kubernetes_validate.validate(made, version, strict=True)
    (container,) = made["spec"]["containers"]
    assert (container["name"], container["args"][2]) == ("base", "airflow.sdk.execution_time.execute_workload")
    assert container["resources"]["requests"] == {"memory": "4Gi"}, "the step's own"
    assert (made["spec"]["restartPolicy"], made["spec"]["automountServiceAccountToken"]) == ("Never", False)
    assert container["securityContext"]["readOnlyRootFilesystem"]
    names = {item["name"] for item in container["env"]}
    assert {"ORCHESTRATOR_CONFIG", "OPENAI_API_KEY", "AIRFLOW_IS_K8S_EXECUTOR_POD"} <= names
    assert not names & {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
        "AIRFLOW__CORE__FERNET_KEY",
        "AIRFLOW__API_AUTH__JWT_SECRET",
    }
    mounted = {item["mountPath"]: item["name"] for item in container["volumeMounts"]}
    assert {*mounted.values()} <= {item["name"] for item in made["spec"]["volumes"]}
    assert {"/opt/airflow/airflow.cfg", "/opt/airflow/dags", "/opt/airflow/llm", "/opt/airflow/logs", "/tmp"} <= {
        *mounted
    }
    labels = made["metadata"]["labels"]
    assert (labels["component"], labels["team"], labels["kubernetes_executor"]) == ("step", "web", "True")


# Network policies


@dataclass(frozen=True)
class Way:
    """A connection that somebody tries."""

    source: str
    target: str
    port: int
    protocol: str = "TCP"


PODS = {name: {"tier": "airflow", "component": name, "release": "airflow"} for name in (
    "api-server", "scheduler", "dag-processor", "triggerer", "worker", "step", "statsd", "run-airflow-migrations",
)}  # fmt: skip
ELSEWHERE = {
    "ingress": ("ingress-nginx", {}),
    "prometheus": ("monitoring", {}),
    "names": ("kube-system", {"k8s-app": "kube-dns"}),
    "world": ("", {}),
    "stranger": ("default", {}),
    "solver": (None, {"acme.cert-manager.io/http01-solver": "true"}),
}


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    exact = selector.get("matchLabels", {}).items() <= labels.items()
    return exact and all(labels.get(rule["key"]) in rule["values"] for rule in selector.get("matchExpressions", ()))


def lets(folder: Path, way: Way) -> bool:
    """Whether the policies of a namespace let a connection through, as Kubernetes defines it."""

    def end(name: str) -> tuple[str | None, dict[str, str]]:
        return (None, PODS[name]) if name in PODS else ELSEWHERE[name]

    def passes(rule: dict[str, Any], peers: str, other: tuple[str | None, dict[str, str]]) -> bool:
        place, labels = other
        if not any((item["port"], item["protocol"]) == (way.port, way.protocol) for item in rule["ports"]):
            return False
        if peers not in rule:
            return True
        for peer in rule[peers]:
            there = peer.get("namespaceSelector", {}).get("matchLabels", {}).get("kubernetes.io/metadata.name")
            if there == place and selects(peer.get("podSelector", {}), labels):
                return True
        return False

    policies = [document["spec"] for document in documents(folder, "network-policies.yaml")]
    source, target = end(way.source), end(way.target)
    directions = (("Egress", "egress", "to", source, target), ("Ingress", "ingress", "from", target, source))
    for kind, rules, peers, own, other in directions:
        if own[0] is not None:
            continue
        of_pod = [
            policy for policy in policies if kind in policy["policyTypes"] and selects(policy["podSelector"], own[1])
        ]
        assert of_pod, "nothing is left open"
        if not any(passes(rule, peers, other) for policy in of_pod for rule in policy.get(rules, ())):
            return False
    return True


NEEDED = [
    *(Way(pod, "names", 53, protocol) for pod in PODS for protocol in ("UDP", "TCP")),
    Way("ingress", "api-server", 8080),
    Way("worker", "api-server", 8080),
    Way("api-server", "worker", 8793),
    Way("api-server", "triggerer", 8794),
    *(Way(pod, "world", 5432) for pod in PODS if pod not in ("step", "statsd")),
    Way("scheduler", "world", 6379),
    Way("worker", "world", 6379),
    *(Way(pod, "world", 443) for pod in ("worker", "triggerer", "dag-processor", "api-server")),
    *(Way(pod, "statsd", 9125, "UDP") for pod in ("scheduler", "worker", "triggerer", "dag-processor", "api-server")),
    Way("prometheus", "statsd", 9102),
    Way("ingress", "solver", 8089),
]
REFUSED = [
    Way("stranger", "api-server", 8080),
    Way("ingress", "worker", 8793),
    Way("ingress", "api-server", 22),
    Way("worker", "scheduler", 8793),
    Way("worker", "worker", 8793),
    Way("prometheus", "api-server", 8080),
    Way("stranger", "statsd", 9102),
    Way("worker", "world", 22),
    Way("worker", "world", 80),
    Way("worker", "world", 6443),
    Way("scheduler", "world", 443),
    Way("statsd", "world", 443),
    Way("triggerer", "api-server", 8080),
    Way("api-server", "world", 22),
    Way("run-airflow-migrations", "world", 443),
]


def test_what_is_needed_gets_through_and_nothing_else() -> None:
    production = REPOSITORY / "helm-values" / "production"
    assert [way for way in NEEDED if not lets(production, way)] == []
    assert [way for way in REFUSED if lets(production, way)] == []


def test_steps_in_pods_reach_what_they_need() -> None:
    hybrid = REPOSITORY / "helm-values" / "hybrid"
    needed = [
        Way("step", "api-server", 8080),
        Way("step", "world", 443),
        Way("scheduler", "world", 6443),
        Way("api-server", "world", 6443),
    ]
    assert [way for way in needed if not lets(hybrid, way)] == []
    refused = [Way("step", "world", 5432), Way("step", "world", 6443), Way("worker", "world", 6443)]
    assert [way for way in refused if lets(hybrid, way)] == []


def test_workflows_come_by_ssh() -> None:
    by_ssh = REPOSITORY / "helm-values" / "celery-hpa"
    assert all(lets(by_ssh, Way(pod, "world", 22)) for pod in ("worker", "triggerer", "dag-processor"))
    assert not lets(by_ssh, Way("api-server", "world", 22))


@pytest.mark.shows("observability.tracing.endpoint", "observability.metrics.statsd")
def test_ports_follow_from_the_file(tmp_path: Path) -> None:
    text = """\
server: {mode: api}
database: {url: "postgresql://user@pgbouncer:6432/orchestrator"}
cache: {type: redis, url: "redis://cache:6380/0"}
execution: {executor: {worker_threads: 2}, queue: {url: "amqp://queue/"}}
integrations: {llm_forge: {endpoint: "http://llm-forge:8081"}}
storage: {s3: {endpoint_url: "https://minio:9000"}}
smtp: {host: mail, from: a@example.com}
observability:
  metrics: {enabled: true, statsd: "statsd:8125"}
  tracing: {enabled: true, exporter: jaeger, endpoint: "http://jaeger:14268/api/traces"}
kubernetes: {network: {ports: [11434]}}
"""
    (tmp_path / "manifests").mkdir()
    made = rendered(tmp_path, text)
    (tmp_path / "manifests" / "network-policies.yaml").write_text(made["manifests/network-policies.yaml"])
    for port in (6432, 6380, 5672, 8081, 9000, 587, 4318, 11434):
        assert lets(tmp_path, Way("worker", "world", port)), port
    assert lets(tmp_path, Way("worker", "world", 8125, "UDP"))
    assert not lets(tmp_path, Way("worker", "world", 5432))
    assert yaml.safe_load(made["values.yaml"])["statsd"] == {"enabled": False}


# checkov


def checkov() -> str | None:
    beside = REPOSITORY / ".venv-checkov" / "bin" / "checkov"
    return os.environ.get("CHECKOV") or (str(beside) if beside.exists() else shutil.which("checkov"))


def test_checkov_finds_nothing_without_a_reason(tmp_path: Path) -> None:
    program = checkov()
    if program is None:
        pytest.skip("checkov is not installed; its pins are not Airflow's, so: make check-manifests")
    for environment in ENVIRONMENTS:
        folder = REPOSITORY / "helm-values" / environment
        shutil.copytree(folder / "manifests", tmp_path / environment)
        if pod := step_pod(values(folder)):
            (tmp_path / environment / "step-pod.yaml").write_text(yaml.safe_dump(pod), encoding="utf-8")
    command = [
        program,
        "--directory",
        str(tmp_path),
        "--framework",
        "kubernetes",
        "--skip-download",
        "--output",
        "json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    results = json.loads(done.stdout)["results"]
    assert [f"{item['check_id']} {item['resource']}: {item['check_name']}" for item in results["failed_checks"]] == []
    assert len(results["passed_checks"]) > 100
    assert all(re.search(r"\w+ \w+", item["check_result"]["suppress_comment"]) for item in results["skipped_checks"])
