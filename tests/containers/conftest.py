"""Tests that build the image and run the compose files; ``make test-containers`` runs them, where an engine can be had."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import free_port
from tests.containers.engine import IMAGE, Stack, engine, images

WORKFLOW = """
name: chain
steps:
  - {id: first, provider: openai, model: gpt-4o-mini, prompt: "Begin"}
  - {id: second, provider: openai, model: gpt-4o-mini, prompt: "Go on", depends_on: [first]}
  - id: both
    type: transform
    function: template
    template: "{{ steps.first.output }} {{ steps.second.output }}"
    depends_on: [second]
outputs: {said: "{{ steps.both.output }}"}
"""


@pytest.fixture(scope="session")
def made_images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Build the image; give the variables that name it and its neighbours."""
    with engine(tmp_path_factory.mktemp("docker")):
        yield images()


@pytest.fixture
def variables(made_images: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Give what a ``.env`` says, with secrets, ports and workflow files of its own."""
    passwords = ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "JWT_SECRET", "ADMIN_PASSWORD")
    ports = ("ORCHESTRATOR_PORT", "STATS_PORT", "SIMULATOR_PORT")
    # The user of the image reads them.
    (tmp_path / "workflows").mkdir(mode=0o755)
    (tmp_path / "workflows" / "chain.yaml").write_text(WORKFLOW)
    return {
        **made_images,
        **{name: secrets.token_hex(32) for name in passwords},
        **{name: f"127.0.0.1:{free_port()}" for name in ports},
        "FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "WORKFLOWS": str(tmp_path / "workflows"),
    }


def with_simulator(path: Path, variables: dict[str, str], *services: str) -> Path:
    """Write a further compose file: services that ask simulated models, and lost tasks that are missed within seconds.

    Args:
        path: The file.
        variables: Those of :func:`variables`.
        services: The services.
    """
    environment = {
        "OPENAI_API_KEY": "simulated",
        "OPENAI_BASE_URL": "http://simulator:8900/v1",
        "ORCHESTRATOR__AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        "ORCHESTRATOR__AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
        "ORCHESTRATOR__AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    }
    simulator: dict[str, Any] = {
        "image": IMAGE,
        "command": ["simulator", "--host", "0.0.0.0"],
        "ports": [f"{variables['SIMULATOR_PORT']}:8900"],
        "healthcheck": {"disable": True},
        "read_only": True,
    }
    content = {"services": {"simulator": simulator, **{name: {"environment": environment} for name in services}}}
    path.write_text(yaml.safe_dump(content))
    return path


def running(stack: Stack, *options: str) -> Iterator[Stack]:
    """Start the containers of a stack, and leave nothing of them."""
    try:
        stack.compose("up", "--detach", *options)
        stack.until_healthy()
        yield stack
    finally:
        stack.down()
