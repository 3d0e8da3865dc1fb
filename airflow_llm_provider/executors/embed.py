"""``embed``: texts as vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from airflow_llm_provider.clients.base import EmbeddingRequest, EmbeddingResponse, Purpose
from airflow_llm_provider.clients.batches import embed_all
from airflow_llm_provider.clients.rules import count_tokens
from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.workflow.values import to_text

__all__ = ["Embed", "EmbedInputs"]


def _texts(value: Any) -> str | list[str]:
    return [to_text(item) for item in value] if isinstance(value, list) else to_text(value)


class EmbedInputs(Inputs):
    """What to embed.

    Attributes:
        provider: Which API: ``openai`` (and all that speak its API), ``cohere``, ``scripted``.
        model: The provider's model name.
        input: A text, or a list of texts; another value is written as a template would write it.
        dimensions: Numbers in a vector; the model's own count when absent.
        purpose: ``document`` for texts that are to be found, ``query`` for what is looked for; some models make a difference.
        batch_size: Most texts of one call; as many as suit the provider when absent.
        connection: Airflow connection with the credentials; the provider's default connection when absent.
        base_url: Root of the API, for whatever speaks the provider's dialect.
    """

    provider: str
    model: str
    input: Annotated[str | list[str], BeforeValidator(_texts)]
    dimensions: int | None = Field(default=None, ge=1)
    purpose: Purpose = "document"
    batch_size: int | None = Field(default=None, ge=1)
    connection: str | None = None
    base_url: str | None = None


class Embed(Executor[EmbedInputs]):
    """A vector for a text, or a list of vectors for a list."""

    outputs: ClassVar[tuple[str, ...]] = ("vector", "metadata")
    Inputs = EmbedInputs

    async def run(self, inputs: EmbedInputs, context: StepContext) -> Mapping[str, Any]:
        """Embed all texts; another try asks only for what the ones before it did not get."""
        from airflow_llm_provider.accounting.prices import cost_usd

        provider = context.runtime.provider(inputs.provider)
        client = context.runtime.embedding(provider, connection=inputs.connection, base_url=inputs.base_url)
        place = inputs.connection or inputs.base_url

        async def embed(part: EmbeddingRequest) -> EmbeddingResponse:
            tokens = sum(map(count_tokens, part.texts))
            async with context.runtime.turn(provider, part.model, place, tokens) as call:
                answer = await client.embed(part)
                call.tokens = answer.usage.total_tokens
            return answer

        texts = (inputs.input,) if isinstance(inputs.input, str) else tuple(inputs.input)

        def answered(answer: EmbeddingResponse, latency_ms: float) -> None:
            context.meter.spent(answer.model, answer.usage, cost_usd(provider, inputs.model, answer.usage), latency_ms)

        request = EmbeddingRequest(inputs.model, texts, inputs.dimensions, inputs.purpose)
        if texts:
            context.meter.calling(provider, inputs.model)
        # Texts that were answered in an earlier try of this step are not paid for again.
        answers: dict[int, EmbeddingResponse] = context.kept
        size = inputs.batch_size or client.most_texts
        answer = await embed_all(embed, request, size, answered=answered, answers=answers)
        metadata = {
            "model": answer.model,
            "dimensions": len(answer.vectors[0]) if answer.vectors else inputs.dimensions,
            "tokens_used": answer.usage.total_tokens,
        }
        vector = answer.vectors[0] if isinstance(inputs.input, str) else list(answer.vectors)
        return {"vector": vector, "metadata": metadata}
