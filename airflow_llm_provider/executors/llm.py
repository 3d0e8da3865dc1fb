"""``llm``: ask a chat model."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator
from typing_extensions import Self

from airflow_llm_provider.answers import parse_json
from airflow_llm_provider.clients.base import ChatRequest, ChatResponse, Message
from airflow_llm_provider.engine.cache import Cache
from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.engine.masking import hide
from airflow_llm_provider.engine.retry import HOPELESS
from airflow_llm_provider.errors import ContentFilterError, InvalidOutput, SchemaMismatch, StepError, TimeoutError
from airflow_llm_provider.json_schema import JSONSchema, misfits, told
from airflow_llm_provider.workflow.durations import parse_duration
from airflow_llm_provider.workflow.values import from_json, to_json, to_text

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


class Answerer(BaseModel):
    """A model that may answer.

    Attributes:
        provider: Which API.
        model: The provider's model name.
        connection: Airflow connection with the credentials; the provider's default connection when absent.
        base_url: Root of the API, for whatever speaks the provider's dialect.
        after: Errors of the model before it that it is asked after.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str
    model: str
    connection: str | None = None
    base_url: str | None = None
    after: frozenset[ErrorName] = TROUBLES

    @property
    def name(self) -> str:
        """Provider and model."""
        return f"{self.provider}/{self.model}"


