"""The inputs of the steps around vectors, as a file gives them, and what these steps give."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import pytest

from airflow_llm_provider.clients.hashing import hashed_vector
from airflow_llm_provider.config.settings import Settings
from airflow_llm_provider.engine.result import RunResult
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.stores.base import Item
from airflow_llm_provider.workflow.model import Retry
from dag_factory import read_text


def messages(step: str) -> list[str]:
    return [error.message for error in read_text("w.yaml", f"name: x\nsteps:\n  - {{id: a, {step}}}\n").errors]


async def run(text: str, *, offline: bool = True, **inputs: Any) -> RunResult:
    result = read_text("w.yaml", textwrap.dedent(text))
    assert not result.errors, "\n".join(map(str, result.errors))
    async with Runtime(settings=Settings(retry=Retry(max_attempts=1)), offline=offline) as runtime:
        return await run_workflow(result.workflows[0], inputs, runtime)


async def output(step: str, *, offline: bool = True, **inputs: Any) -> Any:
    result = await run(f"name: x\nsteps:\n  - {{id: a, {step}}}\n", offline=offline, **inputs)
    assert result.state == "completed", result.error
    return result.outputs["a"]


RIGHT = [
    "type: vector_search, index: i, query: [1, 0.5]",
    *(
        f"type: vector_search, database: {name}, index: i, query: '{{{{ v }}}}'"
        for name in ("local", "pinecone", "qdrant")
    ),
    *(f"type: vector_delete, database: {name}, index: i, ids: [a]" for name in ("weaviate", "pgvector")),
    "type: vector_search, index: i, query: '{{ v }}', database: '{{ db }}', top_k: '{{ k }}', filter: '{{ f }}'",
    "type: vector_search, index: i, query: '{{ v }}', filter: {year: {$gt: '{{ y }}'}, kind: {$in: '{{ kinds }}'}}",
    "type: vector_upsert, index: i, items: [{id: 1, vector: '{{ v }}'}, {id: b, vector: [1], metadata: {a: 1}}]",
    "type: vector_upsert, index: i, vectors: [{id: b, vector: [1]}]",
    "type: vector_upsert, index: i, vectors: '{{ vs }}', ids: '{{ ids }}', metadata: '{{ ms }}'",
    "type: vector_upsert, index: i, vectors: '{{ vs }}', texts: '{{ ts }}'",
    "type: embed, provider: openai, model: m, input: [a, 5], batch_size: 10",
    "type: embed, provider: '{{ p }}', model: m, input: {a: 1}, dimensions: 8",
]


@pytest.mark.parametrize("step", RIGHT)
def test_what_a_file_may_say(step: str) -> None:
    assert messages(step) == []


SEARCH = "type: vector_search, index: i, query: [1]"
WRONG = [
    (f"{SEARCH}, database: pinecome", "'database': no vector store is called 'pinecome'; did you mean 'pinecone'?"),
    (f"{SEARCH}, top_k: 0", "'top_k' is 0; at least 1 is needed"),
    (f"{SEARCH}, top_k: 101", "'top_k' is 101; at most 100 is allowed"),
    ("type: vector_search, index: i", "missing key 'query'"),
    ("type: vector_search, index: i, query: []", "'query' has 0; at least 1 is needed"),
    (
        "type: vector_search, index: i, query: hello",
        "'query': a vector is a list of numbers; give the output of an 'embed' step, which makes one of a text",
    ),
    (f"{SEARCH}, include_vector: true", "unknown key 'include_vector'"),
    (
        f"{SEARCH}, filter: {{year: {{$gte: 5, $regex: 1}}}}",
        "'filter': '$regex' for the field 'year' is no operator; known are $eq, $ne, $in, $nin, $gt, $gte, $lt, $lte",
    ),
    ("type: vector_upsert, index: i", "give exactly one of 'items' and 'vectors'"),
    ("type: vector_upsert, index: i, vectors: [[1]]", "'vectors' need 'ids', or 'texts' to make them of"),
    (
        "type: vector_upsert, index: i, vectors: [[1]], ids: [a, b]",
        "there are 1 'vectors' but 2 'ids'; each needs its own",
    ),
    (
        "type: vector_upsert, index: i, items: [{id: a, vector: [1]}], ids: [a]",
        "'ids' stands beside 'vectors'; 'items' have it in each item",
    ),
    ("type: vector_upsert, index: i, items: [{id: '', vector: [1]}]", "'id' has 0; at least 1 character is needed"),
    ("type: vector_delete, index: i", "give exactly one of 'ids' and 'filter'"),
    (
        "type: vector_delete, index: i, filter: {}",
        "'filter': the filter is empty; leave it out, or give at least one condition",
    ),
    ("type: embed, provider: openai, model: m, input: a, dimensions: 0", "'dimensions' is 0; at least 1 is needed"),
    ("type: embed, provider: anthropic, model: m, input: a", "no provider of embeddings is called 'anthropic'"),
]


@pytest.mark.parametrize(("step", "message"), WRONG)
def test_what_a_file_must_not_say(step: str, message: str) -> None:
    assert messages(step) == [message]


def test_a_named_provider_embeds() -> None:
    text = """
        name: x
        providers: {vectors: {type: openai, model: text-embedding-3-small, endpoint: "http://host/v1"}}
        steps: [{id: a, type: embed, provider: vectors, input: hello}]
    """
    [workflow] = read_text("w.yaml", textwrap.dedent(text)).workflows
    assert workflow.steps[0].inputs == {
        "provider": "openai",
        "model": "text-embedding-3-small",
        "base_url": "http://host/v1",
        "input": "hello",
    }


# -------------------------------------------------------------------- running


EMBED = "type: embed, provider: openai, model: m, dimensions: 8, output: [vector, metadata]"


@pytest.mark.parametrize(
    ("given", "texts", "tokens"),
    [
        ("green tea", "green tea", 3),
        (["a", "b"], ["a", "b"], 2),
        (["a"], ["a"], 1),
        ([], [], 0),
        (["a", 5, {"b": None}], ["a", "5", '{"b": null}'], 5),
        ({"a": [1]}, '{"a": [1]}', 3),
        (7, "7", 1),
    ],
)
async def test_embed(given: Any, texts: Any, tokens: int) -> None:
    found = await output(f"{EMBED}, input: '{{{{ given }}}}'", given=given)
    expected = hashed_vector(texts, 8) if isinstance(texts, str) else [hashed_vector(text, 8) for text in texts]
    assert found == {"vector": expected, "metadata": {"model": "m", "dimensions": 8, "tokens_used": tokens}}


async def test_upsert_search_delete() -> None:
    result = await run(
        """
        name: x
        steps:
          - id: keep
            type: vector_upsert
            database: qdrant
            index: i
            vectors: [[1, 0], [0, 1], [1, 1]]
            ids: [1, b, c]
            texts: [east, north, ""]
            metadata: [{n: 1}, {n: 2}, null]
          - {id: find, type: vector_search, depends_on: keep, database: qdrant, index: i, query: [2, 0], top_k: 2,
             output: [hits, about]}
          - {id: bare, type: vector_search, depends_on: keep, index: i, query: [0, 1], top_k: 1, include_metadata: false,
             include_vectors: true, filter: {n: {$in: "{{ inputs.wanted }}"}}}
          - {id: forget, type: vector_delete, depends_on: [find, bare], index: i, filter: {n: {$lt: 2}}}
          - {id: other, type: vector_delete, depends_on: forget, index: i, ids: [b, zz]}
        """,
        wanted=[1, 3],
    )
    assert result.state == "completed", result.error
    [first, second] = result.outputs["find"]["hits"]
    assert first == {"id": "1", "score": 1.0, "metadata": {"n": 1, "text": "east"}, "vector": None}
    assert (second["id"], second["metadata"]) == ("c", {"text": ""})
    assert result.outputs["find"]["about"] == {"count": 2, "top_k": 2, "database": "local", "index": "i"}
    assert result.outputs["bare"]["output"] == [
        {"id": "1", "score": pytest.approx(0), "metadata": None, "vector": [1.0, 0.0]}
    ]
    assert [result.outputs[name] for name in ("keep", "forget", "other")] == [
        {"output": 3},
        {"output": 1},
        {"output": 1},
    ]


async def test_the_same_text_is_kept_once() -> None:
    step = "type: vector_upsert, index: i, vectors: '{{ v }}', texts: '{{ t }}'"
    for vectors, texts in (([[1], [2]], ["a", "b"]), ([[3], [4]], ["b", "c"])):
        await output(step, v=vectors, t=texts)
    async with Runtime() as runtime:
        assert await runtime.store("local").count("i") == 3


async def test_an_index_that_does_not_exist_gives_nothing() -> None:
    assert await output("type: vector_search, index: i, query: [1], output: [r, m]") == {
        "r": [],
        "m": {"count": 0, "top_k": 5, "database": "local", "index": "i"},
    }


FAILING = [
    (
        "type: vector_search, database: pinecone, index: i, query: [1]",
        {},
        "ConfigurationError: no API key for provider 'pinecone'; set PINECONE_API_KEY",
    ),
    (
        "type: vector_search, database: '{{ db }}', index: i, query: [1]",
        {"db": "pinecne"},
        "InvalidRequest: the step's inputs do not fit once resolved: database: Value error, no vector store is called",
    ),
    (
        "type: vector_search, index: i, query: [1], filter: {a: '{{ a }}'}",
        {"a": ["x"]},
        "InvalidRequest: the step's inputs do not fit once resolved: filter: Value error, '$eq' for the field 'a' needs a",
    ),
    (
        "type: vector_search, index: i, query: [1], filter: {a: {$in: '{{ a }}'}}",
        {"a": "written as {{ a template }}"},
        "InvalidRequest: '$in' for the field 'a' needs a list of texts, numbers or booleans",
    ),
    ("type: vector_search, index: kept, query: [1]", {}, "InvalidRequest: the index 'kept' holds vectors of 2 numbers"),
    (
        "type: embed, provider: '{{ p }}', model: m, input: a",
        {"p": "anthropic"},
        "ConfigurationError: no provider of emb",
    ),
    ("type: embed, provider: openai, model: m, input: a", {}, "ConfigurationError: no API key for provider 'openai'"),
]


@pytest.mark.parametrize(("step", "inputs", "error"), FAILING)
async def test_what_fails_when_it_runs(step: str, inputs: dict[str, Any], error: str) -> None:
    async with Runtime() as runtime:
        await runtime.store("local").upsert("kept", [Item("a", [1, 2])])
    result = await run(f"name: x\nsteps:\n  - {{id: a, {step}}}\n", offline=False, **inputs)
    assert result.state == "failed"
    assert str(result.error).startswith(f"a: {error}"), result.error


async def test_results_are_json() -> None:
    await output("type: vector_upsert, index: i, items: [{id: a, vector: [1, 0]}]")
    found = await output("type: vector_search, index: i, query: [1, 0], include_vectors: true, output: [r, m]")
    assert json.loads(json.dumps(found)) == found
