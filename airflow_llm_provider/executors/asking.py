"""Asking chat models: one call, other models in one's place, and answers that need not be paid again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from pydantic import TypeAdapter

from airflow_llm_provider.clients.base import ChatRequest, ChatResponse, Usage
from airflow_llm_provider.clients.rules import ANSWER_TOKENS, count_tokens
from airflow_llm_provider.config.money import ModelPlace
from airflow_llm_provider.engine.cache import Cache
from airflow_llm_provider.engine.executor import StepContext
from airflow_llm_provider.engine.masking import hide
from airflow_llm_provider.engine.retry import HOPELESS
from airflow_llm_provider.errors import StepError, TimeoutError
from airflow_llm_provider.executors.paying import LONGEST_ANSWER, paying
from airflow_llm_provider.workflow.values import from_json, to_json

__all__ = ["Answerer", "Asked", "Remembered", "ask", "ask_in_turn"]

ErrorName = Literal[
    "RateLimitError", "TimeoutError", "ConnectionError", "ServiceUnavailable", "AuthenticationError", "ModelNotFound",
    "InvalidRequest", "ContextLengthError", "ContentFilterError",
]  # fmt: skip

TROUBLES: frozenset[ErrorName] = frozenset(
    {
        "RateLimitError", "TimeoutError", "ConnectionError", "ServiceUnavailable", "AuthenticationError", "ModelNotFound",
        "ContextLengthError", "ContentFilterError",
    }
)  # fmt: skip
"""Errors after which another model may do better: all but those that are the request's own."""


class Answerer(ModelPlace):
    """A model that may answer.

    Attributes:
        after: Errors of the model before it that it is asked after.
    """

    after: frozenset[ErrorName] = TROUBLES


