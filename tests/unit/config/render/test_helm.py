"""The values, held against the chart's own schema, and the manifests against Kubernetes'."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft7Validator
from pydantic import ValidationError
from yamllint import linter
from yamllint.config import YamlLintConfig

from airflow_llm_provider import __version__
from airflow_llm_provider.cli import main
from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.render import Source, render
from airflow_llm_provider.config.render.helm import AIRFLOW_VERSION
from airflow_llm_provider.errors import ConfigurationError
from dag_factory.pods import pod_override
from tests.conftest import REPOSITORY

CHART = REPOSITORY.parent / "shared" / "corpus" / "airflow-chart-1.22.0"
VERSIONS = ("1.30", kubernetes_validate.latest_version())
ENVIRONMENTS = sorted(path.name for path in (REPOSITORY / "helm-values").iterdir() if path.is_dir())


@pytest.fixture(params=ENVIRONMENTS)
def folder(request: pytest.FixtureRequest) -> Path:
    """Give the folder of an environment."""
    return REPOSITORY / "helm-values" / str(request.param)


def values(folder: Path) -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((folder / "values.yaml").read_text(encoding="utf-8"))
    return made


_HELPERS = """
{{- define "airflow.fullname" }}{{ .Release.Name }}{{ end }}
{{- define "airflow_config" }}{{ .Release.Name }}-config{{ end }}
{{- define "git_sync_image" }}registry.k8s.io/git-sync/git-sync:v4.4.2{{ end }}
"""
_CONFIG_MAP = """
kind: ConfigMap
data:
  airflow.cfg: |-
    {{- range $section, $settings := .Values.config }}
    [{{ $section }}]
    {{- range $key, $val := $settings }}
    {{ $key }} = {{ tpl ($val | toString) $ }}
    {{- end }}
    {{ end }}
  pod_template_file.yaml: |-
    {{- tpl (.Values.podTemplate | default "") . | nindent 4 }}
"""


def by_helm(made: dict[str, Any], folder: Path) -> dict[str, str]:
    """Have Helm's own engine fill in what the chart fills in; this chart does with them what the official one does."""
    helm = pytest.importorskip("helm_python.chart")
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("{apiVersion: v2, name: airflow, version: 1.22.0}")
    (folder / "values.yaml").write_text("{ports: {apiServer: 8080}}")
    (folder / "templates" / "_helpers.tpl").write_text(_HELPERS)
    (folder / "templates" / "configmap.yaml").write_text(_CONFIG_MAP)
    if CHART.is_dir():
        shutil.copy(CHART / "values.schema.json", folder)
        defaults = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
        # The chart's own options need its own helpers.
        (folder / "values.yaml").write_text(yaml.safe_dump({**defaults, "config": {}}))
    with helm.Chart.load(str(folder)) as chart:
        rendered = chart.render(values=made, name="orchestrator", namespace="llm-orchestrator")
    [text] = [text for name, text in rendered.items() if name.endswith("configmap.yaml")]
    held: dict[str, str] = yaml.safe_load(text)["data"]
    return held


