"""``embed``: texts as vectors."""

from __future__ import annotations

import hashlib
import json
from array import array
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import chain
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from airflow_llm_provider.clients.base import EmbeddingRequest, EmbeddingResponse, Purpose, Usage
from airflow_llm_provider.clients.batches import embed_all
from airflow_llm_provider.clients.rules import count_tokens
from airflow_llm_provider.config.money import ModelPlace
from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.executors.paying import paying
from airflow_llm_provider.workflow.values import to_json, to_text

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
        runtime = context.runtime
        provider = runtime.provider(inputs.provider)
        client = runtime.embedding(provider, connection=inputs.connection, base_url=inputs.base_url)
        place = inputs.connection or inputs.base_url
        model = ModelPlace(
            provider=provider, model=inputs.model, connection=inputs.connection, base_url=inputs.base_url
        )
        texts = (inputs.input,) if isinstance(inputs.input, str) else tuple(inputs.input)
        request = EmbeddingRequest(inputs.model, texts, inputs.dimensions, inputs.purpose)
        size = inputs.batch_size or client.most_texts
        paid = _PaidParts(context, model)

        async def embed(part: EmbeddingRequest) -> EmbeddingResponse:
            tokens = sum(map(count_tokens, part.texts))
            # Other models' vectors cannot stand beside this one's.
            async with paying(context, model, Usage(tokens), may_downgrade=False) as payment:
                async with runtime.turn(provider, part.model, place, tokens) as call:
                    answer = await client.embed(part)
                    call.tokens = answer.usage.total_tokens
                payment.cost_usd = runtime.price(provider, inputs.model, answer.usage)
                runtime.spent(context.scope.payer, provider, answer.usage, payment.cost_usd)
            await paid.keep(part, answer)
            return answer

        def answered(answer: EmbeddingResponse, latency_ms: float) -> None:
            cost = runtime.price(provider, inputs.model, answer.usage)
            context.meter.spent(answer.model, answer.usage, cost, latency_ms)

        if texts:
            context.meter.calling(provider, inputs.model)
        # Texts that were answered in an earlier try of this step are not paid for again.
        answers: dict[int, EmbeddingResponse] = context.kept.setdefault("answers", {})
        for start in range(0, len(texts), size):
            part = replace(request, texts=texts[start : start + size])
            if start not in answers and (found := await paid.find(part)) is not None:
                answers[start] = found
                answered(found, 0.0)
        answer = await embed_all(embed, request, size, answered=answered, answers=answers)
        metadata = {
            "model": answer.model,
            "dimensions": len(answer.vectors[0]) if answer.vectors else inputs.dimensions,
            "tokens_used": answer.usage.total_tokens,
        }
        vector = answer.vectors[0] if isinstance(inputs.input, str) else list(answer.vectors)
        return {"vector": vector, "metadata": metadata}


_LARGEST = 8_000_000
"""Characters of what is kept of one call; a larger answer is paid for again when its process is killed."""


class _PaidParts:
    """The answered calls of a step, kept until it ends for another process that takes it over.

    Args:
        context: The step.
        model: Who is asked.
    """

    def __init__(self, context: StepContext, model: ModelPlace) -> None:
        self._context = context
        self._model = model

    def _key(self, part: EmbeddingRequest) -> str:
        asked = to_json([self._model.model_dump(), asdict(part)])
        return f"{self._context.step.id}:{hashlib.sha256(asked.encode()).hexdigest()[:32]}"

    async def find(self, part: EmbeddingRequest) -> EmbeddingResponse | None:
        """Give the answer, if there is one."""
        checkpoint = self._context.runtime.checkpoint
        if checkpoint is None:
            return None
        try:
            text = await checkpoint.get(self._key(part))
            if text is None:
                return None
            kept = json.loads(text)
            numbers = array("d")
            numbers.frombytes(b64decode(kept["vectors"]))
            width = kept["width"]
            vectors = tuple(numbers[at : at + width].tolist() for at in range(0, len(numbers), width))
            return EmbeddingResponse(vectors, kept["model"], Usage(kept["tokens"]))
        except Exception as error:
            self._context.say(f"kept answers cannot be read: {type(error).__name__}")
            return None

    async def keep(self, part: EmbeddingRequest, answer: EmbeddingResponse) -> None:
        """Keep an answer; numbers as their bytes, which is exact and half as long as their digits."""
        checkpoint = self._context.runtime.checkpoint
        if checkpoint is None or not answer.vectors:
            return
        numbers = array("d", chain.from_iterable(answer.vectors))
        kept = {
            "vectors": b64encode(numbers.tobytes()).decode(),
            "width": len(answer.vectors[0]),
            "model": answer.model,
            "tokens": answer.usage.input_tokens,
        }
        text = json.dumps(kept)
        if len(text) > _LARGEST:
            return
        try:
            await checkpoint.put(self._key(part), text, 0)
        except Exception as error:
            self._context.say(f"the answer cannot be kept: {type(error).__name__}")
