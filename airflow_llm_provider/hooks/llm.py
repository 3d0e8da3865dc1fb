"""Airflow connections to chat providers: one connection type a provider, and how a task finds its credentials.

A connection's fields are the usual ones: the password is the API key, the host the API's base URL, the extra's ``headers`` and
``options`` are passed on. A step names its connection with ``connection:``; without, ``<provider>_default`` is looked up, then
``orchestrator.yaml``, then the provider's usual variables.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar
from urllib.parse import quote

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowException

from airflow_llm_provider.clients import chat_client
from airflow_llm_provider.clients.base import ChatClient, ChatRequest, ConnectionFields, Credentials, Message
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.errors import ConfigurationError, LLMProviderError

__all__ = [
    "AnthropicHook",
    "AzureHook",
    "BedrockHook",
    "CohereHook",
    "LLMForgeHook",
    "LLMHook",
    "OpenAIHook",
    "connection_credentials",
    "task_connection",
    "task_credentials",
]


def connection_credentials(connection: Connection) -> Credentials:
    """Give the credentials that an Airflow connection holds.

    Args:
        connection: A connection of one of this provider's types, or of any type with the same fields.
    """
    extra = connection.extra_dejson
    host = connection.host
    port = f":{connection.port}" if connection.port else ""
    if connection.conn_type in ("postgres", "postgresql"):
        host = f"postgresql://{host or 'localhost'}{port}/{quote(connection.schema or '')}"
    elif host and "://" not in host:
        path = f"/{connection.schema.strip('/')}" if connection.schema else ""
        host = f"https://{host}{port}{path}"
    return Credentials(
        base_url=host or extra.get("base_url") or None,
        api_key=connection.password or None,
        headers=extra.get("headers") or {},
        options={
            "conn_id": connection.conn_id,
            **{name: value for name, value in extra.items() if name not in ("base_url", "headers", "options")},
            **({"login": connection.login} if connection.login else {}),
            **(extra.get("options") or {}),
        },
    )


def task_credentials(runtime: Runtime, provider: str, connection: str | None) -> Credentials:
    """Find a provider's credentials inside a task.

    Args:
        runtime: Knows ``orchestrator.yaml``.
        provider: The provider's name.
        connection: The connection that the step names, or None for the provider's default.

    Raises:
        ConfigurationError: The step names a connection that does not exist.
    """
    wanted = connection or f"{provider.replace('-', '_')}_default"
    try:
        return connection_credentials(BaseHook.get_connection(wanted))
    except AirflowException as error:
        if connection is not None:
            raise ConfigurationError(
                f"the Airflow connection {connection!r} does not exist; add it under Admin > Connections, or with "
                f"`airflow connections add {connection} --conn-type llm_{provider} --conn-password …`"
            ) from error
    return runtime.configured_credentials(provider)


def task_connection(connection: str) -> ConnectionFields:
    """Find the fields of a connection inside a task.

    Args:
        connection: The connection that the step names.

    Raises:
        ConfigurationError: It does not exist.
    """
    try:
        found = BaseHook.get_connection(connection)
    except AirflowException as error:
        raise ConfigurationError(
            f"the Airflow connection {connection!r} does not exist; add it under Admin > Connections"
        ) from error
    return ConnectionFields(found.host or None, found.login or None, found.password or None, found.extra_dejson)


class LLMHook(BaseHook):
    """Base of the chat providers' hooks.

    Args:
        conn_id: The connection; the provider's default when None.

    Attributes:
        provider: The provider's name, as workflow files use it.
        test_model: The model that the connection test asks when the connection's ``options`` name none as ``test_model``.
    """

    provider: ClassVar[str]
    test_model: ClassVar[str]
    conn_name_attr = "conn_id"
    default_conn_name: ClassVar[str]

    def __init__(self, conn_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id or self.default_conn_name

    def get_conn(self) -> ChatClient:
        """Give a client; close it with its ``aclose``."""
        return chat_client(self.provider, connection_credentials(self.get_connection(self.conn_id)))

    def test_connection(self) -> tuple[bool, str]:
        """Ask a small model for one token, as the connection form's Test button does.

        Returns:
            Whether an answer came, and a message for the form.
        """
        model = connection_credentials(self.get_connection(self.conn_id)).options.get("test_model") or self.test_model
        request = ChatRequest(model=str(model), messages=(Message("user", "ping"),), max_tokens=1)

        async def ask() -> str:
            client = self.get_conn()
            try:
                return (await client.chat(request)).model
            finally:
                await client.aclose()

        try:
            return True, f"{asyncio.run(ask())} answered"
        except LLMProviderError as error:
            return False, f"{type(error).__name__}: {error}"


class OpenAIHook(LLMHook):
    """OpenAI, and whatever speaks its API at the connection's host."""

    provider = "openai"
    test_model = "gpt-4o-mini"
    conn_type = "llm_openai"
    hook_name = "LLM: OpenAI-compatible"
    default_conn_name = "openai_default"


class AzureHook(LLMHook):
    """OpenAI's models on Azure. A deployment has a name of its own, so the extra's ``options`` say which one is tested."""

    provider = "azure"
    test_model = "gpt-4o-mini"
    conn_type = "llm_azure"
    hook_name = "LLM: Azure OpenAI"
    default_conn_name = "azure_default"


class BedrockHook(LLMHook):
    """AWS Bedrock; the fields are those of a connection to AWS, and without them boto3 looks for credentials by itself."""

    provider = "bedrock"
    test_model = "amazon.nova-lite-v1:0"
    conn_type = "llm_bedrock"
    hook_name = "LLM: AWS Bedrock"
    default_conn_name = "bedrock_default"


class CohereHook(LLMHook):
    """Cohere."""

    provider = "cohere"
    test_model = "command-r7b-12-2024"
    conn_type = "llm_cohere"
    hook_name = "LLM: Cohere"
    default_conn_name = "cohere_default"


class LLMForgeHook(LLMHook):
    """LLM-Forge."""

    provider = "llm-forge"
    test_model = "default"
    conn_type = "llm_forge"
    hook_name = "LLM: LLM-Forge"
    default_conn_name = "llm_forge_default"


class AnthropicHook(LLMHook):
    """Anthropic."""

    provider = "anthropic"
    test_model = "claude-haiku-4-5"
    conn_type = "llm_anthropic"
    hook_name = "LLM: Anthropic"
    default_conn_name = "anthropic_default"
