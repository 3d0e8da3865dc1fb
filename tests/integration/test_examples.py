"""Every example runs from its sample input, against the simulator over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.engine.result import RunResult
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.simulator import SimulatorServer, example_rules
from dag_factory import read_file
from tests.conftest import EXAMPLES, WORKFLOWS


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorServer]:
    with SimulatorServer(example_rules()) as server:
        yield server


async def run(path: Path, simulator: SimulatorServer, inputs: dict[str, Any]) -> RunResult:
    [workflow] = read_file(path).workflows

    def credentials(provider: str, connection: str | None) -> Credentials:
        urls = {"openai": simulator.openai_base_url, "anthropic": simulator.anthropic_base_url}
        return Credentials(base_url=urls.get(provider), api_key="simulator")

    async with Runtime(credentials=credentials) as runtime:
        return await run_workflow(workflow, inputs, runtime)


def sample_input(path: Path) -> dict[str, Any]:
    sample: dict[str, Any] = json.loads(path.with_suffix(".input.json").read_text())
    return sample


def test_there_are_at_least_eight_in_both_notations() -> None:
    notations = [read_file(path).workflows[0].source.notation for path in EXAMPLES]
    assert len(notations) >= 8
    assert {*notations} == {"steps", "v1"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_has_no_warnings(path: Path) -> None:
    assert read_file(path).diagnostics == ()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
async def test_example_runs(path: Path, simulator: SimulatorServer) -> None:
    result = await run(path, simulator, sample_input(path))
    assert result.state == "completed", result.error
    for step in result.steps.values():
        if step.usage is not None:
            assert step.usage.total_tokens > 0
            assert step.usage.cost_usd is not None


async def test_the_sample_takes_the_interesting_way(simulator: SimulatorServer) -> None:
    moderation = WORKFLOWS / "content-moderation.yaml"
    result = await run(moderation, simulator, sample_input(moderation))
    assert {name: step.state for name, step in result.steps.items()} == {
        "moderate": "completed",
        "publish": "skipped",
        "queue_review": "skipped",
        "explain_block": "completed",
        "notify_author": "completed",
    }
    invoice = WORKFLOWS / "invoice-extraction.yaml"
    outputs = (await run(invoice, simulator, sample_input(invoice))).outputs
    assert (outputs["largest_line"], outputs["needs_approval"]) == ("12 licences", True)
    translation = WORKFLOWS / "translation-with-review.yaml"
    assert (await run(translation, simulator, sample_input(translation))).outputs["revised"] is True
    ticket = WORKFLOWS / "support-ticket-triage.yaml"
    assert (await run(ticket, simulator, sample_input(ticket))).outputs["paged"] is True
