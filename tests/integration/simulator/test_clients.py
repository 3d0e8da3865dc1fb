"""Our clients against everything that can go wrong on the wire."""

from __future__ import annotations

import asyncio
import email.utils
import json
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_llm_provider import errors
from airflow_llm_provider.clients import chat_client, failures, transport
from airflow_llm_provider.clients.base import ChatClient, ChatRequest, ChatResponse, Credentials, Message
from airflow_llm_provider.clients.failures import retry_after
from airflow_llm_provider.clients.rules import read_rules
from airflow_llm_provider.clients.web import call_url
from airflow_llm_provider.config.settings import Settings
from airflow_llm_provider.engine.observer import Observer
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.simulator import SimulatorServer
from airflow_llm_provider.simulator.faults import Fault
from airflow_llm_provider.workflow.model import Step
from dag_factory import read_text

KEY = "sk-secret-0123456789abcdef"
MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-5-5", "cohere": "command-a-03-2025", "azure": "my-gpt"}
PROVIDERS = pytest.mark.parametrize("provider", sorted(MODELS))
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@asynccontextmanager
async def client_of(provider: str, base_url: str, key: str | None = KEY) -> AsyncIterator[ChatClient]:
    client = chat_client(provider, Credentials(base_url, key))
    try:
        yield client
    finally:
        await client.aclose()


def question(provider: str, text: str = "sentiment", **options: Any) -> ChatRequest:
    return ChatRequest(options.pop("model", MODELS[provider]), (Message("user", text),), **options)


def address(server: SimulatorServer, provider: str) -> str:
    roots = {"cohere": f"{server.base_url}/v2", "azure": server.base_url}
    return roots.get(provider, server.openai_base_url)


async def ask(server: SimulatorServer, provider: str, stream: bool = False, **options: Any) -> ChatResponse:
    async with client_of(provider, address(server, provider)) as client:
        return await client.chat(question(provider, stream=stream, **options))


async def failure(server: SimulatorServer, provider: str, stream: bool = False, **options: Any) -> errors.StepError:
    with pytest.raises(errors.StepError) as caught:
        await ask(server, provider, stream, **options)
    return caught.value


