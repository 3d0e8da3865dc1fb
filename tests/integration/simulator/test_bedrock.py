"""The client of AWS Bedrock; boto3, which it calls, is the vendor's own SDK."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_llm_provider import errors
from airflow_llm_provider.clients import bedrock, chat_client, embedding_client
from airflow_llm_provider.clients.base import (
    ChatRequest,
    ChatResponse,
    Credentials,
    EmbeddingRequest,
    EmbeddingResponse,
    Message,
    Purpose,
    ToolCall,
    Usage,
)
from airflow_llm_provider.hooks.llm import connection_credentials
from airflow_llm_provider.simulator import SimulatorServer
from airflow_llm_provider.simulator.faults import Fault

KEY = "secret-access-key-0123456789"
MODEL = "anthropic.claude-sonnet-4-5-20250929-v1:0"
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
STRICT = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


@pytest.fixture(autouse=True)
def no_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def credentials(server: SimulatorServer, login: str = "AKIAEXAMPLE", **options: Any) -> Credentials:
    return Credentials(server.base_url, KEY, options={"login": login, "region_name": "eu-central-1", **options})


async def ask(
    server: SimulatorServer, *messages: Message, reached: Credentials | None = None, **options: Any
) -> ChatResponse:
    client = chat_client("bedrock", reached or credentials(server))
    try:
        model = options.pop("model", MODEL)
        return await client.chat(ChatRequest(model, messages or (Message("user", "sentiment"),), **options))
    finally:
        await client.aclose()


@STREAM
@pytest.mark.parametrize("text", ["sentiment", "unicode", "empty", "object", "tell me of tea"])
async def test_answers(server: SimulatorServer, text: str, stream: bool) -> None:
    answer = await ask(server, Message("system", "Be brief."), Message("user", text), stream=stream)
    other = chat_client("openai", Credentials(server.openai_base_url, KEY))
    expected = await other.chat(ChatRequest(MODEL, (Message("system", "Be brief."), Message("user", text))))
    await other.aclose()
    assert (answer.text, answer.usage, answer.model) == (expected.text, expected.usage, MODEL)
    assert answer.finish_reason == "stop"
    assert (answer.first_token_seconds is not None) == (stream and bool(answer.text))


@STREAM
async def test_what_is_sent(server: SimulatorServer, stream: bool) -> None:
    answer = await ask(
        server,
        Message("system", "Be brief."),
        Message("user", [{"type": "text", "text": "long"}]),
        stream=stream,
        temperature=0.5,
        max_tokens=3,
        top_p=0.9,
        stop=("END",),
        extra={"additionalModelRequestFields": {"top_k": 5}},
    )
    assert answer.finish_reason == "length"
    [request] = server.simulator.requests
    assert request["path"].endswith("/converse-stream" if stream else "/converse")
    assert request["body"] == {
        "messages": [{"role": "user", "content": [{"text": "long"}]}],
        "system": [{"text": "Be brief."}],
        "inferenceConfig": {"maxTokens": 3, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]},
        "additionalModelRequestFields": {"top_k": 5},
    }


async def test_schemas(server: SimulatorServer) -> None:
    native = await ask(server, Message("user", "who"), schema=STRICT)
    assert json.loads(native.text) == {"a": "a"}
    await ask(server, Message("user", "who"), schema=STRICT, model="amazon.nova-lite-v1:0")
    await ask(server, Message("user", "who"), schema={"type": "object"})
    for request in list(server.simulator.requests)[1:]:
        assert "outputConfig" not in request["body"]
        assert request["body"]["system"][0]["text"].startswith("Answer with JSON only")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(status=429, retry_after=2), errors.RateLimitError),
        (Fault(status=503), errors.ServiceUnavailable),
        (Fault(status=500), errors.ServiceUnavailable),
        (Fault(status=424), errors.ServiceUnavailable),
        (Fault(status=408), errors.TimeoutError),
        (Fault(status=403), errors.AuthenticationError),
        (Fault(status=404), errors.ModelNotFound),
        (Fault(status=400), errors.InvalidRequest),
        (Fault(status=400, body={"message": "Input is too long for requested model."}), errors.ContextLengthError),
        (Fault(drop="before"), errors.ConnectionError),
        (Fault(drop="middle"), errors.ConnectionError),
        (Fault(malformed=True), errors.ConnectionError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
@STREAM
async def test_what_goes_wrong(server: SimulatorServer, fault: Fault, error: type[Exception], stream: bool) -> None:
    server.simulator.faults.add([fault])
    with pytest.raises(error) as caught:
        await ask(server, stream=stream)
    assert type(caught.value) is error
    assert KEY not in str(caught.value)
    if fault.retry_after:
        assert caught.value.retry_after == 2  # type: ignore[attr-defined]


async def test_credentials(server: SimulatorServer) -> None:
    with pytest.raises(errors.AuthenticationError):
        await ask(server, reached=credentials(server, "invalid"))
    with pytest.raises(errors.ConfigurationError, match=r"NoRegionError|must specify a region"):
        await ask(server, reached=Credentials(server.base_url, KEY, options={"login": "x"}))
    with pytest.raises(errors.ConfigurationError, match="add an Airflow connection 'bedrock_default'"):
        await ask(server, reached=Credentials(server.base_url, options={"region_name": "eu-central-1"}))
    with pytest.raises(errors.ConfigurationError, match="'role_arn' is not followed"):
        chat_client("bedrock", credentials(server, role_arn="arn:aws:iam::1:role/x"))


async def test_an_airflow_connection_to_aws(server: SimulatorServer) -> None:
    extra = {"region_name": "eu-central-1", "endpoint_url": server.base_url, "aws_session_token": "token-0123456789"}
    connection = Connection(conn_id="c", conn_type="aws", login="AKIAEXAMPLE", password=KEY, extra=json.dumps(extra))
    found = connection_credentials(connection)
    assert "token-0123456789" not in repr(found)
    assert (await ask(server, reached=found)).text == "positive"


async def embed(server: SimulatorServer, model: str, *texts: str, **options: Any) -> EmbeddingResponse:
    client = embedding_client("bedrock", credentials(server))
    try:
        return await client.embed(EmbeddingRequest(model, texts, **options))
    finally:
        await client.aclose()


async def test_titan_takes_one_text_a_call(server: SimulatorServer) -> None:
    answer = await embed(server, "amazon.titan-embed-text-v2:0", "tea", "green tea", dimensions=8)
    assert [len(vector) for vector in answer.vectors] == [8, 8]
    assert answer.usage == Usage(4)
    assert sorted(request["body"]["inputText"] for request in server.simulator.requests) == ["green tea", "tea"]
    alone = await embed(server, "amazon.titan-embed-text-v2:0", "green tea", dimensions=8)
    assert alone.vectors[0] == answer.vectors[1]


@pytest.mark.parametrize("purpose", ["document", "query"])
async def test_cohere_takes_many(server: SimulatorServer, purpose: Purpose) -> None:
    answer = await embed(server, "cohere.embed-v4:0", "tea", "green tea", dimensions=8, purpose=purpose)
    assert [len(vector) for vector in answer.vectors] == [8, 8]
    [request] = server.simulator.requests
    assert request["body"]["input_type"] == f"search_{purpose}"


async def test_embeddings_that_go_wrong(server: SimulatorServer) -> None:
    server.simulator.faults.add([Fault(status=429)])
    with pytest.raises(errors.RateLimitError):
        await embed(server, "amazon.titan-embed-text-v2:0", "tea")
    server.simulator.faults.add([Fault(malformed=True)])
    with pytest.raises(errors.ConnectionError):
        await embed(server, "amazon.titan-embed-text-v2:0", "tea")


def test_results_of_one_turns_tools_are_one_turn() -> None:
    calls = (ToolCall("1", "f", {}), ToolCall("2", "f", {}))
    messages = (
        Message("user", "Do"),
        Message("assistant", "", tool_calls=calls),
        Message("tool", "one", tool_call_id="1"),
        Message("tool", "two", tool_call_id="2"),
        Message("user", "Go on"),
    )
    turns = bedrock._turns(messages)
    assert [(turn["role"], len(turn["content"])) for turn in turns] == [
        ("user", 1),
        ("assistant", 2),
        ("user", 2),
        ("user", 1),
    ]


async def test_calls_wait_in_threads_of_their_own(server: SimulatorServer) -> None:
    client = bedrock.BedrockChat(credentials(server))
    waiting = threading.Event()
    busy = [asyncio.create_task(client.in_thread(waiting.wait)) for _ in range(60)]
    await asyncio.sleep(0.1)
    # Whoever else needs a thread has one.
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 5) == "free"
    waiting.set()
    await asyncio.gather(*busy)
    await client.aclose()
