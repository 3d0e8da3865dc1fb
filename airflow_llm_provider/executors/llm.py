"""``llm``: ask a chat model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import Self

from airflow_llm_provider.answers import parse_json
from airflow_llm_provider.clients.base import ChatRequest, ChatResponse, Message, Tool, ToolCall
from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.errors import ContentFilterError, InvalidOutput, SchemaMismatch
from airflow_llm_provider.executors.asking import Answerer, Remembered, ask_in_turn
from airflow_llm_provider.json_schema import JSONSchema, misfits, told
from airflow_llm_provider.workflow.durations import PositiveDuration
from airflow_llm_provider.workflow.values import to_text

__all__ = ["LLM", "LLMInputs"]

Text = Annotated[str, BeforeValidator(to_text)]
"""A text; another value is written as a template would write it, null as empty text."""

OptionalText = Annotated[str | None, BeforeValidator(to_text)]
"""The same for an input that need not be given."""


class AskedTool(BaseModel):
    """A call that a model has asked for, as ``metadata.tool_calls`` has it.

    Attributes:
        id: The provider's id.
        name: The function.
        arguments: Its arguments.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class ChatTurn(BaseModel):
    """One message of a conversation.

    Attributes:
        role: Who speaks; ``tool`` for a function's result.
        content: A text, or content parts in the provider's own form.
        tool_calls: What an assistant has asked for.
        tool_call_id: Of which call this is the result.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["system", "user", "assistant", "tool"]
    content: Text | list[dict[str, Any]] = ""
    tool_calls: list[AskedTool] = Field(default_factory=list)
    tool_call_id: str | None = None

    def message(self) -> Message:
        """Put it into the clients' form."""
        calls = tuple(ToolCall(call.id, call.name, call.arguments) for call in self.tool_calls)
        return Message(self.role, self.content, calls, self.tool_call_id)


def _unwrapped(value: Any) -> Any:
    # As OpenAI writes tools, and many copy it.
    is_wrapped = isinstance(value, dict) and value.get("type") == "function" and isinstance(value.get("function"), dict)
    return value["function"] if is_wrapped else value


class OfferedTool(BaseModel):
    """A function that the model may ask for; who reads the answer calls it.

    Attributes:
        name: Its name.
        description: What it is for.
        parameters: JSON Schema of its arguments.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: OptionalText = None
    parameters: JSONSchema = Field(default_factory=lambda: {"type": "object", "properties": {}})


class Caching(BaseModel):
    """How long an answer is good for the same question.

    Attributes:
        ttl: Time, in seconds or with a unit; what the settings say under ``cache.ttl`` when absent.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ttl: PositiveDuration | None = None


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
        tools: Functions that the model may ask for; what it asks for is in ``metadata.tool_calls``.
        tool_choice: ``auto``, ``none``, ``required``, or the name of the function that it has to ask for.
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
    tools: list[Annotated[OfferedTool, BeforeValidator(_unwrapped)]] = Field(default_factory=list)
    tool_choice: str | None = None
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
        if self.tool_choice is not None and not self.tools:
            raise ValueError("'tool_choice' needs 'tools'")
        return self

    def models(self) -> tuple[Answerer, ...]:
        """Give whom to ask, in this order."""
        return (Answerer.model_validate(self.model_dump(include={*Answerer.model_fields})), *self.fallbacks)

    def ttl(self, usual: float) -> float | None:
        """Give the seconds for which other steps may have the answer; None when they may not.

        Args:
            usual: What holds where the step names no time.
        """
        if isinstance(self.cache, Caching):
            return self.cache.ttl or usual
        return usual if self.cache else None

    def request(self) -> ChatRequest:
        """Put the question into the clients' form."""
        messages = [Message("system", self.system)] if self.system else []
        if self.messages is None:
            texts = [text for text in (self.prompt, self.document) if text is not None]
            messages.append(Message("user", "\n\n".join(texts)))
        else:
            messages += [turn.message() for turn in self.messages]
        return ChatRequest(
            model=self.model,
            messages=tuple(messages),
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            top_p=self.top_p,
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            seed=self.seed,
            stream=self.stream,
            tools=tuple(Tool(tool.name, tool.description, tool.parameters) for tool in self.tools),
            tool_choice=self.tool_choice,
            schema=self.output_schema,
            extra=self.extra_body,
        )


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
        request, models = inputs.request(), inputs.models()
        remembered = Remembered(context, models[0], request, inputs.ttl(context.runtime.settings.cache.ttl))
        asked = await remembered.find()
        is_new = asked is None
        if asked is None:
            corrected = replace(request, messages=(*request.messages, *context.kept.get(_CORRECTION, ())))
            asked = await ask_in_turn(context, corrected, models)
        answer = asked.answer
        text: Any = answer.text
        if inputs.output_schema is not None:
            # A model that asks for a function has not answered yet.
            text = None if answer.tool_calls else _read(answer, inputs.output_schema, context)
        if is_new:
            # Only now, so that an answer that cannot be used is asked for again.
            await remembered.keep(asked)
        usage = {
            "prompt_tokens": answer.usage.input_tokens,
            "completion_tokens": answer.usage.output_tokens,
            "total_tokens": answer.usage.total_tokens,
            "cached_tokens": answer.usage.cached_tokens,
            "reasoning_tokens": answer.usage.reasoning_tokens,
        }
        # An answer from the cache came whole.
        first = None if asked.cached else answer.first_token_seconds
        metadata = {
            "usage": usage,
            "finish_reason": answer.finish_reason,
            "cost_usd": asked.cost_usd,
            "latency_ms": round(asked.latency_ms, 3),
            "attempts": context.attempt,
            "cached": asked.cached,
            "id": answer.id,
            **({} if first is None else {"first_token_ms": round(first * 1000, 3)}),
            **({"tool_calls": [asdict(call) for call in answer.tool_calls]} if answer.tool_calls else {}),
        }
        return {
            "text": text,
            "model": answer.model,
            "tokens": answer.usage.total_tokens,
            "metadata": metadata,
            "usage": usage,
        }


_CORRECTION = "correction"
"""What a try leaves to the next one: its answer, and what was wrong with it."""


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
