"""How a provider's client is found."""

from __future__ import annotations

import subprocess
import sys

import httpx
import pytest

from airflow_llm_provider import clients
from airflow_llm_provider.clients import (
    chat_client,
    embedding_client,
    environment_credentials,
    is_provider,
    known_providers,
)
from airflow_llm_provider.clients.anthropic import AnthropicChat
from airflow_llm_provider.clients.base import ChatClient, Credentials, EmbeddingClient
from airflow_llm_provider.clients.openai import OpenAIChat, OpenAIEmbeddings
from airflow_llm_provider.clients.scripted import ScriptedChat, ScriptedEmbeddings
from airflow_llm_provider.errors import ConfigurationError


def test_public_names() -> None:
    assert clients.__all__ == [
        "Kind",
        "chat_client",
        "embedding_client",
        "environment_credentials",
        "is_provider",
        "known_providers",
    ]
    assert {"openai", "anthropic", "scripted"} <= set(known_providers())
    assert known_providers() == sorted(known_providers())
    assert {"openai", "scripted"} <= set(known_providers("embedding"))
    assert is_provider("anthropic")
    assert not is_provider("anthropic", "embedding")


@pytest.mark.parametrize(
    ("provider", "expected"), [("openai", OpenAIChat), ("anthropic", AnthropicChat), ("scripted", ScriptedChat)]
)
async def test_clients(provider: str, expected: type[ChatClient]) -> None:
    client = chat_client(provider, Credentials(api_key="k"))
    assert type(client) is expected
    assert isinstance(client, ChatClient)
    await client.aclose()


@pytest.mark.parametrize(("provider", "expected"), [("openai", OpenAIEmbeddings), ("scripted", ScriptedEmbeddings)])
async def test_embedding_clients(provider: str, expected: type[EmbeddingClient]) -> None:
    client = embedding_client(provider, Credentials(api_key="k"))
    assert type(client) is expected
    assert isinstance(client, EmbeddingClient)
    assert not isinstance(client, ChatClient)
    await client.aclose()
    async with httpx.AsyncClient() as http:
        client = embedding_client(provider, Credentials(api_key="k"), http=http)
        await client.aclose()
        assert not http.is_closed


def test_an_unknown_provider_of_embeddings() -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"^no provider of embeddings is called 'anthropic'; known are azure, bedrock, cohere, local, openai",
    ):
        embedding_client("anthropic", Credentials())


@pytest.mark.parametrize("provider", ["openai", "anthropic", "scripted"])
async def test_clients_share_connections(provider: str) -> None:
    async with httpx.AsyncClient() as http:
        client = chat_client(provider, Credentials(api_key="k"), http=http)
        await client.aclose()
        assert not http.is_closed


async def test_a_client_that_cannot_share_is_not_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    class Simple(ScriptedChat):
        def __init__(self, credentials: Credentials) -> None:
            super().__init__(credentials)

    monkeypatch.setattr(clients._REGISTRIES["chat"], "find", lambda provider: Simple)
    assert type(chat_client("simple", Credentials())) is Simple


@pytest.mark.parametrize(
    ("provider", "hint"),
    [("opnai", "did you mean 'openai'?"), ("zzz", "known are anthropic, azure"), ("", "known are")],
)
def test_an_unknown_provider(provider: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        chat_client(provider, Credentials())
    assert str(caught.value).startswith(f"no provider is called {provider!r}; {hint}")
    with pytest.raises(ConfigurationError):
        environment_credentials(provider)


def test_environment_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment_credentials("openai") == Credentials()
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://host/v1")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://other")
    assert environment_credentials("openai") == Credentials("http://host/v1", "k")
    assert environment_credentials("anthropic") == Credentials("http://other", None)
    assert environment_credentials("scripted") == Credentials()


def test_the_registry_loads_no_network_library() -> None:
    code = (
        "import sys; from airflow_llm_provider.clients import chat_client; "
        "from airflow_llm_provider.clients.base import Credentials; chat_client('scripted', Credentials()); "
        "print([name for name in ('httpx', 'openai', 'anthropic', 'airflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
