"""The client of LLM-Forge's inference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_llm_provider import errors
from airflow_llm_provider.clients import chat_client
from airflow_llm_provider.clients.base import ChatRequest, ChatResponse, Credentials, Message, Usage
from airflow_llm_provider.clients.rules import Rule
from airflow_llm_provider.config.settings import load_settings
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.simulator import SimulatorServer
from airflow_llm_provider.simulator.faults import Fault

KEY = "sk-secret-0123456789abcdef"


async def ask(server: SimulatorServer, *messages: Message, key: str | None = None, **options: Any) -> ChatResponse:
    client = chat_client("llm-forge", Credentials(server.base_url, key))
    try:
        return await client.chat(ChatRequest("any-model", messages, **options))
    finally:
        await client.aclose()


async def test_a_question(server: SimulatorServer) -> None:
    answer = await ask(
        server,
        Message("system", "Be brief."),
        Message("user", "What sentiment?"),
        temperature=0.5,
        max_tokens=50,
        top_p=0.9,
        stop=("END",),
        extra={"metadata": {"team": "web"}},
    )
    assert answer.text.startswith("[any-model ")
    assert (answer.model, answer.finish_reason) == ("any-model", "stop")
    assert answer.usage == Usage(7, 12)
    [request] = server.simulator.requests
    assert request["path"] == "/v1/inference"
    assert request["body"] == {
        "model": "any-model",
        "prompt": "Be brief.\n\nWhat sentiment?",
        "temperature": 0.5,
        "max_tokens": 50,
        "top_p": 0.9,
        "stop_sequences": ["END"],
        "metadata": {"team": "web"},
    }


async def test_a_conversation_becomes_one_text(server: SimulatorServer) -> None:
    await ask(server, Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "How?"))
    assert server.simulator.requests[-1]["body"]["prompt"] == "User: Hi\n\nAssistant: Hello\n\nUser: How?\n\nAssistant:"


async def test_a_schema_is_asked_for_in_words(server: SimulatorServer) -> None:
    await ask(server, Message("user", "Who?"), schema={"type": "object"}, stream=True)
    prompt = server.simulator.requests[-1]["body"]["prompt"]
    assert prompt.startswith("Answer with JSON only")
    assert prompt.endswith("Who?")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(status=429, retry_after=2), errors.RateLimitError),
        (Fault(status=503), errors.ServiceUnavailable),
        (Fault(status=404), errors.ModelNotFound),
        (Fault(drop="before"), errors.ConnectionError),
        (Fault(malformed=True), errors.ConnectionError),
    ],
)
async def test_what_goes_wrong(server: SimulatorServer, fault: Fault, error: type[Exception]) -> None:
    server.simulator.faults.add([fault])
    with pytest.raises(error):
        await ask(server, Message("user", "x"))


async def test_a_token_is_sent_and_not_told(server: SimulatorServer) -> None:
    assert (await ask(server, Message("user", "sentiment"), key=KEY)).text == "positive"
    with pytest.raises(errors.AuthenticationError):
        await ask(server, Message("user", "x"), key="invalid")
    with pytest.raises(errors.ConfigurationError, match="no address for provider 'llm-forge'; set LLM_FORGE_ENDPOINT"):
        chat_client("llm-forge", Credentials())


@pytest.mark.shows(
    "integrations.llm_forge.endpoint",
    "integrations.llm_forge.timeout",
)
async def test_the_settings_of_the_service(tmp_path: Path) -> None:
    rules = [Rule.model_validate({"match": "slow", "delay": 5})]
    with SimulatorServer(rules) as server:
        config = tmp_path / "orchestrator.yaml"
        config.write_text(f"""
integrations: {{llm_forge: {{endpoint: "{server.base_url}", timeout: 300ms}}}}
fault_tolerance:
  circuit_breaker: {{enabled: false}}
home: {tmp_path}
""")
        settings = load_settings(config)
        async with Runtime(settings=settings) as runtime:
            client = runtime.chat("llm-forge")
            assert (await client.chat(ChatRequest("m", (Message("user", "quick"),)))).text
            for _ in range(settings.circuit_breaker.failure_threshold + 1):
                # A circuit would have opened.
                with pytest.raises(errors.TimeoutError):
                    async with runtime.turn("llm-forge", "m", None, 1):
                        await client.chat(ChatRequest("m", (Message("user", "slow"),)))
