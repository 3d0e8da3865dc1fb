"""The published workflow files that use what this version runs: each validates, compiles and runs to its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.simulator import SimulatorServer
from dag_factory import read_file
from dag_factory.compile import to_dag

INPUTS = {
    "001-content-moderation-router": {"content": "hello"},
    "003-sentiment-analysis-pipeline": {"text": "hello"},
    "004-simple-workflow": {"name": "Ann"},
    "005-transform-workflow": {"text1": [{"status": "active"}], "text2": [{"status": "gone"}]},
    "007-simple-inference": {"prompt": "hello"},
    "012-llm-with-evaluation": {"prompt": "hello", "expected_response": "hello", "quality_threshold": 0.0},
    "018-blog-post-generator": {"topic": "tea", "tone": "calm", "audience": "everyone"},
    "025-sentiment-analysis": {"text": "hello"},
    "027-sentiment-analysis": {"input": "hello"},
    "029-simple-workflow": {"name": "Ann"},
}


@pytest.mark.parametrize("name", INPUTS)
async def test_a_published_file_runs(corpus: Path, name: str) -> None:
    result = read_file(corpus / "workflows" / f"{name}.yaml")
    assert result.errors == ()
    [workflow] = result.workflows
    assert {*to_dag(workflow).task_dict} >= {step.task_id for step in workflow.steps}
    with SimulatorServer() as simulator:
        urls = {"openai": simulator.openai_base_url, "anthropic": simulator.anthropic_base_url}

        def credentials(provider: str, connection: str | None) -> Credentials:
            return Credentials(base_url=urls[provider], api_key="simulator")

        async with Runtime(credentials=credentials) as runtime:
            run = await run_workflow(workflow, INPUTS[name], runtime)
    assert run.state == "completed", run.error


async def test_what_they_give(corpus: Path) -> None:
    [workflow] = read_file(corpus / "workflows" / "005-transform-workflow.yaml").workflows
    async with Runtime() as runtime:
        run = await run_workflow(workflow, INPUTS["005-transform-workflow"], runtime)
    assert run.steps["filter_data"].outputs == {"filtered": [{"status": "active"}]}
