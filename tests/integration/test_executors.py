"""Executors that reach outside, or judge the work of others, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_llm_provider.engine.result import RunResult
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.simulator import SimulatorServer
from dag_factory import read_text


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    with SimulatorServer() as simulator:
        yield simulator


async def run(text: str, **inputs: object) -> RunResult:
    result = read_text("w.yaml", text)
    assert not result.errors, "\n".join(map(str, result.errors))
    async with Runtime() as runtime:
        return await run_workflow(result.workflows[0], inputs, runtime)


async def test_http_request(server: SimulatorServer) -> None:
    result = await run(
        """
name: x
steps:
  - id: models
    type: http:request
    url: "{{ inputs.server }}/v1/models"
    params: {after: a b}
    headers: {authorization: "Bearer {{ inputs.token }}"}
    output: [body, status, headers]
outputs:
  first: ${{ steps.models.body.data[0].id }}
  status: ${{ steps.models.status }}
""",
        server=server.base_url,
        token="any",
    )
    assert result.state == "completed", result.error
    assert result.outputs == {"first": "gpt-4o", "status": 200}


async def test_a_refused_request_fails_the_step(server: SimulatorServer) -> None:
    result = await run(f"name: x\nsteps:\n  - {{id: a, type: 'http:request', url: '{server.base_url}/v1/models'}}\n")
    assert result.error is not None
    assert result.error.startswith("a: AuthenticationError: 127.0.0.1 answered 401")


async def test_a_webhook_posts_the_steps_own_keys(server: SimulatorServer) -> None:
    url = f"{server.base_url}/_simulator/faults"
    result = await run(
        f"name: x\nsteps:\n  - {{id: a, type: action, action: webhook, url: '{url}', body: [{{status: 500}}]}}\n"
    )
    assert result.steps["a"].outputs == {"output": {"action": "webhook", "status": 204, "body": ""}}


ASSERT = """
apiVersion: orchestrator.llm/v1
kind: Workflow
metadata: {name: x}
spec:
  inputs: [{name: score, type: float, required: true}]
  tasks:
    - id: gate
      type: custom
      executor: orchestrator:assert
      inputs:
        condition: ${{ workflow.inputs.score >= 0.75 }}
        error_message: "score ${{ workflow.inputs.score }} is below 0.75"
"""


@pytest.mark.parametrize(("score", "error"), [(0.8, None), (0.5, "gate: AssertionFailed: score 0.5 is below 0.75")])
async def test_assert(score: float, error: str | None) -> None:
    result = await run(ASSERT, score=score)
    assert result.error == error
    assert result.steps["gate"].attempts == 1