@asynccontextmanager
async def answering(
    content: bytes, head: str = "200 OK", content_type: str = "text/event-stream"
) -> AsyncIterator[str]:
    """Serve the same bytes to every request; gives the base URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in request.lower().splitlines() if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        writer.write(f"HTTP/1.1 {head}\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n".encode() + content)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}/v1"


# -------------------------------------------------------------- error classes

STATUSES = [
    (400, errors.InvalidRequest),
    (401, errors.AuthenticationError),
    (403, errors.AuthenticationError),
    (408, errors.TimeoutError),
    (413, errors.InvalidRequest),
    (422, errors.InvalidRequest),
    (425, errors.ServiceUnavailable),
    (429, errors.RateLimitError),
    (500, errors.ServiceUnavailable),
    (502, errors.ServiceUnavailable),
    (503, errors.ServiceUnavailable),
    (529, errors.ServiceUnavailable),
]


@STREAM
@PROVIDERS
@pytest.mark.parametrize(("status", "expected"), STATUSES)
async def test_statuses(
    server: SimulatorServer, provider: str, status: int, expected: type[errors.StepError], stream: bool
) -> None:
    server.simulator.faults.add([Fault(status=status)])
    error = await failure(server, provider, stream)
    assert type(error) is expected
    assert (error.status, error.retry_after) == (status, None)
    assert str(error) == f"127.0.0.1 answered {status}: simulated fault"


@dataclass(frozen=True)
class Body:
    """What a provider or a gateway says beside a status."""

    status: int
    body: Any
    expected: type[errors.StepError]
    text: str = ""


BODIES = [
    Body(
        400,
        {"error": {"message": "This model's maximum context length is 8192", "code": "context_length_exceeded"}},
        errors.ContextLengthError,
    ),
    Body(
        400,
        {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8 maximum"}},
        errors.ContextLengthError,
    ),
    Body(400, {"error": {"message": "filtered", "code": "content_filter"}}, errors.ContentFilterError),
    Body(400, {"error": {"message": "no", "code": "content_policy_violation"}}, errors.ContentFilterError),
    Body(
        400,
        {"error": {"type": "invalid_request_error", "message": "Output blocked by content filtering policy"}},
        errors.ContentFilterError,
    ),
    Body(429, {"error": {"message": "quota", "code": "insufficient_quota"}}, errors.AuthenticationError),
    Body(
        429,
        {
            "error": {
                "type": "rate_limit_error",
                "message": "m",
                "details": {"error_code": "enforced_spend_limit_reached"},
            }
        },
        errors.AuthenticationError,
    ),
    Body(404, {"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}, errors.ModelNotFound),
    Body(404, {"error": {"type": "not_found_error", "message": "model: x"}}, errors.ModelNotFound),
    Body(404, {"detail": "Not Found"}, errors.InvalidRequest, "Not Found"),
    Body(404, {"error": {"code": "DeploymentNotFound", "message": "It does not exist"}}, errors.ModelNotFound),
    Body(
        404,
        [{"error": {"code": 404, "message": "models/x is not found"}}],
        errors.ModelNotFound,
        "models/x is not found",
    ),
    Body(400, [{"error": {"message": "exceeds the maximum number of tokens allowed"}}], errors.ContextLengthError),
    Body(400, {"error": {"message": "input length and `max_tokens` exceed context limit"}}, errors.ContextLengthError),
    Body(498, {"message": "stopped"}, errors.ContentFilterError),
    Body(503, {"error": "loading"}, errors.ServiceUnavailable, "loading"),
    Body(500, {"error": None}, errors.ServiceUnavailable, "Internal Server Error"),
    Body(500, {"error": {}}, errors.ServiceUnavailable, "Internal Server Error"),
    Body(500, [], errors.ServiceUnavailable, "Internal Server Error"),
    Body(500, ["odd"], errors.ServiceUnavailable, "['odd']"),
    Body(500, "odd", errors.ServiceUnavailable, "odd"),
    Body(422, {"detail": [{"loc": ["x"]}]}, errors.InvalidRequest, "[{'loc': ['x']}]"),
]


@PROVIDERS
@pytest.mark.parametrize("case", BODIES, ids=lambda case: str(case.body)[:60])
async def test_error_bodies(server: SimulatorServer, provider: str, case: Body) -> None:
    server.simulator.faults.add([Fault(status=case.status, body=case.body)])
    error = await failure(server, provider)
    assert type(error) is case.expected
    assert case.text in str(error)


async def test_an_error_body_that_is_not_json() -> None:
    page = b"<html>\n  <b>Bad   gateway</b>\n</html>"
    async with answering(page, "502 Bad Gateway", "text/html") as base_url, client_of("openai", base_url) as client:
        with pytest.raises(errors.ServiceUnavailable, match="502: <html> <b>Bad gateway</b> </html>"):
            await client.chat(question("openai"))


RULE_ERRORS = [
    errors.RateLimitError,
    errors.TimeoutError,
    errors.ConnectionError,
    errors.ServiceUnavailable,
    errors.AuthenticationError,
    errors.InvalidRequest,
    errors.ContextLengthError,
    errors.ContentFilterError,
    errors.ModelNotFound,
]


@PROVIDERS
@pytest.mark.parametrize("expected", RULE_ERRORS, ids=lambda kind: kind.__name__)
async def test_errors_of_rules_arrive_as_their_class(provider: str, expected: type[errors.StepError]) -> None:
    rules = read_rules([{"error": {"type": expected.__name__, "message": "no such model"}}], "rules")
    with SimulatorServer(rules) as server:
        assert type(await failure(server, provider)) is expected


@STREAM
@PROVIDERS
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"status": 429, "retry_after": 0.5}, errors.RateLimitError),
        ({"status": 529}, errors.ServiceUnavailable),
        ({"drop": "before"}, errors.ConnectionError),
        ({"drop": "middle"}, errors.ConnectionError),
        ({"malformed": True}, errors.ConnectionError),
    ],
    ids=str,
)
async def test_faults_of_rules(
    provider: str, fault: dict[str, Any], expected: type[errors.StepError], stream: bool
) -> None:
    rules = read_rules([{"match": "^sent", "fault": fault, "times": 1}, {"answer": "positive"}], "rules")
    with SimulatorServer(rules) as server:
        error = await failure(server, provider, stream)
        assert (type(error), error.retry_after) == (expected, fault.get("retry_after"))
        assert (await ask(server, provider, stream)).text == "positive"
        assert (server.simulator.calls, server.simulator.answered) == (2, 1)


@PROVIDERS
async def test_a_rule_fails_before_it_answers(provider: str) -> None:
    rules = read_rules([{"error": {"type": "ServiceUnavailable", "times": 2}, "answer": "positive"}], "rules")
    with SimulatorServer(rules) as server:
        for _ in range(2):
            assert type(await failure(server, provider)) is errors.ServiceUnavailable
        assert (await ask(server, provider)).text == "positive"


@PROVIDERS
async def test_an_unknown_model(server: SimulatorServer, provider: str) -> None:
    assert type(await failure(server, provider, model="missing-x")) is errors.ModelNotFound


# ---------------------------------------------------------------- Retry-After


@STREAM
@PROVIDERS
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
async def test_retry_after(
    server: SimulatorServer, provider: str, headers: dict[str, str], expected: float | None, stream: bool
) -> None:
    server.simulator.faults.add([Fault(status=429, headers=headers)])
    assert (await failure(server, provider, stream)).retry_after == expected


def test_retry_after_as_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000
    monkeypatch.setattr(failures.time, "time", lambda: float(now))
    assert retry_after({"retry-after": email.utils.formatdate(now + 90, usegmt=True)}) == 90.0


@given(st.text() | st.from_regex(r"\w{3}, \d{1,2} (Jan|Feb) \d{1,9} \d{1,3}:\d\d:\d\d (GMT|[+-]\d{4})", fullmatch=True))
def test_retry_after_survives_everything(value: str) -> None:
    seconds = retry_after({"retry-after": value})
    assert seconds is None or 0 <= seconds < float("inf")


async def test_retry_after_end_to_end(server: SimulatorServer) -> None:
    server.simulator.faults.add([Fault(status=429, retry_after=0.05), Fault(status=500)])
    text = textwrap.dedent(
        """
        name: x
        steps:
          - id: a
            provider: openai
            model: gpt-4o-mini
            prompt: sentiment
            retry: {max_attempts: 3, initial_delay: 0.001, jitter: false}
        """
    )
    read = read_text("w.yaml", text)
    assert not read.errors, "\n".join(map(str, read.errors))
    seen: list[tuple[int, str, float]] = []

    class Retries(Observer):
        def step_retrying(self, step: Step, attempt: int, error: str, wait: float) -> None:
            seen.append((attempt, error.partition(":")[0], wait))

    credentials = Credentials(server.openai_base_url, KEY)
    async with Runtime(
        settings=Settings(), credentials=lambda provider, connection: credentials, observer=Retries()
    ) as runtime:
        result = await run_workflow(read.workflows[0], {}, runtime)
    step = result.steps["a"]
    assert (result.state, step.state, step.outputs) == ("completed", "completed", {"output": "positive"})
    assert step.usage is not None
    assert (step.usage.attempts, step.usage.output_tokens) == (3, 2)
    assert (server.simulator.calls, server.simulator.answered) == (3, 1)
    assert [(attempt, name) for attempt, name, _ in seen] == [(1, "RateLimitError"), (2, "ServiceUnavailable")]
    assert seen[0][2] == 0.05


# ------------------------------------------------------------------ transport


@STREAM
@PROVIDERS
@pytest.mark.parametrize(
    "fault", [Fault(drop="before"), Fault(drop="middle"), Fault(malformed=True)], ids=["before", "middle", "malformed"]
)
async def test_broken_answers(server: SimulatorServer, provider: str, fault: Fault, stream: bool) -> None:
    server.simulator.faults.add([fault])
    assert type(await failure(server, provider, stream, text="long")) is errors.ConnectionError
    assert (await ask(server, provider, stream)).text == "positive"


@STREAM
@PROVIDERS
async def test_timeout(server: SimulatorServer, provider: str, monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    monkeypatch.setattr(transport, "TIMEOUT", httpx.Timeout(5, read=0.05))
    server.simulator.faults.add([Fault(delay=3600)])
    error = await failure(server, provider, stream)
    assert type(error) is errors.TimeoutError
    assert str(error) == "no answer from 127.0.0.1 in time (ReadTimeout)"


@PROVIDERS
async def test_nobody_listens(provider: str, closed_port: int) -> None:
    async with client_of(provider, f"http://127.0.0.1:{closed_port}/v1") as client:
        with pytest.raises(errors.ConnectionError, match=r"127\.0\.0\.1 failed"):
            await client.chat(question(provider))


OPENAI_HEAD = b'data: {"id": "1", "model": "m", "choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n'
ANTHROPIC_HEAD = (
    b'event: message_start\ndata: {"type": "message_start", "message": {"id": "1", "model": "m", "usage": '
    b'{"input_tokens": 5, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 3, "output_tokens": 1}}}\n\n'
    b'event: content_block_delta\ndata: {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", '
    b'"text": "a"}}\n\n'
)


@dataclass(frozen=True)
class Stream:
    """The bytes of a stream, and how it ends."""

    id: str
    provider: str
    content: bytes
    expected: type[errors.StepError]


STREAMS = [
    Stream("cut off", "openai", OPENAI_HEAD, errors.ConnectionError),
    Stream("nothing", "openai", b"", errors.ConnectionError),
    Stream("only the end", "openai", b"data: [DONE]\n\n", errors.ConnectionError),
    Stream("not an object", "openai", b"data: 5\n\n", errors.ConnectionError),
    Stream("not UTF-8", "openai", b'data: {"id": "\xff"}\n\n', errors.ConnectionError),
    Stream("odd choices", "openai", b'data: {"choices": [1]}\n\n', errors.ConnectionError),
    Stream(
        "error", "openai", OPENAI_HEAD + b'data: {"error": {"message": "m", "type": "server_error"}}\n\n',
        errors.ServiceUnavailable,
    ),
    Stream(
        "rate limit", "openai", OPENAI_HEAD + b'data: {"error": {"message": "m", "code": "rate_limit_exceeded"}}\n\n',
        errors.RateLimitError,
    ),
    Stream("text for an error", "openai", b'data: {"error": "out of memory"}\n\n', errors.ServiceUnavailable),
    Stream("cut off", "anthropic", ANTHROPIC_HEAD, errors.ConnectionError),
    Stream("nothing", "anthropic", b"", errors.ConnectionError),
    Stream("odd start", "anthropic", b'data: {"type": "message_start"}\n\n', errors.ConnectionError),
    *(
        Stream(
            kind, "anthropic",
            ANTHROPIC_HEAD + b'event: error\ndata: {"type": "error", "error": {"type": "%s", "message": "m"}}\n\n' % kind.encode(),
            expected,
        )
        for kind, expected in [
            ("overloaded_error", errors.ServiceUnavailable),
            ("api_error", errors.ServiceUnavailable),
            ("rate_limit_error", errors.RateLimitError),
            ("invalid_request_error", errors.InvalidRequest),
            ("authentication_error", errors.AuthenticationError),
            ("permission_error", errors.AuthenticationError),
        ]
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: f"{case.provider}-{case.id}")
async def test_streams_that_go_wrong(case: Stream) -> None:
    async with answering(case.content) as base_url, client_of(case.provider, base_url) as client:
        with pytest.raises(errors.StepError) as caught:
            await client.chat(question(case.provider, stream=True))
    assert type(caught.value) is case.expected


async def test_an_openai_stream_in_unusual_dress() -> None:
    content = (
        b": comment\r\n\r\n"
        b'data: {"id": "1", "model": "exact", "choices": [{"delta": {"role": "assistant", "content": ""}}]}\r\n\r\n'
        b'data:{"id": "1", "choices": [{"delta": {"content": "a\xe2\x80\xa8"}}], "usage": null}\r\n\r\n'
        b'data: {"id": "1", "choices":\r\ndata:  [{"delta": {"refusal": "b"}, "finish_reason": "stop"}]}\r\n\r\n'
        b'data: {"id": "1", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4, '
        b'"prompt_tokens_details": {"cached_tokens": 3}, "completion_tokens_details": {"reasoning_tokens": 2}}}\r\n\r\n'
        b"data: [DONE]\r\n\r\n"
    )
    async with answering(content) as base_url, client_of("openai", base_url) as client:
        answer = await client.chat(question("openai", stream=True))
    assert (answer.text, answer.model, answer.id, answer.finish_reason) == ("a\u2028b", "exact", "1", "stop")
    usage = answer.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens) == (9, 4, 3, 2)


async def test_an_anthropic_stream_with_cache_and_thinking() -> None:
    content = ANTHROPIC_HEAD + (
        b'event: content_block_delta\ndata: {"type": "content_block_delta", "delta": {"type": "thinking_delta", '
        b'"thinking": "hm"}}\n\n'
        b'event: ping\ndata: {"type": "ping"}\n\n'
        b'event: message_delta\ndata: {"type": "message_delta", "delta": {"stop_reason": "model_context_window_exceeded"}, '
        b'"usage": {"input_tokens": null, "output_tokens": 7, "output_tokens_details": {"thinking_tokens": 4}}}\n\n'
        b'event: message_stop\ndata: {"type": "message_stop"}\n\n'
    )
    async with answering(content) as base_url, client_of("anthropic", base_url) as client:
        answer = await client.chat(question("anthropic", stream=True))
    assert (answer.text, answer.id, answer.finish_reason) == ("a", "1", "length")
    usage = answer.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens) == (10, 7, 2, 4)


@pytest.mark.parametrize(
    ("provider", "body"),
    [
        ("openai", {}),
        ("openai", {"choices": []}),
        ("openai", {"choices": [{"message": None}]}),
        ("openai", {"choices": [{"message": {"content": "x"}}], "usage": 5}),
        ("openai", []),
        ("openai", None),
        ("anthropic", {}),
        ("anthropic", {"content": [1]}),
        ("anthropic", {"content": None}),
        ("anthropic", {"content": [{"type": "text"}]}),
        ("anthropic", "x"),
    ],
)
async def test_answers_of_another_form(provider: str, body: Any) -> None:
    content = json.dumps(body).encode()
    async with (
        answering(content, content_type="application/json") as base_url,
        client_of(provider, base_url) as client,
    ):
        with pytest.raises(errors.ConnectionError, match=f"{provider}: the answer "):
            await client.chat(question(provider))


@pytest.mark.parametrize(
    ("body", "text", "reason"),
    [
        ({"choices": [{"message": {"content": None, "refusal": "no"}, "finish_reason": "stop"}]}, "no", "stop"),
        ({"choices": [{"message": {"content": None}, "finish_reason": "tool_calls"}]}, "", "tool_calls"),
        ({"choices": [{"message": {"content": "x"}}], "usage": None}, "x", None),
    ],
)
async def test_openai_answers_with_little_in_them(body: Any, text: str, reason: str | None) -> None:
    content = json.dumps(body).encode()
    async with (
        answering(content, content_type="application/json") as base_url,
        client_of("openai", base_url) as client,
    ):
        answer = await client.chat(question("openai"))
    assert (answer.text, answer.finish_reason, answer.model) == (text, reason, MODELS["openai"])
    assert (answer.id, answer.usage.total_tokens) == (None, 0)


# ---------------------------------------------------------------------- secrets


@dataclass(frozen=True)
class Leak:
    """A server that repeats the key."""

    id: str
    head: str
    content: bytes
    stream: bool = False
    provider: str = "openai"
    content_type: str = "application/json"


GATEWAY_KEY = "Bearer gateway-0123456789abcdef"
PASSWORD = "opensesame-0123"
FILLING = b"x" * (1000 - len("Incorrect API key: ") - 10)
LEAKS = [
    Leak("error", "401 No", b'{"error": {"message": "Incorrect API key provided: ' + KEY.encode() + b'"}}'),
    Leak("at the cut", "401 No", b'{"error": {"message": "Incorrect API key: ' + FILLING + KEY.encode() + b'"}}'),
    Leak("text", "500 No", b"your key is " + KEY.encode(), content_type="text/plain"),
    Leak("long text", "500 No", b"x" * 290 + KEY.encode(), content_type="text/plain"),
    Leak("not JSON", "200 OK", b"your key is " + KEY.encode()),
    Leak("at the cut of what is not JSON", "200 OK", b"x" * 70 + KEY.encode()),
    Leak("another form", "200 OK", b'{"key": "' + KEY.encode() + b'"}'),
    Leak("anthropic, another form", "200 OK", b'{"key": "' + KEY.encode() + b'"}', provider="anthropic"),
    Leak("stream", "200 OK", b'data: {"error": {"message": "' + KEY.encode() + b'"}}\n\n', True),
    Leak("stream of another form", "200 OK", b'data: {"choices": ["' + KEY.encode() + b'"]}\n\n', True),
    Leak("not HTTP", "banana " + KEY, b""),
    Leak("a gateway's header", "403 No", b'{"error": {"message": "no ' + GATEWAY_KEY.encode() + b'"}}'),
    Leak("a word of a header", "403 No", b'{"error": {"message": "no ' + GATEWAY_KEY[7:].encode() + b'"}}'),
    Leak("a header in a stream", "200 OK", b'data: {"error": "no ' + GATEWAY_KEY.encode() + b'"}\n\n', True),
    Leak("the password of the URL", "403 No", b'{"error": {"message": "no ' + PASSWORD.encode() + b'"}}'),
]


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.id)
async def test_the_key_is_in_no_error(leak: Leak) -> None:
    async with answering(leak.content, leak.head, leak.content_type) as base_url:
        url = base_url.replace("//", f"//ann:{PASSWORD}@")
        client = chat_client(leak.provider, Credentials(url, KEY, headers={"x-gateway": GATEWAY_KEY, "x-team": "no"}))
        with pytest.raises(errors.StepError) as caught:
            await client.chat(question(leak.provider, stream=leak.stream))
        await client.aclose()
    shown = f"{caught.value} {caught.value!r} {caught.value.args}"
    assert not any(secret[:12] in shown for secret in (KEY, GATEWAY_KEY, GATEWAY_KEY[7:], PASSWORD))
    assert shown.count("no ***") in (0, 3)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@PROVIDERS
async def test_the_key_is_in_no_representation(server: SimulatorServer, provider: str) -> None:
    credentials = Credentials(address(server, provider), KEY, headers={"x-gateway-key": KEY})
    client = chat_client(provider, credentials)
    assert KEY not in f"{credentials} {credentials!r} {client} {client!r}"
    assert (await client.chat(question(provider))).text == "positive"
    await client.aclose()
    assert KEY not in str(server.simulator.requests[-1]["body"])


@PROVIDERS
async def test_a_refused_key_is_not_repeated(server: SimulatorServer, provider: str) -> None:
    async with client_of(provider, address(server, provider), "invalid") as client:
        with pytest.raises(errors.AuthenticationError, match=r"Incorrect API key provided: \*\*\*\. You"):
            await client.chat(question(provider))


# ---------------------------------------------------------------- configuration


@PROVIDERS
@pytest.mark.parametrize("key", [None, ""])
def test_a_missing_key(provider: str, key: str | None) -> None:
    with pytest.raises(errors.ConfigurationError, match=rf"set {provider.upper()}(_OPENAI)?_API_KEY"):
        chat_client(provider, Credentials(api_key=key))


@PROVIDERS
@pytest.mark.parametrize("key", [f"{KEY}\n", f" {KEY}", f"{KEY}\u2028", f"{KEY}ü", f"Bearer {KEY}"])
def test_a_key_that_no_header_can_hold(provider: str, key: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="the API key for provider") as caught:
        chat_client(provider, Credentials(api_key=key))
    assert KEY not in str(caught.value)


@PROVIDERS
@pytest.mark.parametrize("base_url", ["localhost:8000", "ftp://host", "http://", "http://[::1", "http://host:port"])
def test_a_base_url_that_is_none(provider: str, base_url: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="cannot be reached at"):
        chat_client(provider, Credentials(base_url, KEY))


@PROVIDERS
def test_a_base_url_that_is_none_keeps_its_password(provider: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"'htp://\*\*\*@host/v1'"):
        chat_client(provider, Credentials(f"htp://ann:{PASSWORD}@host/v1", KEY))


@pytest.mark.parametrize(
    ("provider", "path"),
    [
        ("openai", "/v1"),
        ("openai", "/v1/"),
        ("openai", "/v1//"),
        ("openai", "/v1?api-version=2026-01-01"),
        ("anthropic", ""),
        ("anthropic", "/"),
        ("anthropic", "/v1"),
        ("anthropic", "/v1/"),
        ("anthropic", "/v1?beta=true"),
    ],
)
@STREAM
async def test_base_urls(server: SimulatorServer, provider: str, path: str, stream: bool) -> None:
    async with client_of(provider, server.base_url + path) as client:
        assert (await client.chat(question(provider, stream=stream))).text == "positive"


async def test_an_openai_base_url_without_its_version(server: SimulatorServer) -> None:
    async with client_of("openai", server.base_url) as client:
        with pytest.raises(errors.InvalidRequest) as caught:
            await client.chat(question("openai"))
    assert caught.value.status == 404


async def test_headers_for_a_gateway(server: SimulatorServer) -> None:
    client = chat_client("openai", Credentials(server.openai_base_url, KEY, headers={"x-team": "blue"}))
    await client.chat(question("openai"))
    await client.aclose()
    assert server.simulator.requests[-1]["headers"]["x-team"] == "blue"


async def test_a_gateways_header_takes_the_place_of_ours(server: SimulatorServer) -> None:
    headers = {"Authorization": "Bearer of-the-gateway", "User-Agent": "us"}
    client = chat_client("openai", Credentials(server.openai_base_url, "invalid", headers=headers))
    # The simulator refuses the key "invalid", so only the gateway's arrived.
    assert (await client.chat(question("openai"))).text == "positive"
    await client.aclose()
    assert server.simulator.requests[-1]["headers"]["user-agent"] == "us"


@STREAM
async def test_clients_share_connections(server: SimulatorServer, stream: bool) -> None:
    async with httpx.AsyncClient(headers={"x-shared": "yes"}) as http:
        for provider, base_url in (("openai", server.openai_base_url), ("anthropic", server.anthropic_base_url)):
            client = chat_client(provider, Credentials(base_url, KEY), http=http)
            assert (await client.chat(question(provider, stream=stream))).text == "positive"
            await client.aclose()
            assert server.simulator.requests[-1]["headers"]["x-shared"] == "yes"
        assert not http.is_closed


PARTS = [{"type": "text", "text": "be short", "cache_control": {"type": "ephemeral"}}]


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        ([], None),
        (["be short"], "be short"),
        (["be short", "be kind"], "be short\n\nbe kind"),
        ([PARTS], PARTS),
        ([PARTS, "be kind"], [*PARTS, {"type": "text", "text": "be kind"}]),
    ],
)
async def test_anthropic_system_messages(server: SimulatorServer, contents: list[Any], expected: Any) -> None:
    messages = (*(Message("system", content) for content in contents), Message("user", "sentiment"))
    async with client_of("anthropic", server.anthropic_base_url) as client:
        await client.chat(ChatRequest(MODELS["anthropic"], messages))
    assert server.simulator.requests[-1]["body"].get("system") == expected


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o", "max_tokens"),
        ("ft:gpt-4o:us::1", "max_tokens"),
        ("openai/o3", "max_tokens"),
        ("o3-mini", "max_completion_tokens"),
        ("gpt-5-mini", "max_completion_tokens"),
        ("ft:o4-mini-2025-04-16:us::1", "max_completion_tokens"),
    ],
)
async def test_the_name_of_the_limit(server: SimulatorServer, model: str, name: str) -> None:
    await ask(server, "openai", model=model, max_tokens=9)
    body = server.simulator.requests[-1]["body"]
    assert {key: value for key, value in body.items() if key.startswith("max_")} == {name: 9}


async def test_a_header_that_cannot_be_sent(server: SimulatorServer) -> None:
    client = chat_client("openai", Credentials(server.openai_base_url, KEY, headers={"x-secret": f"{KEY}\n"}))
    with pytest.raises(errors.InvalidRequest) as caught:
        await client.chat(question("openai"))
    await client.aclose()
    assert KEY not in str(caught.value)


# --------------------------------------------------------------------- other URLs


async def test_web(server: SimulatorServer) -> None:
    url = f"{server.openai_base_url}/models"
    answer = await call_url("GET", url, headers={"authorization": "Bearer x"}, params={"limit": 2})
    assert (answer.status, answer.body["object"]) == (200, "list")
    assert answer.headers["content-type"] == "application/json"
    gone = await call_url("DELETE", f"{server.base_url}/_simulator")
    assert (gone.status, gone.body) == (204, "")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v1/models", errors.AuthenticationError),
        ("GET", "/nothing", errors.InvalidRequest),
        ("POST", "/_simulator/faults", errors.InvalidRequest),
    ],
)
async def test_web_errors(server: SimulatorServer, method: str, path: str, expected: type[errors.StepError]) -> None:
    with pytest.raises(expected):
        await call_url(method, server.base_url + path, json={})


@pytest.mark.parametrize("url", ["nowhere", "ftp://host/x", "http://[::1", "http://host:port", "", "/path"])
async def test_web_urls_that_are_none(url: str) -> None:
    with pytest.raises(errors.InvalidRequest):
        await call_url("GET", url)


@pytest.mark.parametrize("url", ["ftp://host/token-0123", "/token-0123", "http://[::1/token-0123", "token-0123"])
async def test_web_urls_stay_out_of_errors(url: str) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        await call_url("GET", url)
    assert "token-0123" not in str(caught.value)


async def test_web_where_nobody_listens(closed_port: int) -> None:
    with pytest.raises(errors.ConnectionError):
        await call_url("GET", f"http://127.0.0.1:{closed_port}")
