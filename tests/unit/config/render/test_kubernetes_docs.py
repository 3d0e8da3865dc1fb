"""What docs/kubernetes.md says is done, line by line, with stand-ins for docker, kubectl and helm."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from airflow_llm_provider.config.reading import read_configuration
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "kubernetes.md").read_text(encoding="utf-8")

STAND_IN = """#!/bin/sh
# Tells what it was given; files that it is given must be there.
echo "$(basename "$0") $*" >> "$TOLD"
previous=
for word in "$@"; do
    case "$previous $word" in
        "--filename -") cat > "$(mktemp "$TOLD.XXXXXX")" ;;
        "--filename "* | "--values "*) test -e "$word" || { echo "$word is not there" >&2; exit 1; } ;;
    esac
    previous=$word
done
"""


def block(kind: str, beginning: str) -> str:
    """Give the first example of a kind that begins so."""
    found = re.search(rf"^```{kind}\n({re.escape(beginning)}.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/kubernetes.md has no example that begins with {beginning!r}"
    return found[1]


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """Run the lines in a folder of their own; give what the stand-ins were given."""
    lines = block("console", "$ docker build").replace("\n> ", "\n").replace("\n$ ", "\n").removeprefix("$ ")
    for name in ("helm-values", "docker", "dags"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    (tmp_path / "bin").mkdir()
    for name in ("docker", "kubectl", "helm"):
        program = tmp_path / "bin" / name
        program.write_text(STAND_IN)
        program.chmod(0o755)
    path = os.pathsep.join((str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {"PATH": path, "TOLD": str(tmp_path / "told"), "HOME": str(tmp_path)}
    script = f"set -euo pipefail\nshopt -s expand_aliases\n{lines}"
    done = subprocess.run(
        ("bash", "-c", script), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return tmp_path / "told"


def test_the_lines_lead_to_a_workflow(told: Path) -> None:
    calls = [shlex.split(line) for line in told.read_text(encoding="utf-8").splitlines()]
    values = yaml.safe_load((told.parent / "my-system" / "values.yaml").read_text(encoding="utf-8"))
    # The image that was pushed is the one that runs, and the workflow is in it.
    assert [call[-1] for call in calls if call[:2] == ["docker", "push"]] == [
        f"{values['defaultAirflowRepository']}:{values['defaultAirflowTag']}"
    ]
    [folder] = [call[-1] for call in calls if "docker/workflows.Dockerfile" in call]
    asked = {call[-1] for call in calls if "unpause" in call}
    assert {path.stem for path in (REPOSITORY / folder / "workflows").glob("*.yaml")} >= asked > set()
    # The namespace is there before what is in it, and no manifest needs what nobody has installed.
    applied = [call[-1] for call in calls if call[:3] == ["kubectl", "apply", "--filename"]]
    assert applied == ["my-system/manifests/namespace.yaml", "my-system/manifests"]
    manifests = [
        document
        for path in (told.parent / "my-system" / "manifests").iterdir()
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]
    secrets: list[Any] = [
        document
        for path in told.parent.glob("told.*")
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]
    for document in (*manifests, *secrets):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    # All that the values refer to was made.
    made = {it["metadata"]["name"]: it["stringData"] for it in secrets}
    assert all(item["secretKey"] in made[item["secretName"]] for item in values["secret"])
    assert made[values["jwtSecretName"]]["jwt-secret"]
    assert made["orchestrator-secrets-admin"]["passwords.json"]


def test_a_pod_can_read_what_it_is_given(told: Path) -> None:
    made = [it for path in told.parent.glob("told.*") for it in yaml.safe_load_all(path.read_text(encoding="utf-8"))]
    [held] = [it["stringData"] for it in made if it["metadata"]["name"] == "orchestrator-secrets"]
    variables = {entry.upper().replace("-", "_"): value for entry, value in held.items()}
    reading = read_configuration(told.parent / "my-system" / "orchestrator.yaml", variables)
    assert reading.problems == ()
    assert reading.valid().settings().api_keys["anthropic"].get_secret_value() == variables["ANTHROPIC_API_KEY"]


def test_a_database_in_the_namespace_is_let_in() -> None:
    policy = yaml.safe_load(block("yaml", "kind: NetworkPolicy"))
    kubernetes_validate.validate(policy, kubernetes_validate.latest_version(), strict=True)
    assert policy["metadata"]["namespace"] == "llm-orchestrator"


def test_the_page_names_every_entry(told: Path) -> None:
    made = [it for path in told.parent.glob("told.*") for it in yaml.safe_load_all(path.read_text(encoding="utf-8"))]
    for secret in made:
        assert f"`{secret['metadata']['name']}`" in PAGE
        entries = {*secret["stringData"]} - {"database-url", "redis-url", "anthropic-api-key"}
        assert {entry for entry in entries if f"`{entry}`" not in PAGE} == set()
