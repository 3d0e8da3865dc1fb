"""``docker/distributed``: a container for each role, and one of each lost while work is under way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from airflow_llm_provider.cli.airflow_api import AirflowAPI
from tests.containers.conftest import running, with_simulator
from tests.containers.engine import Stack

ROLES = ("api1", "scheduler1", "dag-processor", "triggerer", "worker", "haproxy", "redis", "db")
RUNS = 40


@pytest.fixture
def stack(variables: dict[str, str], tmp_path: Path) -> Iterator[Stack]:
    file = with_simulator(tmp_path / "simulator.yaml", variables, "worker", "triggerer", "scheduler1", "scheduler2")
    yield from running(Stack("distributed", variables, file), "--scale", "worker=2")


def test_one_of_each_role_is_lost_under_load(stack: Stack, variables: dict[str, str]) -> None:
    url = f"http://{variables['ORCHESTRATOR_PORT']}"
    stats = f"http://{variables['STATS_PORT']}/stats;csv"
    stack.until(lambda: httpx.get(stats).text.count(",UP,") >= 6 + 2, "three API servers, for pages and for tasks")
    with contextlib.closing(AirflowAPI(url, "admin", variables["ADMIN_PASSWORD"])) as api:
        stack.until(lambda: api.dag("chain"), "the workflow is read")
        api.unpause("chain")
        assert api.wait(api.trigger("chain", {}), 180).state == "success", stack.logs("worker")

        stack.compose("up", "--detach", "--no-recreate", "--scale", "worker=5")
        stack.until_healthy()
        assert len(stack.containers("worker")) == 5

        runs = [api.trigger("chain", {}) for _ in range(RUNS)]
        for role in ROLES:
            stack.crash(stack.containers(role)[0])
            # The next one goes when this one is back.
            stack.until_healthy()
        assert {one.state for one in [api.wait(run, 300) for run in runs]} == {"success"}
        assert api.wait(api.trigger("chain", {}), 180).state == "success"
    answered = httpx.get(f"http://{variables['SIMULATOR_PORT']}/_simulator/stats").json()["answered"]
    # Two questions a run; what was under way on what was lost may have been asked a second time.
    assert 2 * (RUNS + 2) <= answered <= 2 * (RUNS + 2) + 16
    said = stack.logs()
    assert not any(value in said for name, value in variables.items() if name.endswith(("PASSWORD", "SECRET", "KEY")))
