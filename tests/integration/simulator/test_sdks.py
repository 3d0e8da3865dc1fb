"""The vendors' own SDKs, unchanged, against the simulator; and our clients beside them: same requests, same answers."""

from __future__ import annotations

import base64
import datetime
import json
import struct
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import anthropic
import cohere
import httpx
import openai
import pytest
from pydantic import BaseModel, Field

from airflow_llm_provider.clients import chat_client, embedding_client
from airflow_llm_provider.clients.base import (
    ChatRequest,
    ChatResponse,
    Credentials,
    EmbeddingRequest,
    Message,
    Purpose,
)
from airflow_llm_provider.simulator import SimulatorServer
from airflow_llm_provider.simulator.faults import Fault

KEY = "sk-test-1234567890"
GPT = "gpt-4o-mini"
CLAUDE = "claude-sonnet-5-5"
COMMAND = "command-a-03-2025"


def asking(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def openai_sdk(server: SimulatorServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.openai_base_url, api_key=KEY, max_retries=0) as sdk:
        yield sdk


@pytest.fixture
async def async_openai(server: SimulatorServer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=server.openai_base_url, api_key=KEY, max_retries=0) as sdk:
        yield sdk


@pytest.fixture
def anthropic_sdk(server: SimulatorServer) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server.anthropic_base_url, api_key=KEY, max_retries=0) as sdk:
        yield sdk


@pytest.fixture
async def async_anthropic(server: SimulatorServer) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=server.anthropic_base_url, api_key=KEY, max_retries=0) as sdk:
        yield sdk


@pytest.fixture
async def async_cohere(server: SimulatorServer) -> AsyncIterator[cohere.AsyncClientV2]:
    async with httpx.AsyncClient() as http:
        yield cohere.AsyncClientV2(api_key=KEY, base_url=server.base_url, httpx_client=http)


# ------------------------------------------------------------------ answers


def test_openai_chat(openai_sdk: openai.OpenAI) -> None:
    answer = openai_sdk.chat.completions.create(model=GPT, messages=asking("sentiment of this"))  # type: ignore[arg-type]
    choice = answer.choices[0]
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "positive", "stop")
    assert (answer.object, answer.model) == ("chat.completion", GPT)
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


async def test_openai_chat_async(async_openai: openai.AsyncOpenAI) -> None:
    answer = await async_openai.chat.completions.create(model=GPT, messages=asking("sentiment"))  # type: ignore[arg-type]
    assert answer.choices[0].message.content == "positive"


def test_openai_answer_is_cut_at_the_limit(openai_sdk: openai.OpenAI) -> None:
    answer = openai_sdk.chat.completions.create(model=GPT, messages=asking("long"), max_tokens=3)  # type: ignore[arg-type]
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("word word wo", "length")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


