"""The values, held against the chart's own schema, and the manifests against Kubernetes'."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path
from typing import Any, ClassVar

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft7Validator
from yamllint import linter
from yamllint.config import YamlLintConfig

from airflow_llm_provider.cli import main
from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.reading import read_configuration
from airflow_llm_provider.config.render import Source, render
from airflow_llm_provider.config.render.helm import PLACEHOLDERS
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
            if document["kind"] == "ExternalSecret":
                # It is External Secrets' own kind, which no schema here knows.
                assert document["spec"]["data"]
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


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("database: {url: 'postgresql://user:p%40ss@h/d'}", "line 2 of the file holds a secret"),
        ("integrations: {llm_forge: {api_keys: {openai: sk-literal}}}", "line 2 of the file holds a secret"),
        ("security: {authentication: {jwt_secret_file: FILE}}", "jwt: no pod has this; write ${VARIABLE}"),
    ],
)
def test_a_secret_gets_into_no_config_map(
    tmp_path: Path, line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "jwt").write_text("s" * 64)
    path = tmp_path / "orchestrator.yaml"
    path.write_text(f"server: {{mode: api}}\n{line.replace('FILE', str(tmp_path / 'jwt'))}\n")
    assert main(["config", "render", "helm", "--config", str(path), "--output", str(tmp_path / "out")]) != 0
    told = capsys.readouterr().err
    assert message in told
    assert "sk-literal" not in told
    assert not (tmp_path / "out").exists()


class TestSecrets:
    """``config render secrets``."""

    FILE = """
server: {mode: api}
database: {type: postgresql, url: "${DATABASE_URL}"}
cache: {type: redis, url: "${REDIS_URL}"}
execution: {executor: {type: celery}}
integrations: {llm_forge: {api_keys: {openai: "${OPENAI_API_KEY}"}}}  # not ${THIS}
storage: {results: "s3://results/", s3: {access_key_id: "${KEY:-minio}", secret_access_key: "${SECRET}"}}
kubernetes: {autoscaler: keda, git: {repository: "https://git.example.com/a.git", secret: git-credentials}}
"""
    GIVEN: ClassVar[dict[str, str]] = {
        "DATABASE_URL": "postgresql://user:word@database/orchestrator",
        "REDIS_URL": "redis://:word@cache:6379/0",
        "OPENAI_API_KEY": "sk-1",
        "SECRET": "miniominio",
        "GIT_USERNAME": "reader",
        "GIT_PASSWORD": "word",
    }

    def made(self, tmp_path: Path, target: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[Any], str]:
        path = tmp_path / "orchestrator.yaml"
        path.write_text(self.FILE)
        code = main(["config", "render", target, "--config", str(path)])
        told = capsys.readouterr()
        return code, [it for it in yaml.safe_load_all(told.out) if it], told.err

    def test_they_hold_what_the_values_refer_to(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name, value in self.GIVEN.items():
            monkeypatch.setenv(name, value)
        code, documents, _ = self.made(tmp_path, "secrets", capsys)
        assert code == 0
        for document in documents:
            kubernetes_validate.validate(document, VERSIONS[-1], strict=True)
        held = {it["metadata"]["name"]: it["stringData"] for it in documents}
        reading = read_configuration(tmp_path / "orchestrator.yaml")
        made = yaml.safe_load(render("helm", Source(reading.valid(), self.FILE, reading.variables))["values.yaml"])
        assert all(item["secretKey"] in held[item["secretName"]] for item in made["secret"])
        assert all("connection" in held[name] for name in made["data"].values())
        for name, entry in (
            (made["fernetKeySecretName"], "fernet-key"),
            (made["jwtSecretName"], "jwt-secret"),
            (made["apiSecretKeySecretName"], "api-secret-key"),
            (made["apiServer"]["extraVolumes"][0]["secret"]["secretName"], "passwords.json"),
        ):
            assert len(held[name][entry]) > 20
        main_one = held["orchestrator-secrets"]
        assert main_one["openai-api-key"] == "sk-1"
        assert main_one["key"] == "minio"
        assert "this" not in main_one
        assert json.loads(main_one["storage-connection"])["password"] == "miniominio"
        assert held["orchestrator-secrets-database"]["connection"].startswith("postgresql+psycopg://user:word@")
        assert held["orchestrator-secrets-database"]["plain"].startswith("postgresql://user:word@")
        assert held["git-credentials"] == {
            "GIT_SYNC_USERNAME": "reader", "GIT_SYNC_PASSWORD": "word", "GITSYNC_USERNAME": "reader", "GITSYNC_PASSWORD": "word",
        }  # fmt: skip

    def test_what_is_not_set_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name, value in self.GIVEN.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("OPENAI_API_KEY")
        code, _, told = self.made(tmp_path, "secrets", capsys)
        assert code != 0
        assert "OPENAI_API_KEY: not set" in told
        monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
        monkeypatch.delenv("GIT_PASSWORD")
        code, _, told = self.made(tmp_path, "secrets", capsys)
        assert code != 0
        assert "GIT_PASSWORD" in told


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
        assert not any(secret in text for secret in PLACEHOLDERS.values())


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
    }
    keda = values(REPOSITORY / "helm-values" / "celery-keda")["workers"]["celery"]
    assert (keda["keda"]["enabled"], keda["hpa"]["enabled"]) == (True, False)
    assert values(REPOSITORY / "helm-values" / "hybrid")["executor"].endswith("EdgeExecutor")
