"""LLM-Forge's inference: one text in, one text out (services, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from airflow_llm_provider.clients.base import ChatRequest, ChatResponse, Message, Usage
from airflow_llm_provider.clients.http import HttpClient
from airflow_llm_provider.clients.rules import content_text
from airflow_llm_provider.clients.structured import in_words
from airflow_llm_provider.errors import InvalidRequest

__all__ = ["LLMForgeChat"]


class LLMForgeChat(HttpClient):
    """A client of ``POST /v1/inference``. The API knows neither roles, seeds nor streams; all else is passed on."""

    provider: ClassVar[str] = "llm-forge"
    default_base_url: ClassVar[str] = "http://llm-forge:8080"
    has_one_address: ClassVar[bool] = False
    needs_key: ClassVar[bool] = False
    api_key_variable: ClassVar[str] = "LLM_FORGE_TOKEN"
    base_url_variable: ClassVar[str] = "LLM_FORGE_ENDPOINT"

    @staticmethod
    def authorization(key: str) -> dict[str, str]:
        """Give the headers that carry the key."""
        return {"authorization": f"Bearer {key}"}

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """Ask once.

        Args:
            request: What to ask; a conversation becomes one text.

        Raises:
            StepError: The class that fits the failure.
        """
        if request.tools:
            raise InvalidRequest("llm-forge: the API takes no 'tools'; ask another provider")
        request = in_words(request)
        optional = {
            "temperature": request.temperature,
            "max_tokens": request.max_tokens,
            "top_p": request.top_p,
            "stop_sequences": list(request.stop) or None,
        }
        body: dict[str, Any] = {
            "model": request.model,
            "prompt": _prompt(request.messages),
            **{name: value for name, value in optional.items() if value is not None},
            **request.extra,
        }
        data = await self.post("/v1/inference", body)
        with self.reading():
            usage = data.get("usage") or {}
            metadata = data.get("metadata") or {}
            return ChatResponse(
                text=data["text"] + "",
                model=data.get("model") or request.model,
                usage=Usage(usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0),
                finish_reason=metadata.get("finish_reason") or "stop",
                id=metadata.get("id"),
            )


def _prompt(messages: Sequence[Message]) -> str:
    """Write a conversation as one text; what is not a conversation stays what it is."""
    system = [content_text(message.content) for message in messages if message.role == "system"]
    turns = [message for message in messages if message.role != "system"]
    if len(turns) == 1:
        return "\n\n".join([*system, content_text(turns[0].content)])
    spoken = [f"{message.role.capitalize()}: {content_text(message.content)}" for message in turns]
    return "\n\n".join([*system, *spoken, "Assistant:"])