@pytest.mark.parametrize("usage", [False, True])
def test_openai_stream(openai_sdk: openai.OpenAI, usage: bool) -> None:
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if usage else {}
    chunks = list(
        openai_sdk.chat.completions.create(model=GPT, messages=asking("unicode"), stream=True, **options)  # type: ignore[call-overload]
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "Zürich\u2028→\u0085 日本語 👍 \x0b\x1c end"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert [chunk.usage is not None for chunk in chunks].count(True) == int(usage)
    if usage:
        # The API sends `usage: null` in all chunks but the last, and no choice in that.
        assert chunks[-1].choices == []
        assert chunks[-1].usage.completion_tokens > 0
        assert all("usage" in chunk.model_fields_set for chunk in chunks)
    assert len({chunk.id for chunk in chunks}) == 1


async def test_openai_stream_async(async_openai: openai.AsyncOpenAI) -> None:
    stream = await async_openai.chat.completions.create(model=GPT, messages=asking("sentiment"), stream=True)  # type: ignore[arg-type]
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "positive"


def test_openai_structured_output(openai_sdk: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}
    answer = openai_sdk.chat.completions.create(
        model=GPT,
        messages=asking("who"),  # type: ignore[arg-type]
        response_format={"type": "json_schema", "json_schema": {"name": "person", "schema": schema}},
    )
    assert json.loads(answer.choices[0].message.content or "") == {"name": "name", "age": 1}


class Person(BaseModel):
    name: str
    born: datetime.date
    likes: Literal["tea", "coffee"]
    rating: Annotated[int, Field(ge=2, le=5)]
    friend: Person | None


async def test_structured_output_of_nested_models(
    async_openai: openai.AsyncOpenAI, async_anthropic: anthropic.AsyncAnthropic
) -> None:
    theirs = await async_openai.chat.completions.parse(model=GPT, messages=asking("who"), response_format=Person)  # type: ignore[arg-type]
    person = theirs.choices[0].message.parsed
    assert person is not None
    assert (person.name, person.born, person.likes, person.rating) == ("name", datetime.date(2026, 1, 31), "tea", 2)
    answer = await async_anthropic.messages.create(
        model=CLAUDE,
        max_tokens=100,
        messages=asking("who"),  # type: ignore[arg-type]
        output_config={"format": {"type": "json_schema", "schema": Person.model_json_schema()}},
    )
    assert Person.model_validate_json(answer.content[0].text).likes == "tea"  # type: ignore[union-attr]


def test_json_mode(openai_sdk: openai.OpenAI) -> None:
    answer = openai_sdk.chat.completions.create(
        model=GPT,
        messages=asking("who"),  # type: ignore[arg-type]
        response_format={"type": "json_object"},
    )
    assert list(json.loads(answer.choices[0].message.content or "")) == ["answer"]


def test_answers_are_numbered(openai_sdk: openai.OpenAI, anthropic_sdk: anthropic.Anthropic) -> None:
    chat = openai_sdk.chat.completions.create(model=GPT, messages=asking("x"))  # type: ignore[arg-type]
    embeddings = openai_sdk.embeddings.create(model="text-embedding-3-small", input="x")
    message = anthropic_sdk.messages.create(model=CLAUDE, max_tokens=9, messages=asking("x"))  # type: ignore[arg-type]
    ids = [chat._request_id, embeddings._request_id, message._request_id]
    assert len(set(ids)) == 3
    assert all(ids)


def test_openai_embeddings(openai_sdk: openai.OpenAI) -> None:
    def ask(**options: Any) -> Any:
        return openai_sdk.embeddings.create(model="text-embedding-3-small", input=["one", "two"], **options)

    usual, floats = ask(), ask(encoding_format="float")
    assert [item.embedding for item in usual.data] == [item.embedding for item in floats.data]
    assert [item.index for item in usual.data] == [0, 1]
    assert usual.data[0].embedding != usual.data[1].embedding
    packed = ask(encoding_format="base64").data[0].embedding
    assert list(struct.unpack("<1536f", base64.b64decode(packed))) == floats.data[0].embedding
    assert sum(number * number for number in floats.data[0].embedding) == pytest.approx(1, abs=1e-5)
    assert usual.usage.total_tokens == usual.usage.prompt_tokens == 2


@pytest.mark.parametrize(
    ("model", "options", "length"),
    [
        ("text-embedding-3-small", {}, 1536),
        ("text-embedding-3-large", {}, 3072),
        ("text-embedding-3-large", {"dimensions": 256}, 256),
        ("text-embedding-3-small", {"dimensions": 8, "encoding_format": "float"}, 8),
    ],
)
async def test_openai_embedding_dimensions(
    async_openai: openai.AsyncOpenAI, model: str, options: dict[str, Any], length: int
) -> None:
    answer = await async_openai.embeddings.create(model=model, input="tea", **options)
    assert [len(item.embedding) for item in answer.data] == [length]


def test_openai_embeddings_of_tokens(openai_sdk: openai.OpenAI) -> None:
    def count(given: Any) -> int:
        return len(openai_sdk.embeddings.create(model="text-embedding-3-small", input=given, dimensions=2).data)

    assert (count([1, 2, 3]), count([[1, 2], [3]])) == (1, 2)


def test_model_lists(openai_sdk: openai.OpenAI, anthropic_sdk: anthropic.Anthropic) -> None:
    assert GPT in [model.id for model in openai_sdk.models.list()]
    claude = [model.id for model in anthropic_sdk.models.list()]
    assert CLAUDE in claude
    assert all(name.startswith("claude") for name in claude)


def test_anthropic_chat(anthropic_sdk: anthropic.Anthropic) -> None:
    answer = anthropic_sdk.messages.create(
        model=CLAUDE,
        max_tokens=100,
        system="be short",
        messages=asking("sentiment of this"),  # type: ignore[arg-type]
    )
    assert (answer.type, answer.role, answer.model) == ("message", "assistant", CLAUDE)
    assert [block.to_dict() for block in answer.content] == [{"type": "text", "text": "positive"}]
    assert (answer.stop_reason, answer.stop_sequence) == ("end_turn", None)
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens == 2


async def test_anthropic_chat_async(async_anthropic: anthropic.AsyncAnthropic) -> None:
    answer = await async_anthropic.messages.create(model=CLAUDE, max_tokens=3, messages=asking("long"))  # type: ignore[arg-type]
    assert (answer.content[0].text, answer.stop_reason) == ("word word wo", "max_tokens")  # type: ignore[union-attr]


def test_anthropic_stream(anthropic_sdk: anthropic.Anthropic) -> None:
    with anthropic_sdk.messages.stream(model=CLAUDE, max_tokens=100, messages=asking("unicode")) as stream:  # type: ignore[arg-type]
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == final.content[0].text == "Zürich\u2028→\u0085 日本語 👍 \x0b\x1c end"  # type: ignore[union-attr]
    assert final.stop_reason == "end_turn"
    plain = anthropic_sdk.messages.create(model=CLAUDE, max_tokens=100, messages=asking("unicode"))  # type: ignore[arg-type]
    assert (final.id, final.usage.input_tokens, final.usage.output_tokens) == (
        plain.id,
        plain.usage.input_tokens,
        plain.usage.output_tokens,
    )


async def test_anthropic_stream_events_async(async_anthropic: anthropic.AsyncAnthropic) -> None:
    stream = await async_anthropic.messages.create(
        model=CLAUDE, max_tokens=9, messages=asking("sentiment"), stream=True
    )  # type: ignore[arg-type]
    assert [event.type async for event in stream] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_anthropic_count_tokens(anthropic_sdk: anthropic.Anthropic) -> None:
    messages: Any = asking("sentiment of this")
    counted = anthropic_sdk.messages.count_tokens(model=CLAUDE, system="be short", messages=messages)
    answer = anthropic_sdk.messages.create(model=CLAUDE, max_tokens=9, system="be short", messages=messages)
    assert counted.input_tokens == answer.usage.input_tokens > 0


# ------------------------------------------------------------------- errors

STATUSES = [
    (400, "BadRequestError"),
    (401, "AuthenticationError"),
    (403, "PermissionDeniedError"),
    (404, "NotFoundError"),
    (409, "ConflictError"),
    (422, "UnprocessableEntityError"),
    (429, "RateLimitError"),
    (500, "InternalServerError"),
    (503, "InternalServerError"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "name"), STATUSES)
def test_openai_errors(
    server: SimulatorServer, openai_sdk: openai.OpenAI, status: int, name: str, stream: bool
) -> None:
    server.simulator.faults.add([Fault(status=status, retry_after=7)])
    with pytest.raises(getattr(openai, name)) as caught:
        openai_sdk.chat.completions.create(model=GPT, messages=asking("x"), stream=stream)  # type: ignore[call-overload]
    error: openai.APIStatusError = caught.value
    assert (error.status_code, error.response.headers["retry-after"]) == (status, "7")
    assert isinstance(error.body, dict)
    assert set(error.body) == {"message", "type", "param", "code"}
    assert error.request_id


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        (400, "BadRequestError", "invalid_request_error"),
        (401, "AuthenticationError", "authentication_error"),
        (403, "PermissionDeniedError", "permission_error"),
        (404, "NotFoundError", "not_found_error"),
        (413, "ContentTooLargeError", "request_too_large"),
        (429, "RateLimitError", "rate_limit_error"),
        (500, "InternalServerError", "api_error"),
        (529, "OverloadedError", "overloaded_error"),
    ],
)
def test_anthropic_errors(
    server: SimulatorServer, anthropic_sdk: anthropic.Anthropic, status: int, name: str, kind: str, stream: bool
) -> None:
    server.simulator.faults.add([Fault(status=status, retry_after=7)])
    with pytest.raises(anthropic.APIStatusError) as caught:
        anthropic_sdk.messages.create(model=CLAUDE, max_tokens=9, messages=asking("x"), stream=stream)  # type: ignore[call-overload]
    error = caught.value
    assert type(error).__name__ == name
    assert (error.status_code, error.response.headers["retry-after"]) == (status, "7")
    assert isinstance(error.body, dict)
    assert (error.body["type"], error.body["error"]["type"]) == ("error", kind)
    assert error.request_id == error.body["request_id"]


