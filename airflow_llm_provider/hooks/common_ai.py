"""``common-ai``: asks a model by any connection of Airflow's own provider for AI, ``apache-airflow-providers-common-ai``.

That provider reaches models through pydantic-ai, which takes seconds to import; it is for connections that a team has already, and
for providers that only it knows.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from airflow_llm_provider.clients.base import ChatRequest, ChatResponse, Credentials, Usage
from airflow_llm_provider.clients.failures import failure, redact
from airflow_llm_provider.clients.rules import content_text
from airflow_llm_provider.clients.structured import in_words
from airflow_llm_provider.errors import ConfigurationError, ConnectionError, InvalidOutput, InvalidRequest, StepError

__all__ = ["CommonAIChat"]


class CommonAIChat:
    """Asks by a connection of one of the types ``pydanticai…``.

    Args:
        credentials: ``options`` hold ``conn_id``, the connection that the step names.
        http: Not used: pydantic-ai has connections of its own.

    Raises:
        ConfigurationError: The provider is not installed, or the step names no connection.
    """

    api_key_variable: ClassVar[None] = None
    base_url_variable: ClassVar[None] = None

    def __init__(self, credentials: Credentials, http: object = None) -> None:
        try:
            from airflow.providers.common.ai.hooks.pydantic_ai import PydanticAIHook
        except ImportError:
            raise ConfigurationError(
                "the provider 'common-ai' needs Airflow's provider for AI; install airflow-llm-provider[common-ai]"
            ) from None
        connection = credentials.options.get("conn_id")
        if not connection:
            raise ConfigurationError(
                "the provider 'common-ai' asks by an Airflow connection; name one of the type pydanticai with 'connection'"
            )
        self._hook = PydanticAIHook
        self._connection = str(connection)
        self._secrets = (credentials.api_key or "",)
        self._models: dict[str, Any] = {}

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """Ask once.

        Args:
            request: What to ask; it is not streamed, and has no tools.

        Raises:
            StepError: The class that fits the failure.
        """
        if request.tools:
            raise InvalidRequest("common-ai: 'tools' cannot be given by this provider; ask the model's own")
        from pydantic_ai import exceptions
        from pydantic_ai.direct import model_request

        request = in_words(request)
        if request.model not in self._models:
            self._models[request.model] = await asyncio.to_thread(self._model, request.model)
        try:
            answer = await model_request(
                self._models[request.model], _messages(request), model_settings=_settings(request)
            )
        except exceptions.ModelHTTPError as error:
            raise failure("common-ai", error.status_code, error.body, secrets=self._secrets) from None
        except exceptions.UnexpectedModelBehavior as error:
            raise InvalidOutput(f"common-ai: {redact(str(error), self._secrets)}"[:500]) from None
        except (exceptions.ModelAPIError, exceptions.UserError) as error:
            raise self._failure(error) from None
        usage = answer.usage
        return ChatResponse(
            text="".join(part.content for part in answer.parts if part.part_kind == "text"),
            model=answer.model_name or request.model,
            usage=Usage(usage.input_tokens, usage.output_tokens, usage.cache_read_tokens),
            finish_reason=_FINISH_REASONS.get(answer.finish_reason, answer.finish_reason),
            id=answer.provider_response_id,
        )

    def _model(self, name: str) -> Any:
        try:
            return self._hook.get_hook(self._connection, hook_params={"model_id": name}).get_conn()
        except Exception as error:
            raise ConfigurationError(
                f"common-ai: the model {name!r} cannot be asked by the connection {self._connection!r}: "
                f"{redact(str(error), self._secrets)}"[:500]
            ) from None

    def _failure(self, error: Exception) -> StepError:
        from pydantic_ai.exceptions import UserError

        told = f"common-ai: {redact(str(error), self._secrets)}"[:500]
        return InvalidRequest(told) if isinstance(error, UserError) else ConnectionError(told)

    async def aclose(self) -> None:
        """Nothing of ours is open."""
        self._models.clear()


_FINISH_REASONS: dict[str | None, str] = {"tool_call": "tool_calls"}


def _messages(request: ChatRequest) -> list[Any]:
    from pydantic_ai.messages import ModelRequest, ModelResponse, SystemPromptPart, TextPart, UserPromptPart

    messages: list[Any] = []
    for message in request.messages:
        text = content_text(message.content)
        if message.role == "assistant":
            messages.append(ModelResponse(parts=[TextPart(content=text)]))
        else:
            part = SystemPromptPart(content=text) if message.role == "system" else UserPromptPart(content=text)
            messages.append(ModelRequest(parts=[part]))
    return messages


def _settings(request: ChatRequest) -> Any:
    given = {
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "top_p": request.top_p,
        "stop_sequences": list(request.stop) or None,
        "seed": request.seed,
        "extra_body": dict(request.extra) or None,
    }
    return {name: value for name, value in given.items() if value is not None}
