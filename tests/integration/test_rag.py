"""Retrieval: texts are embedded and kept, then a question finds them; over real HTTP, with the local store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_llm_provider.accounting.prices import cost_usd
from airflow_llm_provider.clients.base import Credentials, Usage
from airflow_llm_provider.clients.hashing import hashed_vector
from airflow_llm_provider.config.settings import Settings
from airflow_llm_provider.engine.result import RunResult
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.simulator import SimulatorServer
from airflow_llm_provider.simulator.faults import Fault
from airflow_llm_provider.stores.base import Item
from airflow_llm_provider.workflow.model import Retry
from dag_factory import read_file, read_text
from tests.conftest import WORKFLOWS

MODEL = "text-embedding-3-small"

SEED = """
name: seed
inputs: {texts: {type: array, required: true}, batch_size: {type: integer, default: 100}}
steps:
  - id: embed
    type: embed
    provider: openai
    model: text-embedding-3-small
    input: "{{ inputs.texts }}"
    batch_size: "{{ inputs.batch_size }}"
    dimensions: 64
    output: [vectors, about]
  - id: keep
    type: vector_upsert
    index: knowledge-base
    vectors: "{{ steps.embed.vectors }}"
    texts: "{{ inputs.texts }}"
    output: [count]
outputs:
  count: ${{ steps.keep.count }}
  about: ${{ steps.embed.about }}
