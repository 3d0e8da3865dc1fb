"""``docker/single-node``: everything in one container, with PostgreSQL and Redis beside it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_llm_provider.cli.airflow_api import AirflowAPI
from tests.containers.conftest import running, with_simulator
from tests.containers.engine import Stack, docker


@pytest.fixture
def stack(variables: dict[str, str], tmp_path: Path) -> Iterator[Stack]:
    file = with_simulator(tmp_path / "simulator.yaml", variables, "orchestrator")
    yield from running(Stack("single-node", variables, file))


def test_a_workflow_runs_and_what_ran_outlives_the_container(stack: Stack, variables: dict[str, str]) -> None:
    url = f"http://{variables['ORCHESTRATOR_PORT']}"
    [container] = stack.containers("orchestrator")
    passwords = json.loads(docker("exec", container, "cat", "/var/lib/llm-orchestrator/passwords.json"))
    with contextlib.closing(AirflowAPI(url, "admin", passwords["admin"])) as api:
        stack.until(lambda: api.dag("chain"), "the workflow is read")
        api.unpause("chain")
        first = api.wait(api.trigger("chain", {}), 180)
        assert first.state == "success", stack.logs("orchestrator")

    stack.crash(container)
    stack.until_healthy()
    # Keys and passwords are those of before.
    with contextlib.closing(AirflowAPI(url, "admin", passwords["admin"])) as api:
        assert api.dag_run("chain", first.run_id).state == "success"
        assert api.wait(api.trigger("chain", {}), 180).state == "success"
    said = stack.logs()
    assert not any(value in said for name, value in variables.items() if name.endswith(("PASSWORD", "SECRET", "KEY")))
    stack.compose("stop", "orchestrator")
    state = json.loads(docker("inspect", container))[0]["State"]
    assert state["ExitCode"] in (0, 143)
    assert not state["OOMKilled"]
