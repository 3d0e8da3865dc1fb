"""The local Airflow and the ``demo`` command, for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from airflow_llm_provider.cli.supervision import ComponentState, is_supervised, read_state
from tests.integration.airflow.conftest import AirflowStand, until

AIRFLOW_COMPONENTS = ("api-server", "execution-api", "scheduler", "dag-processor", "triggerer")


def demo_command(home: Path, dags: Path, *options: str) -> list[str]:
    program = [sys.executable, "-m", "airflow_llm_provider.cli", "demo"]
    return [*program, "--home", str(home), "--dags-folder", str(dags), *options]


def demo(home: Path, dags: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        demo_command(home, dags, *options), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def component(stand: AirflowStand, name: str) -> ComponentState:
    state = stand.stand.state
    assert state is not None
    return state.components[name]


def test_a_running_airflow_is_used_again(airflow_stand: AirflowStand) -> None:
    pid = component(airflow_stand, "scheduler").pid
    options = ("--workflow", "plain-success", "--input", '{"say": "hello"}')

    said = demo(airflow_stand.home, airflow_stand.dags_folder, *options)

    assert said.returncode == 0, said.stdout
    assert "said: hello" in said.stdout
    assert f"base_url: {airflow_stand.simulator_url}/v1" in said.stdout
    assert "42 tokens, $0.000120" in said.stdout
    assert f"{airflow_stand.stand.place.url}/dags/plain-success/runs/" in said.stdout
    assert component(airflow_stand, "scheduler").pid == pid


def test_a_failed_run_is_told_with_its_reason(airflow_stand: AirflowStand) -> None:
    said = demo(airflow_stand.home, airflow_stand.dags_folder, "--workflow", "plain-failure")
    assert said.returncode == 1
    assert "breaks: ValueError: the reason of the failure" in said.stdout
    assert airflow_stand.stand.is_up()


def test_no_secret_is_written_where_others_read(airflow_stand: AirflowStand) -> None:
    home, names = airflow_stand.home, ("CORE__FERNET_KEY", "API_AUTH__JWT_SECRET", "API__SECRET_KEY")
    kept = [airflow_stand.stand.home.password(), *(airflow_stand.environment[f"AIRFLOW__{name}"] for name in names)]
    private = {"passwords.json", "secrets.json", "airflow.env"}
    told = [path for path in home.rglob("*") if path.is_file() and path.suffix in (".log", ".json", ".cfg", ".env")]
    assert len(told) > len(private)
    for path in told:
        if path.name not in private:
            assert not any(secret in path.read_text(encoding="utf-8", errors="replace") for secret in kept), path


def test_another_dags_folder_needs_another_home(airflow_stand: AirflowStand, tmp_path: Path) -> None:
    said = demo(airflow_stand.home, tmp_path)
    assert said.returncode == 2
    assert f"serves {airflow_stand.dags_folder}: stop it first, or take another home" in said.stdout


def test_forty_parallel_tasks_beside_a_busy_client(airflow_stand: AirflowStand) -> None:
    api = airflow_stand.api
    restarts = {name: component(airflow_stand, name).restarts for name in AIRFLOW_COMPONENTS}
    airflow_stand.wait_for_dag("plain-wide")

    def look(run: object) -> None:
        api.dag_ids()
        health = api.health()
        assert health is not None
        assert health.healthy["metadatabase"]

    run = api.wait(api.trigger("plain-wide"), timeout=180, interval=0.25, watch=look)

    assert Counter(task.state for task in api.task_instances(run)) == {"success": 40}
    assert {name: component(airflow_stand, name).restarts for name in AIRFLOW_COMPONENTS} == restarts


@pytest.mark.parametrize("name", AIRFLOW_COMPONENTS)
def test_a_killed_component_comes_back(airflow_stand: AirflowStand, name: str) -> None:
    before = component(airflow_stand, name)
    assert before.pid is not None

    os.kill(before.pid, signal.SIGKILL)

    until(lambda: component(airflow_stand, name).restarts > before.restarts, lambda: f"{name} to be started again")
    airflow_stand.stand.wait_until_ready(timeout=120)
    assert airflow_stand.run("plain-success").state == "success"


def test_an_interrupted_start_leaves_nothing_behind(airflow_stand: AirflowStand, tmp_path: Path) -> None:
    home = tmp_path / "home"
    process = subprocess.Popen(
        demo_command(home, airflow_stand.dags_folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # Whoever is started in the background ignores it, and so would all its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("waiting for"):
            break
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[0]

    assert process.returncode == 130, said
    state = read_state(home)
    assert state is not None
    assert {item.status for item in state.components.values()} == {"stopped"}
    assert not is_supervised(home)
    # A new stand finds the database that was made, and takes free ports beside the one that is running.
    assert (home / "migrated").exists()


def test_there_may_be_nothing_to_stop(tmp_path: Path) -> None:
    said = demo(tmp_path, tmp_path, "--stop")
    assert said.returncode == 0
    assert f"No Airflow is running in {tmp_path}." in said.stdout
