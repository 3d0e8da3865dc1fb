"""What the operators of batches do about a batch API that fails."""

from __future__ import annotations

import pytest

from airflow_llm_provider.config.settings import Settings
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.errors import AuthenticationError, ServiceUnavailable, StepError
from airflow_llm_provider.operators.batch import FanOutBatchOperator
from airflow_llm_provider.workflow.model import Retry
from dag_factory import read_text
from dag_factory.compile import to_dag

TEXT = """
name: w
steps:
  - id: each
    type: orchestrator:fan-out
    items: [a]
    airflow: {lane: batch}
    task_template: {provider: openai, model: m, prompt: "{{ item }}"}
"""


@pytest.mark.parametrize(("error", "asked"), [(ServiceUnavailable("503"), 3), (AuthenticationError("no"), 1)])
async def test_the_batch_api_is_asked_as_often_as_a_step_is_tried(error: StepError, asked: int) -> None:
    [workflow] = read_text("w.yaml", TEXT).workflows
    task = to_dag(workflow).get_task("each")
    assert isinstance(task, FanOutBatchOperator)
    calls = 0

    async def fail() -> None:
        nonlocal calls
        calls += 1
        raise error

    async with Runtime(settings=Settings(retry=Retry(initial_delay=0, jitter=False))) as runtime:
        with pytest.raises(type(error)):
            await task._tried(workflow.steps[0], runtime, fail)
    assert calls == asked
