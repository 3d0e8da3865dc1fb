"""Where a task's credentials come from, and what the Test button does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial

import pytest
from airflow.sdk import Connection
from pydantic import SecretStr

from airflow_llm_provider.config.settings import Settings
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.errors import ConfigurationError
from airflow_llm_provider.hooks.llm import (
    AnthropicHook,
    AzureHook,
    CohereHook,
    LLMForgeHook,
    OpenAIHook,
    connection_credentials,
    task_connection,
    task_credentials,
)
from airflow_llm_provider.simulator import SimulatorServer

SETTINGS = Settings(api_keys={"openai": SecretStr("from-file")})


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "AIRFLOW_CONN_OPENAI_DEFAULT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def simulator() -> Iterator[SimulatorServer]:
    with SimulatorServer() as server:
        yield server


def credentials(settings: Settings, connection: str | None = None) -> tuple[str | None, str | None]:
    runtime = Runtime(settings=settings)
    found = partial(task_credentials, runtime)("openai", connection)
    return found.base_url, found.api_key


def test_the_order_of_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    assert credentials(Settings()) == (None, None)
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    assert credentials(Settings()) == (None, "from-environment")
    assert credentials(SETTINGS) == (None, "from-file")
    monkeypatch.setenv("AIRFLOW_CONN_OPENAI_DEFAULT", '{"conn_type": "llm_openai", "password": "from-default"}')
    assert credentials(SETTINGS) == (None, "from-default")
    monkeypatch.setenv(
        "AIRFLOW_CONN_MINE",
        '{"conn_type": "llm_openai", "host": "api.me", "port": 8443, "schema": "v1", "password": "own"}',
    )
    assert credentials(SETTINGS, "mine") == ("https://api.me:8443/v1", "own")


def test_a_connection_that_does_not_exist() -> None:
    with pytest.raises(ConfigurationError, match="'nowhere'"):
        credentials(SETTINGS, "nowhere")


def test_a_connection_for_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = '{"conn_type": "aws", "login": "id", "password": "key", "extra": {"region_name": "eu-west-1"}}'
    monkeypatch.setenv("AIRFLOW_CONN_STORE", fields)
    found = task_connection("store")
    assert (found.host, found.login, found.password) == (None, "id", "key")
    assert found.extra == {"region_name": "eu-west-1"}
    assert "key" not in repr(found)
    with pytest.raises(ConfigurationError, match="'nowhere' does not exist"):
        task_connection("nowhere")


def test_what_a_connection_holds() -> None:
    connection = Connection(
        conn_id="c",
        conn_type="llm_openai",
        password="key",
        extra='{"base_url": "http://a/v1", "headers": {"x-team": "b"}}',
    )
    found = connection_credentials(connection)
    assert (found.base_url, found.api_key, dict(found.headers)) == ("http://a/v1", "key", {"x-team": "b"})
    assert "key" not in repr(found)


@pytest.mark.parametrize("key", ["right", "wrong"])
def test_the_test_button(monkeypatch: pytest.MonkeyPatch, simulator: SimulatorServer, key: str) -> None:
    password = "sk-any" if key == "right" else "sk-any-wrong"
    for hook, kind, url in (
        (OpenAIHook, "llm_openai", simulator.openai_base_url),
        (AnthropicHook, "llm_anthropic", simulator.anthropic_base_url),
        (AzureHook, "llm_azure", simulator.base_url),
        (CohereHook, "llm_cohere", simulator.base_url),
        (LLMForgeHook, "llm_forge", simulator.base_url),
    ):
        if key == "wrong":
            url = re.sub(r":\d+", ":1", url)
        monkeypatch.setenv(
            "AIRFLOW_CONN_TESTED", f'{{"conn_type": "{kind}", "host": "{url}", "password": "{password}"}}'
        )
        passed, message = hook("tested").test_connection()
        assert passed is (key == "right"), message
        assert password not in message


def test_the_model_that_the_test_button_asks(monkeypatch: pytest.MonkeyPatch, simulator: SimulatorServer) -> None:
    fields = {
        "conn_type": "llm_azure",
        "host": simulator.base_url,
        "password": "k",
        "extra": {"options": {"test_model": "mine"}},
    }
    monkeypatch.setenv("AIRFLOW_CONN_TESTED", json.dumps(fields))
    assert AzureHook("tested").test_connection() == (True, "mine answered")
