"""The client of OpenAI's embeddings on the wire, and beside the vendor's SDK."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from airflow_llm_provider import errors
from airflow_llm_provider.clients import embedding_client
from airflow_llm_provider.clients.base import (
    Credentials,
    EmbeddingClient,
    EmbeddingRequest,
    EmbeddingResponse,
    Usage,
)
from airflow_llm_provider.clients.batches import embed_all
from airflow_llm_provider.simulator import SimulatorServer
from airflow_llm_provider.simulator.faults import Fault
from tests.integration.simulator.test_clients import KEY, STATUSES, answering

MODEL = "text-embedding-3-small"


@asynccontextmanager
async def client_of(base_url: str) -> AsyncIterator[EmbeddingClient]:
    client = embedding_client("openai", Credentials(base_url, KEY))
    try:
        yield client
    finally:
        await client.aclose()


async def embed(base_url: str, *texts: str, **options: Any) -> EmbeddingResponse:
    async with client_of(base_url) as client:
        return await client.embed(EmbeddingRequest(options.pop("model", MODEL), texts, **options))


@pytest.mark.parametrize(
    ("model", "dimensions", "length"),
    [(MODEL, None, 1536), (MODEL, 8, 8), ("text-embedding-3-large", None, 3072), ("text-embedding-3-large", 256, 256)],
)
async def test_the_sdk_sees_the_same_vectors(
    server: SimulatorServer, model: str, dimensions: int | None, length: int
) -> None:
    texts = ["one", "Zürich 日本語", "one"]
    options: dict[str, Any] = {} if dimensions is None else {"dimensions": dimensions}
    with openai.OpenAI(base_url=server.openai_base_url, api_key=KEY, max_retries=0) as sdk:
        expected = sdk.embeddings.create(model=model, input=texts, **options)
    answer = await embed(server.openai_base_url, *texts, model=model, dimensions=dimensions)
    assert list(answer.vectors) == [item.embedding for item in expected.data]
    assert [len(vector) for vector in answer.vectors] == [length] * 3
    assert (answer.model, answer.usage) == (expected.model, Usage(expected.usage.prompt_tokens))


async def test_what_is_sent(server: SimulatorServer) -> None:
    await embed(server.openai_base_url, "a", "b", dimensions=4)
    await embed(server.openai_base_url, "c")
    assert [(request["path"], request["body"]) for request in server.simulator.requests] == [
        ("/v1/embeddings", {"model": MODEL, "input": ["a", "b"], "encoding_format": "float", "dimensions": 4}),
        ("/v1/embeddings", {"model": MODEL, "input": ["c"], "encoding_format": "float"}),
    ]


@pytest.mark.parametrize(("batch_size", "sizes"), [(None, [100, 100, 30]), (64, [64, 64, 64, 38])])
async def test_many_texts(server: SimulatorServer, batch_size: int | None, sizes: list[int]) -> None:
    texts = tuple(f"text {number}" for number in range(230))
    async with client_of(server.openai_base_url) as client:
        answer = await embed_all(client.embed, EmbeddingRequest(MODEL, texts, 4), batch_size or client.most_texts)
        assert server.simulator.calls == len(sizes)
        sent = sorted((len(request["body"]["input"]) for request in server.simulator.requests), reverse=True)
        assert sent == sizes
        whole = await client.embed(EmbeddingRequest(MODEL, texts, 4))
    assert answer.vectors == whole.vectors


def answer_of(*items: dict[str, Any], **rest: Any) -> bytes:
    return json.dumps({"data": items, **rest}).encode()


async def test_answers_are_put_in_order() -> None:
    body = answer_of({"index": 1, "embedding": [1.0]}, {"index": 2, "embedding": [2]}, {"index": 0, "embedding": [0.5]})
    async with answering(body, content_type="application/json") as url:
        answer = await embed(url, "a", "b", "c")
    # A server that tells neither model nor usage.
    assert answer == EmbeddingResponse(([0.5], [1.0], [2]), MODEL, Usage())


async def test_an_index_may_be_left_out() -> None:
    async with answering(
        answer_of({"embedding": [0.0]}, {"index": 1, "embedding": [1.0]}), content_type="application/json"
    ) as url:
        assert (await embed(url, "a", "b")).vectors == ([0.0], [1.0])


BROKEN = [
    answer_of(),
    answer_of({"index": 0, "embedding": [1.0]}),
    answer_of({"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [2.0]}),
    answer_of({"index": 0, "embedding": [1.0]}, {"index": 2, "embedding": [2.0]}),
    answer_of({"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": []}),
    answer_of({"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": "AAAA"}),
    answer_of({"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [None]}),
    answer_of({"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [10**400]}),
    answer_of({"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [float("nan")]}),
    answer_of({"index": 0, "embedding": [1.0]}, {"index": [], "embedding": [1.0]}),
    b'{"data": null}',
    b"[]",
]


@pytest.mark.parametrize("body", BROKEN, ids=lambda body: body.decode()[:80])
async def test_an_answer_of_another_form(body: bytes) -> None:
    async with answering(body, content_type="application/json") as url:
        with pytest.raises(errors.ConnectionError, match=r"^openai: the answer (is|does)"):
            await embed(url, "a", "b")


@pytest.mark.parametrize(("status", "expected"), STATUSES)
async def test_statuses(server: SimulatorServer, status: int, expected: type[errors.StepError]) -> None:
    server.simulator.faults.add([Fault(status=status, retry_after=2)])
    with pytest.raises(expected) as caught:
        await embed(server.openai_base_url, "a")
    assert (caught.value.status, caught.value.retry_after) == (status, 2)


async def test_an_error_holds_no_key() -> None:
    body = json.dumps({"error": {"message": f"bad key {KEY}"}}).encode()
    async with answering(body, head="401 Unauthorized", content_type="application/json") as url:
        with pytest.raises(errors.AuthenticationError) as caught:
            await embed(url, "a")
    assert str(caught.value) == "127.0.0.1 answered 401: bad key ***"


async def test_the_server_refuses_an_empty_text(server: SimulatorServer) -> None:
    with pytest.raises(errors.InvalidRequest, match="input"):
        await embed(server.openai_base_url, "")
