"""The cluster policy by which a queue of an edge site leads there."""

from __future__ import annotations

import pytest
from airflow.providers.standard.operators.bash import BashOperator

from airflow_llm_provider.policy import task_policy


@pytest.fixture(autouse=True)
def _queues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_EDGE_QUEUES", "shop,depot")


@pytest.mark.parametrize(
    ("queue", "executor", "expected"),
    [
        ("shop", None, "EdgeExecutor"),
        ("depot", None, "EdgeExecutor"),
        ("default", None, None),
        ("shop", "LocalExecutor", "LocalExecutor"),
    ],
)
def test_a_queue_of_a_site_leads_there(queue: str, executor: str | None, expected: str | None) -> None:
    task = BashOperator(task_id="t", bash_command="true", queue=queue, executor=executor)
    task_policy(task)
    assert task.executor == expected


def test_mapped_tasks_go_there_too() -> None:
    task = BashOperator.partial(task_id="t", queue="shop").expand(bash_command=["true", "false"])
    task_policy(task)
    assert task.executor == "EdgeExecutor"