def test_a_wrong_key(server: SimulatorServer) -> None:
    with openai.OpenAI(base_url=server.openai_base_url, api_key="invalid", max_retries=0) as sdk:
        with pytest.raises(openai.AuthenticationError) as caught:
            sdk.chat.completions.create(model=GPT, messages=asking("x"))  # type: ignore[arg-type]
        assert caught.value.code == "invalid_api_key"
        with pytest.raises(openai.AuthenticationError):
            sdk.models.list()
        with pytest.raises(openai.AuthenticationError):
            sdk.embeddings.create(model="m", input="x")
    with anthropic.Anthropic(base_url=server.anthropic_base_url, api_key="invalid", max_retries=0) as claude:
        with pytest.raises(anthropic.AuthenticationError):
            claude.messages.create(model=CLAUDE, max_tokens=9, messages=asking("x"))  # type: ignore[arg-type]
        with pytest.raises(anthropic.AuthenticationError):
            claude.messages.count_tokens(model=CLAUDE, messages=asking("x"))  # type: ignore[arg-type]


def test_an_unknown_model(openai_sdk: openai.OpenAI, anthropic_sdk: anthropic.Anthropic) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        openai_sdk.chat.completions.create(model="missing-model", messages=asking("x"))  # type: ignore[arg-type]
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        openai_sdk.embeddings.create(model="missing-model", input="x")
    with pytest.raises(anthropic.NotFoundError):
        anthropic_sdk.messages.create(model="missing-model", max_tokens=9, messages=asking("x"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "parameters",
    [
        {"messages": []},
        {"messages": asking("x"), "temperature": 3},
        {"messages": ["x"]},
        {"messages": [{"role": "nobody", "content": "x"}]},
        {"messages": asking("x"), "stream": True, "stream_options": 1},
        {"messages": asking("x"), "max_tokens": "many"},
    ],
    ids=str,
)
def test_openai_refuses(openai_sdk: openai.OpenAI, parameters: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError):
        openai_sdk.chat.completions.create(model=GPT, **parameters)


@pytest.mark.parametrize(
    "parameters",
    [
        {"messages": []},
        {"messages": [{"role": "nobody", "content": "x"}]},
        {"messages": asking("x"), "extra_body": {"temperature": 0.5}},
        {
            "messages": asking("x"),
            "extra_body": {"temperature": 1.5},
            "extra_headers": {"anthropic-version": "2023-06-01"},
        },
        {"messages": asking("x"), "max_tokens": 0},
        {"messages": ["x"]},
    ],
    ids=str,
)
def test_anthropic_refuses(anthropic_sdk: anthropic.Anthropic, parameters: dict[str, Any]) -> None:
    with pytest.raises(anthropic.BadRequestError):
        anthropic_sdk.messages.create(model=CLAUDE, **{"max_tokens": 9, **parameters})


@pytest.mark.parametrize(
    "parameters", [{"input": []}, {"input": ""}, {"input": "x", "dimensions": 0}, {"input": [{}]}], ids=str
)
def test_openai_refuses_to_embed(openai_sdk: openai.OpenAI, parameters: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError):
        openai_sdk.embeddings.create(model="text-embedding-3-small", **parameters)


DROPS = [Fault(drop="before"), Fault(drop="middle")]


@pytest.mark.parametrize("fault", DROPS, ids=["before", "middle"])
def test_dropped_connections(
    server: SimulatorServer, openai_sdk: openai.OpenAI, anthropic_sdk: anthropic.Anthropic, fault: Fault
) -> None:
    server.simulator.faults.add([fault] * 3)
    with pytest.raises(openai.APIConnectionError):
        openai_sdk.chat.completions.create(model=GPT, messages=asking("x"))  # type: ignore[arg-type]
    with pytest.raises(anthropic.APIConnectionError):
        anthropic_sdk.messages.create(model=CLAUDE, max_tokens=9, messages=asking("x"))  # type: ignore[arg-type]
    with pytest.raises(openai.APIConnectionError):
        openai_sdk.embeddings.create(model="text-embedding-3-small", input="x")
    # The connection is gone, the server is not.
    assert openai_sdk.chat.completions.create(model=GPT, messages=asking("sentiment")).choices  # type: ignore[arg-type]
    assert server.simulator.answered == 1


@pytest.mark.parametrize("fault", DROPS, ids=["before", "middle"])
async def test_dropped_connections_async(
    server: SimulatorServer, async_openai: openai.AsyncOpenAI, async_anthropic: anthropic.AsyncAnthropic, fault: Fault
) -> None:
    server.simulator.faults.add([fault] * 2)
    with pytest.raises(openai.APIConnectionError):
        await async_openai.chat.completions.create(model=GPT, messages=asking("x"))  # type: ignore[arg-type]
    with pytest.raises(anthropic.APIConnectionError):
        await async_anthropic.messages.create(model=CLAUDE, max_tokens=9, messages=asking("x"))  # type: ignore[arg-type]


def test_a_stream_that_breaks_off(server: SimulatorServer, openai_sdk: openai.OpenAI) -> None:
    server.simulator.faults.add([Fault(drop="middle")])
    stream = openai_sdk.chat.completions.create(model=GPT, messages=asking("x"), stream=True)  # type: ignore[arg-type]
    seen: list[str] = []
    with pytest.raises(openai.APIConnectionError):
        seen.extend(chunk.id for chunk in stream)
    assert seen


def test_a_malformed_body(
    server: SimulatorServer, openai_sdk: openai.OpenAI, anthropic_sdk: anthropic.Anthropic
) -> None:
    server.simulator.faults.add([Fault(malformed=True)] * 3)
    with pytest.raises(ValueError, match="Unterminated string"):
        openai_sdk.chat.completions.create(model=GPT, messages=asking("x"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Unterminated string"):
        anthropic_sdk.messages.create(model=CLAUDE, max_tokens=9, messages=asking("x"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Unterminated string"):
        list(openai_sdk.chat.completions.create(model=GPT, messages=asking("x"), stream=True))  # type: ignore[arg-type]


# ------------------------------------------------------ our clients beside them


@dataclass(frozen=True)
class Case:
    """A request in our form, and the same for each SDK."""

    id: str
    text: str
    ours: dict[str, Any] = field(default_factory=dict)
    openai: dict[str, Any] = field(default_factory=dict)
    anthropic: dict[str, Any] = field(default_factory=dict)
    system: str | None = None
    openai_model: str = GPT


PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}

CASES = [
    Case("plain", "sentiment of this", anthropic={"max_tokens": 1024}),
    Case("unicode", "unicode", anthropic={"max_tokens": 1024}),
    Case("from the question", "tell me of tea", anthropic={"max_tokens": 1024}),
    Case("cut", "long", {"max_tokens": 3}, {"max_tokens": 3}, {"max_tokens": 3}),
    Case("empty", "empty", anthropic={"max_tokens": 1024}),
    Case("object", "object", anthropic={"max_tokens": 1024}),
    Case(
        "all parameters",
        "sentiment",
        {"temperature": 0.0, "max_tokens": 50, "top_p": 0.5, "stop": ("END", "STOP")},
        {"temperature": 0.0, "max_tokens": 50, "top_p": 0.5, "stop": ["END", "STOP"]},
        {
            "max_tokens": 50,
            "stop_sequences": ["END", "STOP"],
            # The SDK knows these no more; the version that our client sends takes them.
            "extra_body": {"temperature": 0.0, "top_p": 0.5},
            "extra_headers": {"anthropic-version": "2023-06-01"},
        },
        system="be short",
    ),
    Case(
        "schema",
        "who",
        {"schema": PERSON, "max_tokens": 50},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": PERSON, "strict": True},
            },
            "max_tokens": 50,
        },
        {"output_config": {"format": {"type": "json_schema", "schema": PERSON}}, "max_tokens": 50},
    ),
]


def ours(provider: str, case: Case, stream: bool) -> ChatRequest:
    messages = [Message("system", case.system)] if case.system else []
    model = case.openai_model if provider == "openai" else CLAUDE
    return ChatRequest(model, (*messages, Message("user", case.text)), stream=stream, **case.ours)


async def ask(server: SimulatorServer, provider: str, request: ChatRequest) -> ChatResponse:
    base_url = server.openai_base_url if provider == "openai" else server.base_url
    client = chat_client(provider, Credentials(base_url, KEY))
    try:
        return await client.chat(request)
    finally:
        await client.aclose()


def two_requests(server: SimulatorServer) -> tuple[dict[str, Any], dict[str, Any]]:
    first, second = server.simulator.requests
    assert first["path"] == second["path"]
    assert first["headers"]["content-type"] == second["headers"]["content-type"]
    return first["body"], second["body"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_openai_beside_ours(
    server: SimulatorServer, async_openai: openai.AsyncOpenAI, case: Case, stream: bool
) -> None:
    mine = await ask(server, "openai", ours("openai", case, stream))
    messages: Any = ([{"role": "system", "content": case.system}] if case.system else []) + asking(case.text)
    if stream:
        chunks = [
            chunk
            async for chunk in await async_openai.chat.completions.create(
                model=case.openai_model,
                messages=messages,
                stream=True,
                stream_options={"include_usage": True},
                **case.openai,
            )
        ]
        choices = [choice for chunk in chunks for choice in chunk.choices]
        text = "".join(choice.delta.content or "" for choice in choices)
        finish_reason, theirs, usage = choices[-1].finish_reason, chunks[0], chunks[-1].usage
    else:
        answer = await async_openai.chat.completions.create(model=case.openai_model, messages=messages, **case.openai)
        text, finish_reason = answer.choices[0].message.content or "", answer.choices[0].finish_reason
        theirs, usage = answer, answer.usage  # type: ignore[assignment]
    assert (mine.text, mine.finish_reason, mine.id, mine.model) == (text, finish_reason, theirs.id, theirs.model)
    assert usage is not None
    assert (mine.usage.input_tokens, mine.usage.output_tokens) == (usage.prompt_tokens, usage.completion_tokens)
    assert (mine.first_token_seconds is not None) == (stream and bool(text))
    first, second = two_requests(server)
    assert first == second


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_anthropic_beside_ours(
    server: SimulatorServer, async_anthropic: anthropic.AsyncAnthropic, case: Case, stream: bool
) -> None:
    mine = await ask(server, "anthropic", ours("anthropic", case, stream))
    parameters: Any = {"model": CLAUDE, "messages": asking(case.text), **case.anthropic}
    if case.system:
        parameters["system"] = case.system
    if stream:
        async with async_anthropic.messages.stream(**parameters) as events:
            theirs = await events.get_final_message()
    else:
        theirs = await async_anthropic.messages.create(**parameters)
    text = "".join(block.text for block in theirs.content if block.type == "text")
    reasons = {"end_turn": "stop", "max_tokens": "length"}
    assert (mine.text, mine.id, mine.model) == (text, theirs.id, theirs.model)
    assert mine.finish_reason == reasons[theirs.stop_reason or ""]
    assert (mine.usage.input_tokens, mine.usage.output_tokens) == (
        theirs.usage.input_tokens,
        theirs.usage.output_tokens,
    )
    first, second = two_requests(server)
    assert first == second


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("form", ["/", "/openai/v1/"])
async def test_azure_beside_ours(server: SimulatorServer, form: str, stream: bool) -> None:
    client = chat_client("azure", Credentials(f"{server.base_url}{form.removesuffix('/')}", KEY))
    mine = await client.chat(ChatRequest("my gpt", (Message("user", "sentiment"),), stream=stream))
    await client.aclose()
    sdk = openai.AsyncAzureOpenAI(api_key=KEY, api_version="2024-10-21", azure_endpoint=server.base_url, max_retries=0)
    messages: Any = asking("sentiment")
    if form == "/":
        theirs = await sdk.chat.completions.create(model="my gpt", messages=messages)
        first, second = server.simulator.requests
        assert first["path"] == second["path"] == "/openai/deployments/my gpt/chat/completions"
        assert first["query"] == second["query"] == "api-version=2024-10-21"
        assert mine.text == theirs.choices[0].message.content
        if not stream:
            assert first["body"] == second["body"]
    else:
        assert [request["path"] for request in server.simulator.requests] == ["/openai/v1/chat/completions"]
        assert mine.text == "positive"
    await sdk.close()


COHERE_PARAMETERS: Mapping[str, dict[str, Any]] = {
    "cut": {"max_tokens": 3},
    "all parameters": {"temperature": 0.0, "max_tokens": 50, "p": 0.5, "stop_sequences": ["END", "STOP"]},
    "schema": {"response_format": {"type": "json_object", "json_schema": PERSON}, "max_tokens": 50},
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_cohere_beside_ours(
    server: SimulatorServer, async_cohere: cohere.AsyncClientV2, case: Case, stream: bool
) -> None:
    request = replace(ours("cohere", case, stream), model=COMMAND)
    mine = await ask(server, "cohere", request)
    messages: Any = ([{"role": "system", "content": case.system}] if case.system else []) + asking(case.text)
    parameters: Any = {"model": COMMAND, "messages": messages, **COHERE_PARAMETERS.get(case.id, {})}
    if stream:
        events = [event async for event in async_cohere.chat_stream(**parameters)]
        pieces = [event.delta.message.content.text for event in events if event.type == "content-delta"]  # type: ignore[union-attr]
        text, theirs = "".join(filter(None, pieces)), events[-1].delta  # type: ignore[union-attr]
        answer_id = events[0].id  # type: ignore[union-attr]
    else:
        answer = await async_cohere.chat(**parameters)
        text = "".join(part.text for part in answer.message.content or [])  # type: ignore[union-attr]
        theirs, answer_id = answer, answer.id  # type: ignore[assignment]
    assert (mine.text, mine.id) == (text, answer_id)
    assert mine.finish_reason == {"COMPLETE": "stop", "MAX_TOKENS": "length"}[str(theirs.finish_reason)]  # type: ignore[union-attr]
    billed = theirs.usage.billed_units  # type: ignore[union-attr]
    assert (mine.usage.input_tokens, mine.usage.output_tokens) == (billed.input_tokens, billed.output_tokens)  # type: ignore[union-attr]
    first, second = two_requests(server)
    assert first == second


@pytest.mark.parametrize("purpose", ["document", "query"])
async def test_cohere_embeddings_beside_ours(
    server: SimulatorServer, async_cohere: cohere.AsyncClientV2, purpose: Purpose
) -> None:
    client = embedding_client("cohere", Credentials(server.base_url, KEY))
    mine = await client.embed(EmbeddingRequest("embed-v4.0", ("tea", "coffee"), 8, purpose))
    await client.aclose()
    theirs = await async_cohere.embed(
        model="embed-v4.0",
        texts=["tea", "coffee"],
        input_type=f"search_{purpose}",
        embedding_types=["float"],
        output_dimension=8,
    )
    assert list(mine.vectors) == theirs.embeddings.float_
    assert mine.usage.input_tokens == theirs.meta.billed_units.input_tokens  # type: ignore[union-attr]
    first, second = two_requests(server)
    assert first == second


async def test_a_reasoning_model_gets_its_own_limit(server: SimulatorServer, async_openai: openai.AsyncOpenAI) -> None:
    case = Case("o", "sentiment", {"max_tokens": 9, "seed": 4}, openai_model="o3-mini")
    await ask(server, "openai", ours("openai", case, stream=False))
    await async_openai.chat.completions.create(
        model="o3-mini",
        messages=asking("sentiment"),
        max_completion_tokens=9,
        seed=4,  # type: ignore[arg-type]
    )
    first, second = two_requests(server)
    assert first == second


async def test_content_parts_and_further_fields(
    server: SimulatorServer, async_openai: openai.AsyncOpenAI, async_anthropic: anthropic.AsyncAnthropic
) -> None:
    parts: Any = [{"type": "text", "text": "sentiment"}]
    request = ChatRequest(GPT, (Message("user", parts),), extra={"user": "ann", "metadata": {"a": "b"}})
    mine = await ask(server, "openai", request)
    theirs = await async_openai.chat.completions.create(
        model=GPT, messages=[{"role": "user", "content": parts}], user="ann", metadata={"a": "b"}
    )
    assert mine.text == theirs.choices[0].message.content == "positive"
    first, second = two_requests(server)
    assert first == second
    server.simulator.reset()
    await ask(server, "anthropic", ChatRequest(CLAUDE, (Message("user", parts),), extra={"top_k": 5}))
    await async_anthropic.messages.create(
        model=CLAUDE,
        max_tokens=1024,
        messages=[{"role": "user", "content": parts}],
        extra_body={"top_k": 5},
        extra_headers={"anthropic-version": "2023-06-01"},
    )
    first, second = two_requests(server)
    assert first == second