def of_step(made: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Give the pod of a step, with what the chart fills in."""
    pod: dict[str, Any] = yaml.safe_load(by_helm(made, folder)["pod_template_file.yaml"])
    return pod


def test_what_is_kept_is_what_is_rendered(folder: Path, tmp_path: Path) -> None:
    assert (
        main(["config", "render", "helm", "--config", str(folder / "orchestrator.yaml"), "--output", str(tmp_path)])
        == 0
    )
    made = {path.relative_to(tmp_path): path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.yaml")}
    kept = {
        path.relative_to(folder): path.read_text(encoding="utf-8")
        for path in folder.rglob("*.yaml")
        if path.name != "orchestrator.yaml"
    }
    assert made == kept, (
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
    commented_out = {"dags.gitSync.credentialsSecret", "dags.gitSync.sshKeySecret", "dags.gitSync.knownHosts"}
    assert {*unknown(values(folder), known)} <= commented_out


def unknown(made: Any, known: Any, prefix: str = "") -> Any:
    """Give the keys that the chart's own values have not."""
    if isinstance(made, dict) and isinstance(known, dict) and known:
        for name, value in made.items():
            if name not in known and prefix.split(".")[0] not in ("config", "extraConfigMaps"):
                yield f"{prefix}{name}"
            else:
                yield from unknown(value, known.get(name), f"{prefix}{name}.")


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_the_manifests(folder: Path, version: str) -> None:
    for path in sorted((folder / "manifests").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if document["kind"] in ("ExternalSecret", "ServiceMonitor"):
                # These are kinds of others, which no schema here knows.
                continue
            kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.shows("kubernetes.image", "kubernetes.tag", "kubernetes.workers.resources.cpu_request")
def test_the_kubernetes_executor_makes_the_pod_of_a_step(tmp_path: Path) -> None:
    pytest.importorskip("airflow.providers.cncf.kubernetes")
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
    from kubernetes.client import ApiClient

    made = values(REPOSITORY / "helm-values" / "kubernetes-executor")
    template = of_step(made, tmp_path)
    for version in VERSIONS:
        kubernetes_validate.validate(template, version, strict=True)
    base = PodGenerator.deserialize_model_dict(template)
    said = pod_override({"cpu": 0.5, "memory": "512Mi", "image": "registry.example.com/team/steps:1"})
    command = ["python", "-m", "airflow.sdk.execution_time.execute_workload", "--json-string", "{}"]
    pod = PodGenerator.construct_pod(
        dag_id="triage", task_id="ask", pod_id="triage-ask-1", try_number=1, kube_image="unused", date=None, args=command,
        pod_override_object=said, base_worker_pod=base, namespace="llm-orchestrator", scheduler_job_id="1", run_id="r",
    )  # fmt: skip
    sent = ApiClient().sanitize_for_serialization(pod)
    kubernetes_validate.validate(sent, VERSIONS[-1], strict=True)
    [container] = sent["spec"]["containers"]
    assert container["args"] == command
    assert container["image"] == "registry.example.com/team/steps:1"
    assert container["resources"]["requests"] == {"cpu": "0.5", "memory": "512Mi"}
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert sent["spec"]["securityContext"]["runAsNonRoot"]
    given = {item["name"] for item in container["env"]}
    # All that the file names, or it could not be read.
    assert {"OPENAI_API_KEY", "DATABASE_URL", "REDIS_URL"} <= given
    # Nothing that is mounted is missing.
    containers = [container, *sent["spec"]["initContainers"]]
    assert {mount["name"] for it in containers for mount in it["volumeMounts"]} == {
        volume["name"] for volume in sent["spec"]["volumes"]
    }
    # The database's own address is none of a step's business; what it keeps there goes by the file's.
    assert not any(name.startswith("AIRFLOW__DATABASE") for name in given)
    # The files are there before the step begins, in the folder that airflow.cfg names.
    [fetches] = sent["spec"]["initContainers"]
    options = {item["name"]: item.get("value") for item in fetches["env"]}
    assert (options["GITSYNC_ONE_TIME"], options["GITSYNC_LINK"]) == ("true", "repo")
    assert fetches["securityContext"]["readOnlyRootFilesystem"]


def policies(made: Source) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(render("helm", made)["manifests/network-policies.yaml"]))


def source(**sections: Any) -> Source:
    """Give what a file says, with a database and a queue of its own."""
    given = {
        "server": {"mode": "api"},
        "database": {"type": "postgresql", "url": "postgresql://user@database/orchestrator"},
        "cache": {"type": "redis", "url": "redis://cache:6379/0"},
    }
    return Source(Configuration.model_validate({**given, **sections}), "# the file")


def ports_outside(made: Source) -> list[tuple[str, int]]:
    [found] = [
        policy["spec"]["egress"][0]["ports"] for policy in policies(made) if policy["metadata"]["name"] == "outside"
    ]
    return [(port["protocol"], port["port"]) for port in found]


@pytest.mark.shows("kubernetes.egress_ports", "kubernetes.git.repository")
def test_what_has_a_port_of_its_own_is_let_out() -> None:
    tracing = {"enabled": True, "exporter": "jaeger", "endpoint": "http://jaeger:14268/api/traces"}
    made = source(
        observability={"tracing": tracing, "metrics": {"enabled": True, "statsd": "statsd:8125"}},
        storage={"s3": {"endpoint_url": "http://minio:9000"}},
        execution={"executor": {"type": "celery"}, "queue": {"url": "amqp://rabbitmq//"}},
        integrations={"llm_forge": {"endpoint": "http://forge:8088"}},
        smtp={"host": "mail", "from": "a@b.c"},
        kubernetes={"egress_ports": [6432], "git": {"repository": "git@git.example.com:team/workflows.git"}},
    )
    found = ports_outside(made)
    assert [port for protocol, port in found if protocol == "TCP"] == [
        22, 443, 587, 4318, 5432, 5672, 6379, 6432, 8088, 9000,
    ]  # fmt: skip
    assert ("UDP", 8125) in found
    # No default of something that is not used.
    assert [port for _, port in ports_outside(source())] == [443, 5432, 6379]


def lets_through(found: list[dict[str, Any]], sender: str, receiver: str, port: int, protocol: str = "TCP") -> bool:
    """Tell whether policies let a packet go, as Kubernetes does: what a policy selects may do what one of those allows."""

    def pod(name: str) -> dict[str, str]:
        return {} if name.startswith("namespace ") else {"tier": "airflow", "component": name}

    def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
        plain = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
        return plain and all(labels.get(it["key"]) in it["values"] for it in selector.get("matchExpressions", ()))

    def is_peer(peer: dict[str, Any], name: str) -> bool:
        if "namespaceSelector" in peer:
            place = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
            return bool(name == f"namespace {place}")
        return bool(pod(name)) and selects(peer["podSelector"], pod(name))

    def allowed(direction: str, peers: str, one: str, other: str) -> bool:
        if not pod(one):
            return True
        mine = [
            it["spec"]
            for it in found
            if direction in it["spec"]["policyTypes"] and selects(it["spec"]["podSelector"], pod(one))
        ]
        assert mine, "the default is to deny"
        rules = [rule for spec in mine for rule in spec.get(direction.lower(), ())]
        return any(
            {"protocol": protocol, "port": port} in rule["ports"]
            and (peers not in rule or any(is_peer(peer, other) for peer in rule[peers]))
            for rule in rules
        )

    return allowed("Egress", "to", sender, receiver) and allowed("Ingress", "from", receiver, sender)


@pytest.mark.shows("kubernetes.ingress.namespace", "kubernetes.prometheus_namespace")
def test_who_may_talk_to_whom() -> None:
    found = policies(
        source(
            observability={"metrics": {"enabled": True}},
            execution={"executor": {"type": "celery-kubernetes"}},
            kubernetes={"ingress": {"host": "o.example.com"}, "prometheus_namespace": "watch"},
        )
    )
    pods = (
        "api-server",
        "scheduler",
        "dag-processor",
        "triggerer",
        "worker",
        "step",
        "run-airflow-migrations",
        "statsd",
    )
    needed = {
        ("namespace ingress-nginx", "api-server", 8080, "TCP"),
        ("worker", "api-server", 8080, "TCP"),
        ("step", "api-server", 8080, "TCP"),
        ("api-server", "worker", 8793, "TCP"),
        ("api-server", "triggerer", 8794, "TCP"),
        ("namespace watch", "statsd", 9102, "TCP"),
        *((sender, "statsd", 9125, "UDP") for sender in pods[:6]),
    }
    senders = (*pods, "namespace ingress-nginx", "namespace watch", "namespace other")
    told = {(8080, "TCP"), (8793, "TCP"), (8794, "TCP"), (9102, "TCP"), (9125, "UDP"), (5555, "TCP")}
    through = {
        (sender, receiver, port, protocol)
        for sender in senders
        for receiver in pods
        for port, protocol in told
        if lets_through(found, sender, receiver, port, protocol)
    }
    assert through == needed
    assert all(lets_through(found, pod, "namespace kube-system", 53, "UDP") for pod in pods)
    assert {pod for pod in pods if lets_through(found, pod, "namespace anywhere", 443)} == {*pods} - {"statsd"}
    assert {pod for pod in pods if lets_through(found, pod, "namespace anywhere", 6443)} == {"scheduler", "api-server"}


def test_rights_are_those_that_the_executor_needs() -> None:
    for name in ("production", "kubernetes-executor"):
        folder = REPOSITORY / "helm-values" / name
        made, documents = values(folder), list(yaml.safe_load_all((folder / "manifests" / "rbac.yaml").read_text()))
        accounts = {it["metadata"]["name"]: it for it in documents if it["kind"] == "ServiceAccount"}
        parts = [
            made[it] for it in ("apiServer", "scheduler", "dagProcessor", "triggerer", "migrateDatabaseJob", "statsd")
        ]
        used = {part["serviceAccount"]["name"] for part in [*parts, *made["workers"].values()]}
        assert used == {*accounts}
        assert not made["rbac"]["create"]
        assert not any(part["serviceAccount"]["create"] for part in parts)
        roles = {it["metadata"]["name"]: it["rules"] for it in documents if it["kind"] == "Role"}
        assert {it for it, account in accounts.items() if account["automountServiceAccountToken"]} == {*roles}
        if name == "production":
            assert roles == {}
        else:
            assert "create" in roles["orchestrator-scheduler"][0]["verbs"]
            assert "create" not in roles["orchestrator-api-server"][0]["verbs"]


def test_the_file_and_its_options_pass_the_charts_own_templates(tmp_path: Path) -> None:
    made = render(
        "helm",
        source(
            airflow={"logging": {"log_filename_template": "{{ ti.dag_id }}/%Y"}},
            server={"mode": "api", "base_url": "https://example.com/llm/"},
        ),
    )
    parser = ConfigParser()
    parser.read_string(by_helm(yaml.safe_load(made["values.yaml"]), tmp_path)["airflow.cfg"])
    assert parser["logging"]["log_filename_template"] == "{{ ti.dag_id }}/%Y"
    assert parser["core"]["execution_api_server_url"] == "http://orchestrator-api-server:8080/llm/execution/"
    assert json.loads(parser["celery"]["extra_celery_config"])["imports"]
    assert yaml.safe_load(made["manifests/config.yaml"])["data"] == {"orchestrator.yaml": "# the file"}


CANNOT_RUN: list[tuple[str, dict[str, Any]]] = [
    ("database.url", {"database": {}}),
    ("execution.executor.type", {"server": {"mode": "standalone"}}),
    ("execution.executor.type", {"execution": {"executor": {"type": "local"}}}),
    ("execution.queue.url", {"cache": {}}),
    ("execution.queue.url", {"execution": {"queue": {"url": "kafka://h"}}}),
    ("server.mode", {"server": {"mode": "edge-worker"}, "edge": {"api_url": "https://h"}}),
    ("server.tls.enabled", {"server": {"mode": "api", "tls": {"enabled": True, "cert_file": "c", "key_file": "k"}}}),
    ("server.port.http", {"server": {"mode": "api", "port": {"http": 80}}}),
    ("kubernetes.api.least", {"kubernetes": {"api": {"least": 0}}}),
    ("kubernetes.workers.least", {"kubernetes": {"workers": {"least": 0}}}),
    ("kubernetes.service_monitor", {"kubernetes": {"service_monitor": {"release": "prometheus"}}}),
]


@pytest.mark.parametrize(("key", "sections"), CANNOT_RUN)
def test_what_a_cluster_cannot_run_is_refused(key: str, sections: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        render("helm", source(**sections))
    assert f"'{key}': " in str(refused.value)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"workers": {"least": 5, "most": 2}}, "'least' is 5, more than 'most', 2"),
        ({"api": {"resources": {"cpu_limit": "lots"}}}, "cpu_limit"),
        ({"api": {"resources": {"memory_limit": "2 apples"}}}, "is no size"),
        ({"components": {"cpu_request": 4, "cpu_limit": 1}}, "'cpu_request' is more than 'cpu_limit'"),
        ({"namespace": "Team_A"}, "namespace"),
    ],
)
def test_what_kubernetes_would_refuse_is_told_before(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Configuration.model_validate({"kubernetes": section})


def values_of(**sections: Any) -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load(render("helm", source(**sections))["values.yaml"])
    return made


@pytest.mark.shows(
    "execution.queue.names",
    "execution.resources.cpu_limit",
    "execution.resources.gpu_limit",
    "database.pool.max_connections",
)
def test_what_holds_elsewhere_holds_here() -> None:
    made = values_of(
        database={
            "url": "postgresql://user@database/orchestrator",
            "pool": {"max_connections": 90, "min_connections": 50},
        },
        execution={
            "queue": {"names": ["default", "slow"]},
            "resources": {"cpu_limit": 0.5, "memory_limit": "1Gi", "gpu_limit": 1},
        },
    )
    workers = made["workers"]["celery"]
    assert workers["queue"] == "default,slow"
    assert workers["resources"] == {
        "requests": {"cpu": "500m", "memory": "1Gi"},
        "limits": {"cpu": "500m", "memory": "1Gi", "nvidia.com/gpu": 1},
    }
    assert made["config"]["database"] == {"sql_alchemy_pool_size": "50", "sql_alchemy_max_overflow": "40"}
    by_hand = values_of(airflow={"database": {"sql_alchemy_pool_size": 7}})
    assert by_hand["config"]["database"]["sql_alchemy_pool_size"] == "7"


@pytest.mark.shows(
    "kubernetes.api.resources.cpu_limit", "kubernetes.components.memory_limit", "kubernetes.ingress.annotations"
)
def test_every_pod_says_what_it_needs() -> None:
    made = values_of(
        kubernetes={
            "api": {"resources": {"cpu_limit": 4, "memory_limit": 3 * 10**9}},
            "components": {"memory_limit": "3Gi"},
            "ingress": {"host": "o.example.com", "annotations": {"example.com/size": "1g"}},
        }
    )
    assert made["apiServer"]["resources"]["limits"] == {"cpu": "4000m", "memory": "3000000000"}
    for component in ("scheduler", "dagProcessor", "triggerer", "migrateDatabaseJob"):
        assert made[component]["resources"]["limits"] == {"cpu": "2000m", "memory": "3Gi"}
    annotations = made["ingress"]["apiServer"]["annotations"]
    assert annotations == {"cert-manager.io/cluster-issuer": "letsencrypt-prod", "example.com/size": "1g"}


def test_one_pod_at_a_time_is_taken_away() -> None:
    made = values_of(
        kubernetes={"autoscaler": "keda", "workers": {"least": 0, "most": 3}, "api": {"least": 1, "most": 2}}
    )
    for section in (made["apiServer"], made["scheduler"], made["workers"]["celery"]):
        assert section["podDisruptionBudget"] == {"enabled": True, "config": {"maxUnavailable": 1}}
    assert not made["triggerer"]["podDisruptionBudget"]["enabled"]


@pytest.mark.parametrize(
    ("repository", "port"),
    [
        ("https://git.example.com:8443/a.git", 8443),
        ("http://gitea:3000/a.git", 3000),
        ("ssh://git@git.example.com:2222/a.git", 2222),
        ("git@git.example.com:a.git", 22),
    ],
)
def test_git_is_let_out(repository: str, port: int) -> None:
    assert ("TCP", port) in ports_outside(source(kubernetes={"git": {"repository": repository}}))


@pytest.mark.shows("kubernetes.dns_namespace", "kubernetes.dns_ports", "kubernetes.api_ports")
def test_names_and_kubernetes_are_where_the_cluster_has_them() -> None:
    made = source(
        execution={"executor": {"type": "kubernetes"}},
        kubernetes={"dns_namespace": "openshift-dns", "dns_ports": [5353], "api_ports": [16443]},
    )
    found = policies(made)
    assert lets_through(found, "worker", "namespace openshift-dns", 5353, "UDP")
    assert not lets_through(found, "worker", "namespace kube-system", 53, "UDP")
    assert lets_through(found, "scheduler", "namespace anywhere", 16443)
    on_each_node = policies(source(kubernetes={"dns_namespace": ""}))
    assert lets_through(on_each_node, "worker", "namespace anywhere", 53, "UDP")


@pytest.mark.shows("kubernetes.account_annotations")
def test_accounts_have_the_role_of_a_cloud() -> None:
    role = {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/orchestrator"}
    made = render("helm", source(kubernetes={"account_annotations": role}))["manifests/rbac.yaml"]
    accounts = [it for it in yaml.safe_load_all(made) if it["kind"] == "ServiceAccount"]
    assert [it["metadata"]["annotations"] for it in accounts] == [role] * len(accounts)


@pytest.mark.shows("kubernetes.service_monitor")
def test_the_prometheus_operator_is_told() -> None:
    monitor = yaml.safe_load(
        (REPOSITORY / "helm-values" / "production" / "manifests" / "service-monitor.yaml").read_text(encoding="utf-8")
    )
    assert monitor["metadata"]["labels"] == {"release": "prometheus"}
    # The labels and the port of the chart's own Service.
    assert monitor["spec"]["selector"]["matchLabels"] == {"tier": "airflow", "component": "statsd"}
    assert [endpoint["port"] for endpoint in monitor["spec"]["endpoints"]] == ["statsd-scrape"]


def test_nothing_is_beyond_what_the_namespace_allows(folder: Path) -> None:
    namespace = yaml.safe_load((folder / "manifests" / "namespace.yaml").read_text(encoding="utf-8"))
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    made = values(folder)
    [passwords] = made["apiServer"]["extraInitContainers"]
    for pod in (made["securityContexts"]["pod"], made["statsd"]["securityContexts"]["pod"]):
        assert pod["runAsNonRoot"]
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    sync = made["dags"]["gitSync"]
    for container in (
        made["securityContexts"]["containers"],
        made["statsd"]["securityContexts"]["container"],
        passwords["securityContext"],
        *([sync["securityContexts"]["container"]] if sync["enabled"] else []),
    ):
        assert container["allowPrivilegeEscalation"] is False
        assert container["capabilities"] == {"drop": ["ALL"]}


def test_the_chart_is_told_the_version_that_is_installed() -> None:
    constraints = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert f"apache-airflow=={AIRFLOW_VERSION}" in constraints
    assert Configuration().kubernetes.tag == __version__


def test_checkov_finds_nothing(folder: Path, tmp_path: Path) -> None:
    program = shutil.which("checkov", path=f"{REPOSITORY / '.venv-checkov' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("checkov is not installed; `make check-manifests` installs it beside, for its pins are not ours")
    folder_of_manifests = tmp_path / "manifests"
    shutil.copytree(folder / "manifests", folder_of_manifests)
    if "podTemplate" in values(folder):
        pod = of_step(values(folder), tmp_path / "chart")
        pod["metadata"]["namespace"] = "llm-orchestrator"
        (folder_of_manifests / "step-pod.yaml").write_text(yaml.safe_dump(pod))
    command = [
        program,
        "--quiet",
        "--compact",
        "--skip-download",
        "--framework",
        "kubernetes",
        "--directory",
        str(folder_of_manifests),
    ]
    done = subprocess.run([*command, "--output", "json"], capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    failed = [f"{item['check_id']} {item['check_name']}" for item in found.get("results", {}).get("failed_checks", ())]
    assert failed == [], failed


def test_it_is_tidy_and_holds_no_secret(folder: Path) -> None:
    rules = YamlLintConfig("{extends: relaxed, rules: {line-length: disable}}")
    for path in folder.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert [str(problem) for problem in linter.run(text, rules)] == [], path
        assert "stand-in" not in text


@pytest.mark.shows(
    "kubernetes.api.least", "kubernetes.workers.most", "kubernetes.autoscaler", "kubernetes.ingress.host"
)
def test_production_is_the_guides() -> None:
    made = values(REPOSITORY / "helm-values" / "production")
    api, workers = made["apiServer"], made["workers"]["celery"]
    assert (api["hpa"]["minReplicaCount"], api["hpa"]["maxReplicaCount"]) == (3, 10)
    assert [metric["resource"]["target"]["averageUtilization"] for metric in api["hpa"]["metrics"]] == [70, 80]
    assert (workers["hpa"]["enabled"], workers["hpa"]["minReplicaCount"], workers["hpa"]["maxReplicaCount"]) == (
        True,
        5,
        20,
    )
    assert workers["resources"] == {
        "requests": {"cpu": "1000m", "memory": "2Gi"},
        "limits": {"cpu": "4000m", "memory": "8Gi"},
    }
    assert made["ingress"]["apiServer"]["hosts"][0]["tls"]["enabled"]
    assert {item["envName"] for item in made["secret"]} == {
        "DATABASE_URL",
        "REDIS_URL",
        "ANTHROPIC_API_KEY",
        "OPENAI_API_KEY",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC",
        "AIRFLOW_CONN_LLM_STORAGE",
        "S3_ACCESS_KEY_ID",
        "S3_SECRET_ACCESS_KEY",
    }
    keda = values(REPOSITORY / "helm-values" / "celery-keda")["workers"]["celery"]
    assert (keda["keda"]["enabled"], keda["hpa"]["enabled"]) == (True, False)
    assert values(REPOSITORY / "helm-values" / "hybrid")["executor"].endswith("EdgeExecutor")
