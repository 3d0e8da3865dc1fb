"""AWS Bedrock: its Converse API, which is the same for the models of all vendors, and its embedding models.

boto3 signs and sends; it blocks, so each call runs in a thread. Credentials are those of an Airflow connection of the type ``aws``
or ``llm_bedrock``, else what boto3 finds by itself: variables, profiles, the machine's role.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ClassVar, TypeVar

from airflow_llm_provider.clients.aws import aws_access, aws_client, aws_errors, aws_secrets
from airflow_llm_provider.clients.base import (
    ChatRequest,
    ChatResponse,
    ConnectionFields,
    Credentials,
    EmbeddingRequest,
    EmbeddingResponse,
    Message,
    ToolCall,
    Usage,
)
from airflow_llm_provider.clients.structured import in_words, is_strict
from airflow_llm_provider.clients.vectors import vector
from airflow_llm_provider.errors import ConnectionError

__all__ = ["BedrockChat", "BedrockEmbeddings"]

READ_SECONDS = 600.0
"""Longest wait between two bytes; a step's own limit is usually shorter."""

CONNECTIONS = 100

_KNOWS_SCHEMAS = re.compile(r"anthropic\.claude-(?:opus|sonnet|haiku)-(?!4-20)")
"""Models that are known to enforce ``outputConfig``; others refuse it."""

_FINISH_REASONS: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}

ResultT = TypeVar("ResultT")


class BedrockClient:
    """What the clients of Bedrock share.

    Args:
        credentials: ``api_key`` is the secret access key; ``options`` may hold ``login`` (its id) and what an Airflow connection
            to AWS has in its extra: ``region_name``, ``aws_session_token``, ``profile_name``, ``endpoint_url``.
        http: Not used: boto3 has connections of its own.

    Raises:
        ConfigurationError: boto3 is not installed, or the credentials or the region cannot be used.
    """

    api_key_variable: ClassVar[None] = None
    base_url_variable: ClassVar[None] = None

    def __init__(self, credentials: Credentials, http: object = None) -> None:
        options = credentials.options
        fields = ConnectionFields(credentials.base_url, options.get("login"), credentials.api_key, options)
        access = aws_access(fields, "Bedrock")
        self._secrets = aws_secrets(access)
        self._threads: ThreadPoolExecutor | None = None
        with self.errors():
            self._client: Any = aws_client(
                "bedrock-runtime", access, read_seconds=READ_SECONDS, connections=CONNECTIONS
            )

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what boto3 raises, and an answer that is none, into the class that fits."""
        from botocore.eventstream import ParserError
        from botocore.parsers import ResponseParserError

        with aws_errors(
            "bedrock", self._secrets, "add an Airflow connection 'bedrock_default' of the type llm_bedrock"
        ):
            try:
                yield
            except (LookupError, TypeError, json.JSONDecodeError, ParserError, ResponseParserError) as error:
                raise ConnectionError(
                    f"bedrock: the answer does not have the API's form ({type(error).__name__})"
                ) from None

    async def in_thread(self, function: Callable[..., ResultT], *arguments: Any) -> ResultT:
        """Run what blocks in a thread of this client's own: as many at once as there are connections, and nobody else waits.

        Args:
            function: What blocks.
            arguments: Its arguments.
        """
        if self._threads is None:
            self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="bedrock")
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *arguments))

    async def aclose(self) -> None:
        """Close the connections."""
        self._client.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False)


class BedrockChat(BedrockClient):
    """A client of ``Converse`` and ``ConverseStream``."""

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """Ask once.

        Args:
            request: What to ask; ``extra`` holds further fields of the API, such as ``guardrailConfig`` and ``toolConfig``.

        Raises:
            StepError: The class that fits the failure.
        """
        return await self.in_thread(self._streamed if request.stream and not request.tools else self._whole, request)

    def _whole(self, request: ChatRequest) -> ChatResponse:
        with self.errors():
            answer = self._client.converse(**_parameters(request))
            return ChatResponse(
                text="".join(block.get("text", "") for block in answer["output"]["message"]["content"]),
                model=request.model,
                usage=_usage(answer["usage"]),
                finish_reason=_FINISH_REASONS.get(answer["stopReason"], answer["stopReason"]),
                id=answer["ResponseMetadata"].get("RequestId"),
                tool_calls=tuple(
                    ToolCall(use["toolUseId"], use["name"], use["input"])
                    for block in answer["output"]["message"]["content"]
                    if (use := block.get("toolUse"))
                ),
            )

    def _streamed(self, request: ChatRequest) -> ChatResponse:
        started = time.perf_counter()
        pieces: list[str] = []
        first: float | None = None
        reason: str | None = None
        usage: Mapping[str, Any] = {}
        with self.errors():
            answer = self._client.converse_stream(**_parameters(request))
            for event in answer["stream"]:
                if piece := event.get("contentBlockDelta", {}).get("delta", {}).get("text"):
                    first = first if first is not None else time.perf_counter() - started
                    pieces.append(piece)
                reason = event.get("messageStop", {}).get("stopReason", reason)
                usage = event.get("metadata", {}).get("usage", usage)
        if reason is None:
            raise ConnectionError("bedrock: the stream broke off before the answer's end")
        number = answer["ResponseMetadata"].get("RequestId")
        return ChatResponse(
            "".join(pieces), request.model, _usage(usage), _FINISH_REASONS.get(reason, reason), number, first
        )


class BedrockEmbeddings(BedrockClient):
    """A client of ``InvokeModel`` for Amazon's Titan models, which take one text a call, and Cohere's, which take many."""

    most_texts: ClassVar[int] = 96

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """Turn texts into vectors.

        Args:
            request: The texts.

        Raises:
            StepError: The class that fits the failure.
        """
        if "cohere." in request.model:
            body = {
                "texts": list(request.texts),
                "input_type": f"search_{request.purpose}",
                "embedding_types": ["float"],
                **({} if request.dimensions is None else {"output_dimension": request.dimensions}),
            }
            answer, tokens = await self.in_thread(self._invoke, request.model, body)
            return EmbeddingResponse(tuple(map(vector, answer["embeddings"]["float"])), request.model, Usage(tokens))
        bodies = [
            {"inputText": text, **({} if request.dimensions is None else {"dimensions": request.dimensions})}
            for text in request.texts
        ]
        answers = await asyncio.gather(*(self.in_thread(self._invoke, request.model, body) for body in bodies))
        return EmbeddingResponse(
            tuple(vector(answer["embedding"]) for answer, _ in answers),
            request.model,
            Usage(sum(tokens for _, tokens in answers)),
        )

    def _invoke(self, model: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        with self.errors():
            answer = self._client.invoke_model(modelId=model, body=json.dumps(body), contentType="application/json")
            headers = answer["ResponseMetadata"]["HTTPHeaders"]
            told: dict[str, Any] = json.loads(answer["body"].read())
            tokens = told.get("inputTextTokenCount") or headers.get("x-amzn-bedrock-input-token-count") or 0
            return told, int(tokens)


def _parameters(request: ChatRequest) -> dict[str, Any]:
    schema = request.schema
    if schema is not None and not (_KNOWS_SCHEMAS.search(request.model) and is_strict(schema)):
        request, schema = in_words(request), None
    inference = {
        "maxTokens": request.max_tokens,
        "temperature": request.temperature,
        "topP": request.top_p,
        "stopSequences": list(request.stop) or None,
    }
    given = {name: value for name, value in inference.items() if value is not None}
    system = [block for message in request.messages if message.role == "system" for block in _blocks(message)]
    optional = {
        "system": system,
        "inferenceConfig": given,
        "outputConfig": None if schema is None else {"textFormat": _format(schema)},
        "toolConfig": _tools(request),
    }
    return {
        "modelId": request.model,
        "messages": _turns(request.messages),
        **{name: value for name, value in optional.items() if value},
        **request.extra,
    }


def _turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Give the conversation in the API's form, in which all results of one turn's tools are one turn."""
    turns: list[dict[str, Any]] = []
    for before, message in zip((None, *messages), messages, strict=False):
        if message.role == "tool" and before is not None and before.role == "tool":
            turns[-1]["content"].extend(_blocks(message))
        elif message.role != "system":
            turns.append({"role": "user" if message.role == "tool" else message.role, "content": [*_blocks(message)]})
    return turns