"""

ASK = """
name: ask
steps:
  - {id: embed_query, type: embed, provider: openai, model: text-embedding-3-small, input: "{{ inputs.question }}",
     dimensions: 64, output: [query_vector, embed_metadata]}
  - id: search_docs
    type: vector_search
    database: local
    index: knowledge-base
    query: "{{ steps.embed_query.query_vector }}"
    top_k: 2
    output: [search_results, search_metadata]
  - id: generate_answer
    type: llm
    provider: anthropic
    model: claude-3-5-sonnet-20241022
    prompt: |
      {{#each steps.search_docs.search_results}}
      Document {{@index}}: {{this.metadata.text}} (Score: {{this.score}})
      {{/each}}
      Question: {{ inputs.question }}
    output: [answer]
"""

TEXTS = ["Green tea is brewed at 75 °C.", "Black tea takes four minutes.", "The library opens at nine."]


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    with SimulatorServer() as simulator:
        yield simulator


async def run(text: str, server: SimulatorServer, **inputs: Any) -> RunResult:
    result = read_text("w.yaml", text)
    assert not result.errors, "\n".join(map(str, result.errors))
    urls = {"openai": server.openai_base_url, "anthropic": server.anthropic_base_url, "local": None}

    def credentials(name: str, connection: str | None) -> Credentials:
        return Credentials(base_url=urls[name], api_key="simulator")

    settings = Settings(retry=Retry(initial_delay=0, jitter=False))
    async with Runtime(credentials=credentials, settings=settings) as runtime:
        done = await run_workflow(result.workflows[0], inputs, runtime)
    assert done.state == "completed", done.error
    return done


async def test_retrieval(server: SimulatorServer) -> None:
    seeded = await run(SEED, server, texts=TEXTS)
    assert seeded.outputs["count"] == 3
    assert seeded.outputs["about"]["dimensions"] == 64

    asked = await run(ASK, server, question=TEXTS[1])
    found = asked.steps["search_docs"].outputs
    # The simulator's vectors know no meaning, so that only the same text is sure to be near.
    assert found["search_results"][0]["metadata"] == {"text": TEXTS[1]}
    assert found["search_results"][0]["score"] == pytest.approx(1)
    assert found["search_metadata"] == {"count": 2, "top_k": 2, "database": "local", "index": "knowledge-base"}
    prompt = server.simulator.requests[-1]["body"]["messages"][-1]["content"]
    assert f"Document 0: {TEXTS[1]} (Score: " in prompt


async def test_what_embedding_costs(server: SimulatorServer) -> None:
    done = await run(SEED, server, texts=TEXTS, batch_size=2)
    usage = done.steps["embed"].usage
    assert usage is not None
    tokens = done.outputs["about"]["tokens_used"]
    assert server.simulator.answered == 2
    assert (usage.provider, usage.model, usage.input_tokens, usage.output_tokens) == ("openai", MODEL, tokens, 0)
    assert usage.cost_usd == pytest.approx(cost_usd("openai", MODEL, Usage(tokens)))
    assert tokens
    assert usage.cost_usd


async def test_a_second_try_pays_only_for_what_is_missing(server: SimulatorServer) -> None:
    server.simulator.faults.add([Fault(status=429, match=TEXTS[1])])
    done = await run(SEED, server, texts=TEXTS, batch_size=1)
    step = done.steps["embed"]
    assert step.attempts == 2
    assert (server.simulator.calls, server.simulator.answered) == (4, 3)
    assert step.usage is not None
    assert step.usage.input_tokens == done.outputs["about"]["tokens_used"]
    assert done.outputs["count"] == 3


QUESTION = "Which tea takes four minutes?"


@pytest.mark.parametrize(
    ("name", "inputs", "indexes"),
    [
        ("002-rag-qa-pipeline", {"question": QUESTION}, {"search_docs": "knowledge-base"}),
        ("022-parallel-rag-search", {"query": QUESTION}, {"search_docs": "documentation", "search_code": "codebase"}),
    ],
)
async def test_a_published_file_runs_offline(
    corpus: Path, name: str, inputs: dict[str, str], indexes: dict[str, str]
) -> None:
    [workflow] = read_file(corpus / "workflows" / f"{name}.yaml").workflows
    dimensions = workflow.steps[0].inputs.get("dimensions", 256)
    async with Runtime(offline=True) as runtime:
        for index in indexes.values():
            items = [Item(text[:5], hashed_vector(text, dimensions), {"text": text}) for text in TEXTS]
            await runtime.store("local").upsert(index, items)
        done = await run_workflow(workflow, inputs, runtime)
    assert done.state == "completed", done.error
    for step_id in indexes:
        [first, *_] = done.steps[step_id].outputs[workflow_output(workflow, step_id)]
        assert first["metadata"]["text"] == TEXTS[1]


def workflow_output(workflow: Any, step_id: str) -> str:
    return next(str(step.primary_output) for step in workflow.steps if step.id == step_id)


async def example(name: str, server: SimulatorServer, database: str, postgres: str, **inputs: Any) -> RunResult:
    [workflow] = read_file(WORKFLOWS / f"{name}.yaml").workflows
    places = {
        "openai": Credentials(server.openai_base_url, "simulator"),
        "anthropic": Credentials(server.anthropic_base_url, "simulator"),
        "pgvector": Credentials(postgres, options={"table_prefix": "rag_"}),
        "local": Credentials(),
    }
    async with Runtime(credentials=lambda name, connection: places[name]) as runtime:
        sample = json.loads((WORKFLOWS / f"{name}.input.json").read_text())
        done = await run_workflow(workflow, {**sample, "database": database, **inputs}, runtime)
    assert done.state == "completed", done.error
    return done


async def test_the_example_gives_the_same_on_postgresql(server: SimulatorServer, postgres_url: str) -> None:
    told = {}
    for database in ("local", "pgvector"):
        for _ in range(2):
            # A document that is put in again replaces itself.
            kept = await example("knowledge-ingest", server, database, postgres_url)
        assert kept.outputs["pieces"] == 2
        question = "Green tea is brewed with water of 75 °C?"
        answered = await example("knowledge-answer", server, database, postgres_url, question=question)
        told[database] = answered
        assert [source["metadata"]["place"] for source in answered.outputs["sources"]] in ([0, 1], [1, 0])
    for source, same in zip(*(answered.outputs["sources"] for answered in told.values()), strict=True):
        assert (source["id"], source["metadata"]) == (same["id"], same["metadata"])
        assert source["score"] == pytest.approx(same["score"], abs=1e-5)
    first, second = (answered.outputs["answer"] for answered in told.values())
    assert first == second
