"""The cases of the conformance suite as DAGs: on the running scheduler, and with ``DAG.test()``."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from airflow_llm_provider.cli.airflow_api import AirflowAPIError, DagRun
from tests.conformance.cases import CASES, IN_AIRFLOW, Case
from tests.integration.airflow.conftest import AirflowStand

STATES = {
    "success": "completed",
    "failed": "failed",
    "skipped": "skipped",
    "upstream_failed": "pending",
    None: "pending",
}
RUN_STATES = {"completed": "success", "failed": "failed", "refused": "failed"}

RUN_ALL = """
import json, sys
from dag_factory.loader import load_dags

told = {}
dags = load_dags(sys.argv[1])
for dag_id, conf in json.loads(sys.argv[2]).items():
    run = dags[dag_id].test(run_conf=conf)
    tasks = {}
    for ti in run.get_task_instances():
        place = {"task_ids": ti.task_id, "map_indexes": ti.map_index}
        pulled = {key: ti.xcom_pull(**place, key=key) for key in ("step", "return_value", "events")}
        tasks[ti.task_id] = {"state": ti.state, **pulled}
    told[dag_id] = {"state": run.state, "tasks": tasks}
print(json.dumps(told))
"""


def compare(case: Case, state: str, tasks: Mapping[str, Mapping[str, Any]]) -> None:
    """Compare a run's tasks (state, record and outputs each) with what the case says."""
    assert state == RUN_STATES[case.state], tasks
    if case.state == "refused":
        return
    found = {}
    for step in case.read().steps:
        task = tasks[step.task_id]
        # A step that failed and goes on is a success to Airflow; its record tells.
        found[step.id] = (task["step"] or {}).get("state") or STATES[task["state"]]
    assert found == case.states
    if case.outputs is not None:
        assert tasks["workflow_outputs"]["return_value"] == case.outputs
    if case.events:
        told = tasks["workflow_events"]["events"]
        assert {name: record["state"] for name, record in told.items()} == case.events


@pytest.fixture(scope="module")
def folder(airflow_stand: AirflowStand) -> Path:
    place = airflow_stand.dags_folder / "workflows" / "conformance"
    place.mkdir()
    for case in IN_AIRFLOW:
        (place / f"{case.dag_id}.yaml").write_text(case.text)
    return place


class Runs:
    """The cases' runs, a few of them at the same time."""

    AHEAD = 5

    def __init__(self, stand: AirflowStand) -> None:
        self._stand = stand
        self._cases = [case for case in IN_AIRFLOW if case.state != "refused"]
        self._started: dict[str, DagRun] = {}

    def of(self, case: Case) -> DagRun:
        """Give the run of a case; those that come next are under way then, too."""
        at = self._cases.index(case)
        for other in self._cases[at : at + self.AHEAD]:
            if other.overlapping and other is not case:
                # Its steps are to begin at once, so nothing else may be under way.
                break
            if other.name not in self._started:
                self._stand.wait_for_dag(other.dag_id)
                self._started[other.name] = self._stand.api.trigger(other.dag_id, other.inputs)
            if other.overlapping:
                break
        return self._started[case.name]


@pytest.fixture(scope="module")
def runs(airflow_stand: AirflowStand, folder: Path) -> Runs:
    return Runs(airflow_stand)


@pytest.mark.parametrize("case", IN_AIRFLOW, ids=lambda case: case.name)
def test_on_the_scheduler(airflow_stand: AirflowStand, runs: Runs, case: Case) -> None:
    api = airflow_stand.api
    if case.state == "refused":
        airflow_stand.wait_for_dag(case.dag_id)
        with pytest.raises(AirflowAPIError, match=r"400|422"):
            api.trigger(case.dag_id, case.inputs)
        return
    run = api.wait(runs.of(case), 300)
    tasks = {
        task.task_id: {
            "state": task.state,
            **{key: api.xcom(run, task.task_id, key) for key in ("step", "return_value", "events")},
        }
        for task in api.task_instances(run)
    }
    compare(case, run.state, tasks)


@pytest.fixture(scope="module")
def fused(airflow_stand: AirflowStand) -> Iterator[Mapping[str, DagRun]]:
    """Start every case as one task."""
    place = airflow_stand.dags_folder / "workflows" / "fused"
    place.mkdir()
    cases = [case.fused() for case in CASES if case.state != "refused"]
    for case in cases:
        (place / f"{case.dag_id}.yaml").write_text(case.text)
    for case in cases:
        airflow_stand.wait_for_dag(case.dag_id)
    yield {case.name: airflow_stand.api.trigger(case.dag_id, case.inputs) for case in cases}
    shutil.rmtree(place)


@pytest.mark.parametrize("case", [case for case in CASES if case.state != "refused"], ids=lambda case: case.name)
def test_as_one_task(airflow_stand: AirflowStand, fused: Mapping[str, DagRun], case: Case) -> None:
    api = airflow_stand.api
    run = api.wait(fused[case.fused().name], 300)
    steps = api.xcom(run, "workflow_outputs", "steps")
    tasks = {
        step.task_id: {"state": None, "step": steps[step.id], "return_value": steps[step.id]["outputs"]}
        for step in case.read().steps
    }
    for name in ("workflow_outputs", "workflow_events"):
        tasks[name] = {key: api.xcom(run, name, key) for key in ("return_value", "events")}
    compare(case, run.state, tasks)


def test_with_dag_test(airflow_stand: AirflowStand, folder: Path, tmp_path: Path) -> None:
    # A database of its own: a scheduler would take the tasks of these runs away from under `DAG.test()`.
    environment = {
        **airflow_stand.environment,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
    }
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=environment, capture_output=True, check=True)
    wanted = [case for case in IN_AIRFLOW if case.state != "refused" and not case.overlapping]
    given = json.dumps({case.dag_id: case.inputs for case in wanted})
    command = [sys.executable, "-c", RUN_ALL, str(folder), given]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    for case in wanted:
        compare(case, told[case.dag_id]["state"], told[case.dag_id]["tasks"])
