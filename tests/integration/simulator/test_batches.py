"""Batches: our clients and the vendors' own, at the same simulator."""

from __future__ import annotations

import json
from collections.abc import Iterator

import anthropic
import openai
import pytest

from airflow_llm_provider.clients.base import ChatRequest, ChatResponse, Credentials, Message
from airflow_llm_provider.clients.batch import BatchClient, batch_client, batch_providers
from airflow_llm_provider.clients.rules import Rule
from airflow_llm_provider.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidRequest,
    ServiceUnavailable,
    StepError,
)
from airflow_llm_provider.simulator import SimulatorServer
from airflow_llm_provider.simulator.faults import Fault

RULES = [
    Rule(match="two", answer="the second"),
    Rule.model_validate({"match": "three", "error": {"type": "ContentFilterError", "message": "not this"}}),
]
PROVIDERS = ("openai", "anthropic")


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    with SimulatorServer(RULES) as simulator:
        yield simulator


def opened(provider: str, server: SimulatorServer, key: str = "sk-right") -> BatchClient:
    url = server.openai_base_url if provider == "openai" else server.anthropic_base_url
    return batch_client(provider, Credentials(url, key))


def question(text: str) -> ChatRequest:
    return ChatRequest("m", (Message("system", "Be brief."), Message("user", text)), max_tokens=50, stop=("END",))


QUESTIONS = {"a": question("one"), "b": question("two"), "c": question("three")}


async def results(client: BatchClient, batch_id: str) -> dict[str, ChatResponse | StepError]:
    return {name: result async for name, result in client.results(batch_id)}


def texts(told: dict[str, ChatResponse | StepError]) -> dict[str, str]:
    return {name: answer.text for name, answer in told.items() if isinstance(answer, ChatResponse)}


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_what_is_handed_in_comes_back_by_its_id(server: SimulatorServer, provider: str) -> None:
    client = opened(provider, server)
    server.simulator.batch_seconds = 3600
    batch_id = await client.submit(QUESTIONS, "my batch")
    status = await client.status(batch_id)
    assert (status.state, status.total, status.succeeded) == ("running", 3, 0)
    for batch in server.simulator.batches._batches.values():
        batch.due = 0
    status = await client.status(batch_id)
    assert (status.state, status.total, status.succeeded, status.failed) == ("ended", 3, 2, 1)
    told = await results(client, batch_id)
    assert {*told} == {"a", "b", "c"}
    second, third = told["b"], told["c"]
    assert isinstance(second, ChatResponse)
    assert second.text == "the second"
    assert second.usage.input_tokens > 0
    assert isinstance(third, InvalidRequest)
    assert "not this" in str(third)
    assert server.simulator.answered == 2
    assert await client.find("my batch") == (batch_id if provider == "openai" else None)
    assert await client.find("another") is None
    await client.aclose()


async def test_openais_client_sees_the_same(server: SimulatorServer) -> None:
    ours = opened("openai", server)
    batch_id = await ours.submit(QUESTIONS, "mine")
    async with openai.AsyncOpenAI(base_url=server.openai_base_url, api_key="sk-right", max_retries=0) as client:
        batch = await client.batches.retrieve(batch_id)
        assert (batch.status, batch.metadata) == ("completed", {"name": "mine"})
        assert batch.output_file_id
        content = await client.files.content(batch.output_file_id)
        lines = [json.loads(line) for line in content.text.splitlines()]
        theirs = {line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"] for line in lines}
        line = {"custom_id": "x", "body": {"model": "m", "messages": [{"role": "user", "content": "two"}]}}
        file = await client.files.create(file=("questions.jsonl", json.dumps(line).encode()), purpose="batch")
        new = await client.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={"name": "theirs"},
        )
        assert [one.id async for one in client.batches.list()] == [new.id, batch_id]
        assert (await client.batches.cancel(new.id)).status == "cancelled"
    assert theirs == texts(await results(ours, batch_id))
    assert (await ours.status(new.id)).state == "cancelled"
    assert await ours.find("theirs") is None
    assert await ours.find("mine") == batch_id
    assert await ours.find("mine", known=[batch_id]) is None
    await ours.aclose()


async def test_anthropics_client_sees_the_same(server: SimulatorServer) -> None:
    ours = opened("anthropic", server)
    batch_id = await ours.submit(QUESTIONS, "mine")
    url = server.anthropic_base_url
    async with anthropic.AsyncAnthropic(base_url=url, api_key="sk-right", max_retries=0) as client:
        batch = await client.messages.batches.retrieve(batch_id)
        counts = batch.request_counts
        assert (batch.processing_status, counts.succeeded, counts.errored) == ("ended", 2, 1)
        theirs = {}
        async for line in await client.messages.batches.results(batch_id):
            if line.result.type == "succeeded":
                blocks = line.result.message.content
                theirs[line.custom_id] = "".join(block.text for block in blocks if block.type == "text")
    assert theirs == texts(await results(ours, batch_id))
    await ours.aclose()


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_batch_that_is_given_up(server: SimulatorServer, provider: str) -> None:
    client = opened(provider, server)
    server.simulator.batch_seconds = 3600
    batch_id = await client.submit(QUESTIONS, "n")
    await client.cancel(batch_id)
    told = await results(client, batch_id)
    # Anthropic tells of each question, OpenAI of none.
    assert len(told) == (3 if provider == "anthropic" else 0)
    assert all(isinstance(result, ServiceUnavailable) for result in told.values())
    await client.aclose()


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_errors(server: SimulatorServer, provider: str) -> None:
    client = opened(provider, server)
    for requests, told in (
        ({}, "a batch needs at least one question"),
        ({"ä": question("x")}, "'ä' is no id of a question in a batch"),
        ({str(number): question("x") for number in range(100_001)}, "a batch takes .* questions, and these are 100001"),
    ):
        with pytest.raises(InvalidRequest, match=told):
            await client.submit(requests, "n")
    with pytest.raises(StepError) as caught:
        await client.status("nothing")
    assert caught.value.status == 404
    server.simulator.faults.add([Fault(status=503, match="^POST")])
    with pytest.raises(ServiceUnavailable):
        await client.submit(QUESTIONS, "n")
    wrong = opened(provider, server, "invalid")
    with pytest.raises(AuthenticationError):
        await wrong.submit(QUESTIONS, "n")
    await wrong.aclose()
    await client.aclose()


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_many(server: SimulatorServer, provider: str) -> None:
    client = opened(provider, server)
    batch_id = await client.submit({f"q{number}": question(f"number {number}") for number in range(2000)}, "many")
    assert (await client.status(batch_id)).succeeded == 2000
    told = texts(await results(client, batch_id))
    assert len(told) == 2000
    assert "number 1234" in told["q1234"]
    await client.aclose()


def test_who_takes_batches() -> None:
    assert batch_providers() == ["anthropic", "openai"]
    with pytest.raises(ConfigurationError, match="no provider of batches is called 'cohere'"):
        batch_client("cohere", Credentials())