def _tools(request: ChatRequest) -> dict[str, Any] | None:
    if not request.tools or request.tool_choice == "none":
        return None
    specs = [
        {
            "toolSpec": {
                "name": tool.name,
                **({} if tool.description is None else {"description": tool.description}),
                "inputSchema": {"json": tool.parameters},
            }
        }
        for tool in request.tools
    ]
    choices: dict[str | None, Any] = {None: None, "auto": {"auto": {}}, "required": {"any": {}}}
    choice = choices.get(request.tool_choice, {"tool": {"name": request.tool_choice}})
    return {"tools": specs, **({} if choice is None else {"toolChoice": choice})}


def _blocks(message: Message) -> list[Any]:
    if message.tool_call_id is not None:
        content = [{"text": message.content}] if isinstance(message.content, str) else message.content
        return [{"toolResult": {"toolUseId": message.tool_call_id, "content": content}}]
    if message.tool_calls:
        calls = [
            {"toolUse": {"toolUseId": call.id, "name": call.name, "input": call.arguments}}
            for call in message.tool_calls
        ]
        return [*(_blocks(Message(message.role, message.content)) if message.content else ()), *calls]
    if isinstance(message.content, str):
        return [{"text": message.content}]
    # Parts in OpenAI's form are understood where they are texts; all others are Bedrock's own.
    return [{"text": part["text"]} if part.get("type") == "text" else part for part in message.content]


def _format(schema: Mapping[str, Any]) -> dict[str, Any]:
    structure = {"jsonSchema": {"name": "answer", "schema": json.dumps(schema)}}
    return {"type": "json_schema", "structure": structure}


def _usage(told: Mapping[str, Any]) -> Usage:
    cached = told.get("cacheReadInputTokens") or 0
    # Counted beside the input, as Anthropic does.
    return Usage(
        input_tokens=(told.get("inputTokens") or 0) + cached + (told.get("cacheWriteInputTokens") or 0),
        output_tokens=told.get("outputTokens") or 0,
        cached_tokens=cached,
    )
