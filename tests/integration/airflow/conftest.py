"""One supervised Airflow for all tests of this folder: ``airflow_stand``.

It is the stand of ``llm-orchestrator demo`` in a folder of its own, with a simulator of the model providers beside it. Its
dags folder is a copy of the project's, to which a test may add files; ``stand_dags`` decides what is in it. Starting takes
half a minute, so the tests share one and leave it as they found it: use run ids, not "the last run", and DAG names of
your own.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from airflow_llm_provider.cli.airflow_api import AirflowAPI, DagRun
from airflow_llm_provider.cli.home import Home
from airflow_llm_provider.cli.stand import Stand
from tests.conformance.cases import answers
from tests.conftest import REPOSITORY

T = TypeVar("T")

_HERE = Path(__file__).parent

_CONFIG = """
budgets:
  - {name: nearly nothing, workflow: "*-without-money", limit_usd: 0.000001, period: run, on_exceeded: approve}
  - {name: all of it, workflow: python_sensors, limit_usd: 100}
"""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests of this folder."""
    item.add_marker(pytest.mark.airflow)


@dataclass(frozen=True)
class AirflowStand:
    """The running Airflow.

    Attributes:
        stand: What starts and stops it.
        api: A client that is logged in.
        environment: The environment of its components, for commands that are to see the same Airflow.
    """

    stand: Stand
    api: AirflowAPI
    environment: Mapping[str, str]

    @property
    def home(self) -> Path:
        """Its folder."""
        return self.stand.home.path

    @property
    def dags_folder(self) -> Path:
        """Where a test may put a workflow file or a DAG file."""
        return self.stand.dags_folder

    @property
    def simulator_url(self) -> str:
        """Address of the simulator of the model providers."""
        return self.stand.place.simulator_url

    def wait_for_dag(self, dag_id: str, timeout: float = 60) -> dict[str, Any]:
        """Wait until Airflow has read a DAG, and let its runs start."""

        def found() -> dict[str, Any] | None:
            dag = self.api.dag(dag_id)
            return None if dag is None or dag["is_stale"] else dag

        def doing() -> str:
            return f"no DAG {dag_id}; import errors: {self.api.import_errors()}"

        dag = until(found, doing, timeout)
        self.api.unpause(dag_id)
        return dag

    def run(self, dag_id: str, conf: Mapping[str, Any] | None = None, timeout: float = 180) -> DagRun:
        """Run a DAG to its end."""
        self.wait_for_dag(dag_id)
        return self.api.wait(self.api.trigger(dag_id, conf), timeout)


def until(condition: Callable[[], T | None], doing: Callable[[], str], timeout: float = 60) -> T:
    """Wait until the condition holds, and give its value."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {doing()}"
        time.sleep(0.1)
    return value


@pytest.fixture(scope="session")
def stand_dags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the dags folder: the project's own, and the plain DAGs that the tests of the stand use."""
    folder = tmp_path_factory.mktemp("stand") / "dags"
    shutil.copytree(REPOSITORY / "dags", folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(_HERE / "plain_dags.py", folder)
    return folder


@pytest.fixture(scope="session")
def airflow_stand(stand_dags: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStand]:
    """Start the Airflow that the tests of this folder share."""
    script = tmp_path_factory.mktemp("script") / "answers.json"
    script.write_text(json.dumps(answers(20)))
    os.environ["LLM_SCRIPT"] = str(script)
    config = tmp_path_factory.mktemp("config") / "orchestrator.yaml"
    config.write_text(_CONFIG)
    os.environ["ORCHESTRATOR_CONFIG"] = str(config)
    stand = Stand(Home(tmp_path_factory.mktemp("airflow") / "home"), stand_dags)
    try:
        stand.start()
        stand.wait_until_ready()
        with contextlib.closing(stand.api()) as api:
            yield AirflowStand(stand, api, stand.home.environment(dict(os.environ)))
    finally:
        stand.stop()
        del os.environ["LLM_SCRIPT"], os.environ["ORCHESTRATOR_CONFIG"]