@dataclass(frozen=True, slots=True)
class Asked:
    """One answered call.

    Attributes:
        answer: What the model answered.
        cost_usd: The call's price in USD; None when the model's price is not known.
        latency_ms: Milliseconds from request to complete answer.
        provider: Who answered.
        cached: Whether it was an answer to somebody else.
        asked: Who was asked: provider, model, connection and address, as text.
    """

    answer: ChatResponse
    cost_usd: float | None
    latency_ms: float
    provider: str
    cached: bool = False
    asked: str = ""


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
        StepError: The call failed, or there is no money for it.
    """
    runtime, prompt = context.runtime, count_tokens(request.messages)
    meant = ModelPlace(provider=provider, model=request.model, connection=connection, base_url=base_url)
    if runtime.answers is not None:
        context.meter.calling(provider, request.model)
        given = await runtime.answers(meant, request)
        if given is not None:
            answer, part = given
            if not part:
                return Asked(answer, 0.0, 0.0, provider, cached=True)
            usual = runtime.price(provider, request.model, answer.usage)
            cost = None if usual is None else usual * part
            context.meter.spent(answer.model, answer.usage, cost, 0.0)
            return Asked(answer, cost, 0.0, provider)
    async with paying(context, meant, Usage(prompt, request.max_tokens or LONGEST_ANSWER)) as payment:
        chosen = payment.model
        provider = runtime.provider(chosen.provider)
        client = runtime.chat(provider, connection=chosen.connection, base_url=chosen.base_url)
        context.meter.calling(provider, chosen.model)
        # For the rate limits, what is thought to be used; what it was is settled afterwards.
        tokens = prompt + (request.max_tokens or ANSWER_TOKENS)
        async with runtime.turn(provider, chosen.model, chosen.connection or chosen.base_url, tokens) as call:
            started = time.perf_counter()
            answer = await client.chat(_to(chosen.model, request))
            latency_ms = (time.perf_counter() - started) * 1000
            call.tokens = answer.usage.total_tokens
        # Who does not count may charge all the same.
        counted = bool(answer.usage.total_tokens)
        cost = payment.cost_usd = runtime.price(provider, chosen.model, answer.usage) if counted else None
        context.meter.spent(answer.model, answer.usage, cost, latency_ms)
        runtime.spent(context.scope.payer, provider, answer.usage, cost)
    return Asked(answer, cost, latency_ms, provider, asked=_place(provider, chosen))


def _place(provider: str, model: ModelPlace) -> str:
    """Tell a model from others, and from itself elsewhere."""
    return to_json([provider, model.model, model.connection, model.base_url])


def _to(model: str, request: ChatRequest) -> ChatRequest:
    """Put a question to a model."""
    return request if request.model == model else replace(request, model=model)


@dataclass(frozen=True, slots=True)
class _Keeper:
    """Where an answer is kept.

    Attributes:
        cache: What keeps it.
        key: Under which key.
        ttl: For how many seconds.
        paid: Whether what it cost is this run's to tell.
    """

    cache: Cache
    key: str
    ttl: float
    paid: bool


class Remembered:
    """The answer to a question that may have been asked before: in this step, before its process was killed, or in any other.

    Args:
        context: The step that asks.
        model: The model that is asked first.
        request: The question.
        ttl: Seconds for which any step may have the answer; None when only this one may.
    """

    def __init__(self, context: StepContext, model: Answerer, request: ChatRequest, ttl: float | None) -> None:
        self._context = context
        self._first = _place(context.runtime.provider(model.provider), model)
        self._places: list[_Keeper] = []
        checkpoint, cache = context.runtime.checkpoint, None if ttl is None else context.runtime.cache()
        if checkpoint is None and cache is None:
            return
        asked = [context.runtime.provider(model.provider), model.connection, model.base_url, asdict(request)]
        key = hashlib.sha256(to_json(asked).encode()).hexdigest()
        if checkpoint is not None:
            self._places.append(_Keeper(checkpoint, f"{context.step.id}:{key[:32]}", 0, paid=True))
        if cache is not None and ttl is not None:
            self._places.append(_Keeper(cache, key, ttl, paid=False))

    async def find(self) -> Asked | None:
        """Give the answer, if there is one; one that this step has paid for is entered in its account again."""
        for place in self._places:
            started = time.perf_counter()
            try:
                text = await place.cache.get(place.key)
                if text is None:
                    continue
                kept = from_json(text)
                answer = TypeAdapter(ChatResponse).validate_python(kept.pop("answer"))
                asked = Asked(answer=answer, **kept)
            except Exception as error:
                # What keeps answers may be down; that makes a run slower and dearer, but never fails it.
                self._context.say(f"kept answers cannot be read: {type(error).__name__}")
                continue
            self._context.meter.calling(asked.provider, answer.model)
            if not place.paid:
                return replace(asked, cost_usd=0.0, latency_ms=(time.perf_counter() - started) * 1000, cached=True)
            self._context.meter.spent(answer.model, answer.usage, asked.cost_usd, asked.latency_ms)
            return asked
        return None

    async def keep(self, asked: Asked) -> None:
        """Remember an answer.

        Args:
            asked: The answered call.
        """
        kept = to_json(hide(from_json(to_json(asdict(asked))), self._context.secrets)) if self._places else ""
        for place in self._places:
            if not place.paid and asked.asked != self._first:
                # Whoever asks the same of that model wants its answer, and not that of one in its place.
                continue
            try:
                await place.cache.put(place.key, kept, place.ttl)
            except Exception as error:
                self._context.say(f"the answer cannot be kept: {type(error).__name__}")


_ASKING = "asking"
"""What a try leaves to the next one: the number of the model that it was cut off at."""


async def ask_in_turn(context: StepContext, request: ChatRequest, models: Sequence[Answerer]) -> Asked:
    """Ask a model, and when it fails the next one that is meant for such a failure.

    Args:
        context: The step that asks.
        request: The question; its ``model`` does not matter.
        models: Whom to ask, in this order.

    Raises:
        StepError: All that were asked failed. Of their errors it is the first that is worth another try, else the first.
    """

    def behind(number: int, error: StepError) -> int | None:
        following = range(number + 1, len(models))
        return next((other for other in following if error.is_any_of(models[other].after)), None)

    stuck = context.kept.pop(_ASKING, None)
    # A model that has kept the last try waiting until its end would do so again.
    at = None if stuck is None else behind(stuck, TimeoutError("the try was cut off"))
    at = at or 0
    failures: list[tuple[Answerer, StepError]] = []
    while True:
        model = models[at]
        context.kept[_ASKING] = at
        try:
            asked = await ask(
                context,
                context.runtime.provider(model.provider),
                _to(model.model, request),
                connection=model.connection,
                base_url=model.base_url,
            )
        except StepError as error:
            del context.kept[_ASKING]
            failures.append((model, error))
            following = behind(at, error)
            if following is None:
                raise _joined(failures) from None
            context.say(f"{_told(model, error)}; asking {models[following].name}")
            at = following
        else:
            del context.kept[_ASKING]
            return asked


def _told(model: Answerer, error: StepError) -> str:
    return f"{model.name}: {type(error).__name__}: {error}"


def _joined(failures: Sequence[tuple[Answerer, StepError]]) -> StepError:
    """Make one error of those of several models."""
    first = failures[0][1]
    if len(failures) == 1:
        return first
    worth = next((error for _, error in failures if not isinstance(error, HOPELESS)), first)
    told = "; ".join(_told(model, error) for model, error in failures)
    return type(worth)(told, status=worth.status, retry_after=worth.retry_after)
