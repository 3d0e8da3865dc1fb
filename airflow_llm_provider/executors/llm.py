"""``llm``: ask a chat model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import Self

from airflow_llm_provider.clients.base import ChatRequest, ChatResponse, Message
from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.workflow.values import to_text

__all__ = ["LLM", "Asked", "LLMInputs", "ask"]

Text = Annotated[str, BeforeValidator(to_text)]
"""A text; another value is written as a template would write it, null as empty text."""

OptionalText = Annotated[str | None, BeforeValidator(to_text)]
"""The same for an input that need not be given."""


class ChatTurn(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["system", "user", "assistant", "tool"]
    content: Text | list[dict[str, Any]]


class LLMInputs(Inputs):
    """What to ask.

    Attributes:
        provider: Which API: ``openai`` (and all that speak its API), ``anthropic``, ``scripted``.
        model: The provider's model name.
        prompt: The question; instead of ``messages``.
        document: A text that the question is about, put behind it; alone, it is the question.
        messages: A whole conversation; instead of ``prompt``.
        system: Instructions for the model.
        temperature: Sampling temperature, 0 to 2.
        max_tokens: Most tokens of the answer.
        top_p: Nucleus sampling mass, above 0 and up to 1.
        stop: Texts that end the answer.
        seed: Sampling seed, where the provider has one.
        stream: Whether to take the answer as it is written; measures the latency of the first token.
        connection: Airflow connection with the credentials; the provider's default connection when absent.
        base_url: Root of the API, for whatever speaks the provider's dialect.
        extra_body: Further fields of the provider's request.
    """

    provider: str
    model: str
    prompt: OptionalText = None
    document: OptionalText = None
    messages: list[ChatTurn] | None = Field(default=None, min_length=1)
    system: OptionalText = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    stop: str | list[str] | None = None
    seed: int | None = None
    stream: bool = False
    connection: str | None = None
    base_url: str | None = None
    extra_body: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _asks_once(self) -> Self:
        asked = self.prompt is not None or self.document is not None
        if asked == (self.messages is not None):
            raise ValueError("give exactly one of 'prompt' and 'messages'")
        return self

    def request(self) -> ChatRequest:
        """Put the question into the clients' form."""
        messages = [Message("system", self.system)] if self.system else []
        if self.messages is None:
            texts = [text for text in (self.prompt, self.document) if text is not None]
            messages.append(Message("user", "\n\n".join(texts)))
        else:
            messages += [Message(turn.role, turn.content) for turn in self.messages]
        return ChatRequest(
            model=self.model,
            messages=tuple(messages),
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            top_p=self.top_p,
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            seed=self.seed,
            stream=self.stream,
            extra=self.extra_body,
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """One answered call.

    Attributes:
        answer: What the model answered.
        cost_usd: The call's price in USD; None when the model's price is not known.
        latency_ms: Milliseconds from request to complete answer.
    """

    answer: ChatResponse
    cost_usd: float | None
    latency_ms: float


async def ask(
    context: StepContext,
    provider: str,
    request: ChatRequest,
    *,
    connection: str | None = None,
    base_url: str | None = None,
) -> Asked:
    """Ask a chat model once, and enter the call in the step's account.

    Args:
        context: The step that asks.
        provider: Who answers, as :meth:`Runtime.provider` gives it.
        request: What to ask.
        connection: Airflow connection with the credentials; None means the provider's default.
        base_url: Root of the API, over what the credentials say.

    Raises:
        StepError: The call failed.
    """
    client = context.runtime.chat(provider, connection=connection, base_url=base_url)
    context.meter.calling(provider, request.model)
    started = time.perf_counter()
    answer = await client.chat(request)
    latency_ms = (time.perf_counter() - started) * 1000

    from airflow_llm_provider.accounting.prices import cost_usd

    cost = cost_usd(provider, request.model, answer.usage)
    context.meter.spent(answer.model, answer.usage, cost, latency_ms)
    return Asked(answer, cost, latency_ms)


class LLM(Executor[LLMInputs]):
    """One call of a chat model."""

    outputs: ClassVar[tuple[str, ...]] = ("text", "model", "tokens", "metadata", "usage")
    primary_is_text: ClassVar[bool] = True
    Inputs = LLMInputs

    async def run(self, inputs: LLMInputs, context: StepContext) -> Mapping[str, Any]:
        """Ask once; the answer's text, the model that gave it, its tokens, and the rest as ``metadata``."""
        provider = context.runtime.provider(inputs.provider)
        asked = await ask(context, provider, inputs.request(), connection=inputs.connection, base_url=inputs.base_url)
        answer = asked.answer
        usage = {
            "prompt_tokens": answer.usage.input_tokens,
            "completion_tokens": answer.usage.output_tokens,
            "total_tokens": answer.usage.total_tokens,
            "cached_tokens": answer.usage.cached_tokens,
            "reasoning_tokens": answer.usage.reasoning_tokens,
        }
        metadata = {
            "usage": usage,
            "finish_reason": answer.finish_reason,
            "cost_usd": asked.cost_usd,
            "latency_ms": round(asked.latency_ms, 3),
            "attempts": context.attempt,
            "cached": False,
            "id": answer.id,
        }
        return {
            "text": answer.text,
            "model": answer.model,
            "tokens": answer.usage.total_tokens,
            "metadata": metadata,
            "usage": usage,
        }
