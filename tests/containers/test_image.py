"""The image by itself."""

from __future__ import annotations

import json

import pytest

from tests.containers.engine import IMAGE, docker

pytestmark = pytest.mark.usefixtures("made_images")

_HARDENED = ("run", "--rm", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "none")


def test_nobody_in_it_is_root_and_nothing_in_it_can_be_changed() -> None:
    look = (
        'id -u; touch /opt/llm-orchestrator/x 2>&1; find / -xdev -perm /6000 -type f 2>/dev/null | head -1; echo "end"'
    )
    said = docker(
        "run", "--rm", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true", IMAGE, "sh", "-c", look
    )
    user, refused, *_ = said.splitlines()
    assert user == "50000"
    assert "Permission denied" in refused
    made = json.loads(docker("image", "inspect", IMAGE))[0]["Config"]
    assert made["User"] == "50000"
    assert made["Healthcheck"]["Test"] == ["CMD", "llm-orchestrator", "health"]


def test_it_runs_with_a_root_file_system_that_is_read_only() -> None:
    assert docker(*_HARDENED, IMAGE, "version").startswith("airflow-llm-provider ")
    # As the Apache Airflow chart starts its pods.
    said = docker(*_HARDENED, "--env", "AIRFLOW_HOME=/tmp", IMAGE, "bash", "-c", "exec airflow version")
    assert said.splitlines()[-1].startswith("3.")


def test_it_holds_no_secret_and_nothing_of_the_build() -> None:
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", IMAGE)
    assert "PASSWORD" not in history
    said = docker(*_HARDENED, IMAGE, "sh", "-c", "ls -A /opt /opt/airflow/dags; command -v pip uv gcc || echo none")
    assert said.split() == ["/opt:", "airflow", "llm-orchestrator", "/opt/airflow/dags:", "load_workflows.py",
                            "workflow_errors.py", "none"]  # fmt: skip
