"""The values, held against the chart's own schema, and the manifests against Kubernetes'."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft7Validator
from yamllint import linter
from yamllint.config import YamlLintConfig

from airflow_llm_provider.cli import main
from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.render import render
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


def of_step(made: dict[str, Any]) -> dict[str, Any]:
    """Give the pod of a step, with what the chart fills in."""
    text = re.sub(r"\{\{ .*? \}\}", "orchestrator", made["podTemplate"])
    pod: dict[str, Any] = yaml.safe_load(text)
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
    commented_out = {"dags.gitSync.credentialsSecret"}
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
def test_the_kubernetes_executor_makes_the_pod_of_a_step() -> None:
    pytest.importorskip("airflow.providers.cncf.kubernetes")
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
    from kubernetes.client import ApiClient

    made = values(REPOSITORY / "helm-values" / "kubernetes-executor")
    template = of_step(made)
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
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in sent["spec"]["volumes"]
    }


def test_what_has_a_port_of_its_own_is_let_out() -> None:
    made = Configuration.model_validate(
        {
            "observability": {
                "tracing": {"enabled": True, "exporter": "jaeger", "endpoint": "http://jaeger:14268/api/traces"}
            },
            "storage": {"s3": {"endpoint_url": "http://minio:9000"}},
            "execution": {"executor": {"type": "celery"}, "queue": {"url": "amqp://rabbitmq//"}},
        }
    )
    policies = yaml.safe_load_all(render("helm", made)["manifests/network-policies.yaml"])
    [out] = [policy["spec"]["egress"][0]["ports"] for policy in policies if policy["metadata"]["name"] == "out"]
    assert [port["port"] for port in out] == [443, 6443, 5432, 6379, 4318, 5672, 9000]


def test_checkov_finds_nothing(folder: Path, tmp_path: Path) -> None:
    program = shutil.which("checkov", path=f"{REPOSITORY / '.venv-checkov' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("checkov is not installed; `make check-manifests` installs it beside, for its pins are not ours")
    for path in (folder / "manifests").glob("*.yaml"):
        (tmp_path / path.name).write_text(path.read_text())
    if "podTemplate" in values(folder):
        pod = of_step(values(folder))
        pod["metadata"]["namespace"] = "llm-orchestrator"
        (tmp_path / "step-pod.yaml").write_text(yaml.safe_dump(pod))
    command = [
        program,
        "--quiet",
        "--compact",
        "--skip-download",
        "--framework",
        "kubernetes",
        "--directory",
        str(tmp_path),
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
    }
    keda = values(REPOSITORY / "helm-values" / "celery-keda")["workers"]["celery"]
    assert (keda["keda"]["enabled"], keda["hpa"]["enabled"]) == (True, False)
    assert values(REPOSITORY / "helm-values" / "hybrid")["executor"].endswith("EdgeExecutor")
