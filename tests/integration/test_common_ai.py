"""A connection of Airflow's own provider for AI, where that is installed; it is heavy, and not among what tests install."""

from __future__ import annotations

import json

import pytest

from airflow_llm_provider.clients import chat_client
from airflow_llm_provider.clients.base import ChatRequest, Credentials, Message, Tool
from airflow_llm_provider.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionError,
    InvalidRequest,
    RateLimitError,
)
from airflow_llm_provider.simulator import SimulatorServer
from airflow_llm_provider.simulator.faults import Fault

QUESTION = ChatRequest(
    "openai-chat:gpt-4o-mini", (Message("system", "Be brief."), Message("user", "Why?")), max_tokens=50
)


@pytest.fixture(autouse=True)
def installed() -> None:
    pytest.importorskip("airflow.providers.common.ai.hooks.pydantic_ai")


def connection(monkeypatch: pytest.MonkeyPatch, url: str, key: str = "sk-right") -> Credentials:
    fields = {"conn_type": "pydanticai", "host": url, "password": key}
    monkeypatch.setenv("AIRFLOW_CONN_TEAM", json.dumps(fields))
    return Credentials(url, key, options={"conn_id": "team"})


@pytest.mark.filterwarnings("ignore")
async def test_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    with SimulatorServer() as server:
        client = chat_client("common-ai", connection(monkeypatch, server.openai_base_url))
        answer = await client.chat(QUESTION)
        assert answer.text.endswith("Why?")
        assert (answer.model, answer.finish_reason) == ("gpt-4o-mini", "stop")
        assert answer.usage.input_tokens > 0
        body = server.simulator.requests[-1]["body"]
        assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
        server.simulator.faults.add([Fault(status=429, times=10)])
        with pytest.raises(RateLimitError):
            await client.chat(QUESTION)
        await client.aclose()


@pytest.mark.filterwarnings("ignore")
async def test_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with SimulatorServer() as server:
        wrong = chat_client("common-ai", connection(monkeypatch, server.openai_base_url, "invalid"))
        with pytest.raises(AuthenticationError):
            await wrong.chat(QUESTION)
        with pytest.raises(InvalidRequest, match="'tools' cannot be given"):
            await wrong.chat(ChatRequest("m", QUESTION.messages, tools=(Tool("a"),)))
        with pytest.raises(ConfigurationError, match="cannot be asked by the connection 'team'"):
            await wrong.chat(ChatRequest("nonsense:x:y", QUESTION.messages))
    nobody = chat_client("common-ai", connection(monkeypatch, "http://127.0.0.1:9/v1"))
    with pytest.raises(ConnectionError):
        await nobody.chat(QUESTION)
    with pytest.raises(ConfigurationError, match="name one of the type pydanticai"):
        chat_client("common-ai", Credentials())
