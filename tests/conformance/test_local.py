"""The cases in the local engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.config.settings import Settings
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.errors import InvalidRequest
from airflow_llm_provider.workflow.model import Retry
from tests.conformance.cases import IN_AIRFLOW, Case, answers


@pytest.mark.parametrize("case", IN_AIRFLOW, ids=lambda case: case.name)
async def test_case(case: Case, tmp_path: Path) -> None:
    credentials = Credentials(options={"answers": answers(0.5)})
    async with Runtime(
        settings=Settings(retry=Retry(initial_delay=0), outbox=tmp_path),
        credentials=lambda provider, connection: credentials,
    ) as runtime:
        if case.state == "refused":
            with pytest.raises(InvalidRequest):
                await run_workflow(case.read(), case.inputs, runtime)
            return
        result = await run_workflow(case.read(), case.inputs, runtime)
    assert {step_id: step.state for step_id, step in result.steps.items()} == case.states, result.error
    assert result.state == case.state, result.error
    if case.outputs is not None:
        assert result.outputs == case.outputs
    assert {event.step_id: event.state for event in result.events} == case.events