class Caching(BaseModel):
    """How long an answer is good for the same question.

    Attributes:
        ttl: Time, in seconds or with a unit; what the settings say under ``cache.ttl`` when absent.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ttl: Annotated[float, BeforeValidator(parse_duration), Field(gt=0)] | None = None


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
        output_schema: JSON Schema that the answer must meet; the step then gives the value instead of a text.
        fallbacks: Models to ask, in this order, when the one before has failed.
        cache: Whether an answer may be given again for the same question, and for how long.
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
    output_schema: JSONSchema | None = None
    fallbacks: list[Answerer] = Field(default_factory=list)
    cache: bool | Caching = False
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
            schema=self.output_schema,
            extra=self.extra_body,
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """One answered call.

    Attributes:
        answer: What the model answered.
        cost_usd: The call's price in USD; None when the model's price is not known.
        latency_ms: Milliseconds from request to complete answer.
        provider: Who answered.
    """

    answer: ChatResponse
    cost_usd: float | None
    latency_ms: float
    provider: str


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
    return Asked(answer, cost, latency_ms, provider)


class LLM(Executor[LLMInputs]):
    """A question to a chat model, or to another one in its place."""

    outputs: ClassVar[tuple[str, ...]] = ("text", "model", "tokens", "metadata", "usage")
    Inputs = LLMInputs

    @classmethod
    def gives_text(cls, inputs: Mapping[str, Any]) -> bool:
        """Say that it does, unless it gives what a schema describes."""
        return "output_schema" not in inputs

    async def run(self, inputs: LLMInputs, context: StepContext) -> Mapping[str, Any]:
        """Ask; the answer's text, the model that gave it, its tokens, and the rest as ``metadata``.

        Raises:
            SchemaMismatch: The answer does not meet ``output_schema``. The next try shows the model what was wrong.
            StepError: The model failed, and those in its place did.
        """
        remembered = Remembered.of(inputs, context)
        asked = await remembered.find()
        cached = asked is not None
        if asked is None:
            asked = await _ask_in_turn(inputs, context)
        answer = asked.answer
        text = answer.text if inputs.output_schema is None else _read(answer, inputs.output_schema, context)
        if not cached:
            await remembered.keep(asked)
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
            "cached": cached,
            "id": answer.id,
        }
        return {
            "text": text,
            "model": answer.model,
            "tokens": answer.usage.total_tokens,
            "metadata": metadata,
            "usage": usage,
        }


class Remembered:
    """The answer to a question that may have been asked before.

    Args:
        cache: Where answers are kept; None when this one is not.
        key: Stands for everything that determines the answer.
        ttl: Seconds to keep it.
        context: The step that asks.
    """

    def __init__(self, cache: Cache | None, key: str, ttl: float, context: StepContext) -> None:
        self._cache, self._key, self._ttl, self._context = cache, key, ttl, context

    @classmethod
    def of(cls, inputs: LLMInputs, context: StepContext) -> Remembered:
        """Give what is remembered of a question; nothing unless the step wants it.

        Args:
            inputs: The question.
            context: The step that asks.
        """
        wanted = inputs.cache if isinstance(inputs.cache, Caching) else Caching() if inputs.cache else None
        cache = None if wanted is None else context.runtime.cache()
        if wanted is None or cache is None:
            return cls(None, "", 0, context)
        asked = [
            context.runtime.provider(inputs.provider),
            inputs.connection,
            inputs.base_url,
            asdict(inputs.request()),
        ]
        key = hashlib.sha256(to_json(asked).encode()).hexdigest()
        return cls(cache, key, wanted.ttl or context.runtime.settings.cache.ttl, context)

    async def find(self) -> Asked | None:
        """Give the answer, if there is one; it costs nothing."""
        if self._cache is None:
            return None
        started = time.perf_counter()
        try:
            text = await self._cache.get(self._key)
            if text is None:
                return None
            kept = from_json(text)
            answer = TypeAdapter(ChatResponse).validate_python(kept["answer"])
        except Exception as error:
            # A cache that is down makes a run slower and dearer, but never fails it.
            self._context.say(f"the cache cannot be read: {type(error).__name__}")
            return None
        self._context.meter.calling(kept["provider"], answer.model)
        return Asked(answer, 0.0, (time.perf_counter() - started) * 1000, kept["provider"])

    async def keep(self, asked: Asked) -> None:
        """Remember an answer.

        Args:
            asked: The answered call.
        """
        if self._cache is None:
            return
        kept = hide(
            from_json(to_json({"provider": asked.provider, "answer": asdict(asked.answer)})), self._context.secrets
        )
        try:
            await self._cache.put(self._key, to_json(kept), self._ttl)
        except Exception as error:
            self._context.say(f"the answer cannot be kept: {type(error).__name__}")


_ASKING, _CORRECTION = "asking", "correction"
"""What a try leaves to the next one: the number of the model that it was cut off at, and what was wrong with the answer."""


async def _ask_in_turn(inputs: LLMInputs, context: StepContext) -> Asked:
    """Ask the step's model, and when it fails the next one that is meant for such a failure.

    Raises:
        StepError: All that were asked failed. Of their errors it is the first that is worth another try, else the first.
    """
    request = inputs.request()
    request = replace(request, messages=(*request.messages, *context.kept.get(_CORRECTION, ())))
    models: tuple[Answerer, ...] = (Answerer(**inputs.model_dump(include={*Answerer.model_fields})), *inputs.fallbacks)

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
                replace(request, model=model.model),
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


def _read(answer: ChatResponse, schema: Mapping[str, Any], context: StepContext) -> Any:
    """Read an answer that must meet a schema.

    Raises:
        SchemaMismatch: It does not; what was wrong is kept for the next try.
        ContentFilterError: The model refused.
    """
    if answer.finish_reason == "content_filter":
        raise ContentFilterError(f"the model refused: {answer.text[:200]!r}")
    try:
        value = parse_json(answer.text)
        found = misfits(value, schema)
        problem = f"it does not meet the schema: {told(found)}" if found else None
    except InvalidOutput as error:
        value, problem = None, str(error)
    if problem is None:
        return value
    if answer.finish_reason == "length":
        problem = f"it was cut off at 'max_tokens'; {problem}"
    correction = f"That answer cannot be used: {problem}. Answer again, with JSON only."
    context.kept[_CORRECTION] = (Message("assistant", answer.text or "(nothing)"), Message("user", correction))
    # There is nothing to wait for.
    raise SchemaMismatch(f"{answer.model}'s answer cannot be used: {problem}", retry_after=0)
