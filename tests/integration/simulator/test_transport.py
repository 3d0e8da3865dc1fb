"""What clients do and how they fail, when aiohttp carries the requests: all the same as when httpx does."""

from __future__ import annotations

import asyncio

import pytest

from airflow_llm_provider.clients import transport
from airflow_llm_provider.clients.base import ChatRequest, Credentials, Message
from airflow_llm_provider.clients.openai import OpenAIChat
from airflow_llm_provider.simulator import SimulatorServer
from tests.integration.simulator.test_clients import (  # noqa: F401
    KEY,
    test_a_refused_key_is_not_repeated,
    test_base_urls,
    test_broken_answers,
    test_error_bodies,
    test_faults_of_rules,
    test_headers_for_a_gateway,
    test_nobody_listens,
    test_retry_after_end_to_end,
    test_statuses,
    test_streams_that_go_wrong,
    test_the_key_is_in_no_error,
    test_timeout,
)


@pytest.fixture
def few() -> int:
    return 0


@pytest.fixture(autouse=True)
def by_aiohttp(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(transport, "FEW", few)


@pytest.mark.parametrize("few", [3])
async def test_what_comes_beside_the_few(server: SimulatorServer) -> None:
    client = OpenAIChat(Credentials(server.openai_base_url, KEY))
    carried = client._http._transport
    assert isinstance(carried, transport._Growing)
    questions = [ChatRequest("m", (Message("user", f"number {n}"),), stream=n % 2 == 0) for n in range(40)]
    for round_of in range(2):
        answers = await asyncio.gather(*map(client.chat, questions))
        assert all(answer.text.endswith(f"number {n}") for n, answer in enumerate(answers)), round_of
        assert carried._carried == 0
    assert carried._many is not None
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(client.chat(questions[0]), 0)
    assert carried._carried == 0
    await client.aclose()


@pytest.mark.parametrize("few", [3])
async def test_one_by_one_nothing_more_is_loaded(server: SimulatorServer) -> None:
    client = OpenAIChat(Credentials(server.openai_base_url, KEY))
    for n in range(5):
        await client.chat(ChatRequest("m", (Message("user", str(n)),)))
    carried = client._http._transport
    assert isinstance(carried, transport._Growing)
    assert carried._many is None
    await client.aclose()


def test_proxies_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
    client = transport.http_client(verify=True)
    assert not isinstance(client._transport, transport._Growing)
    assert client._mounts
