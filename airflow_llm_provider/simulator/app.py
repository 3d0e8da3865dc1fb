"""The simulator as an ASGI application, and as a program.

| | |
|---|---|
| ``POST /v1/chat/completions``, ``/v1/embeddings`` | OpenAI |
| ``POST /v1/messages``, ``/v1/messages/count_tokens`` | Anthropic |
| ``POST /openai/deployments/{model}/…`` | the same on Azure, with the key in the header ``api-key`` |
| ``POST /v2/chat``, ``/v2/embed`` | Cohere |
| ``POST /model/{model}/converse``, ``…/converse-stream``, ``…/invoke`` | Bedrock; signatures are not checked |
| ``POST /v1/inference`` | LLM-Forge; needs no key |
| ``/v1/files``, ``/v1/batches``, ``/v1/messages/batches`` and what is below them | batches of OpenAI and Anthropic |
| ``GET /v1/models`` | OpenAI's list; Anthropic's with the header ``anthropic-version`` |
| ``POST /_simulator/faults`` | puts a list of faults in line, see :class:`~airflow_llm_provider.simulator.faults.Fault` |
| ``GET /_simulator/stats`` | ``calls``, ``answered``, and the last calls |
| ``DELETE /_simulator`` | forgets faults, calls and vectors |
| ``/collections…``, ``/indexes…``, ``/v1/schema…`` and what belongs to them | Qdrant, Pinecone, Weaviate |
| ``GET /health`` | 200 |

A missing key, and the key ``invalid``, are refused with 401; a model whose name begins with ``missing-`` is unknown. As the real
API does, Anthropic's side takes ``temperature`` with the version 2023-06-01 only.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from airflow_llm_provider import errors
from airflow_llm_provider.clients.faults import WireFault
from airflow_llm_provider.clients.rules import Rule, RuleBook, count_tokens, text_of
from airflow_llm_provider.simulator.batches import Batches
from airflow_llm_provider.simulator.failing import (
    Dropped,
    WithConnection,
    broken,
    failed,
    has_left,
    refused,
    request_id_header,
)
from airflow_llm_provider.simulator.faults import Fault, FaultLine
from airflow_llm_provider.simulator.stores import Stores
from airflow_llm_provider.simulator.wire import (
    MODELS,
    Answer,
    BadRequestError,
    Dialect,
)
from airflow_llm_provider.simulator.wire_anthropic import ANTHROPIC
from airflow_llm_provider.simulator.wire_bedrock import BEDROCK
from airflow_llm_provider.simulator.wire_cohere import COHERE
from airflow_llm_provider.simulator.wire_llm_forge import LLM_FORGE
from airflow_llm_provider.simulator.wire_openai import OPENAI, embeddings

__all__ = ["Simulator", "create_app", "serve"]

_FAULTS = TypeAdapter(list[Fault])

_STATUS = {
    errors.RateLimitError: 429,
    errors.TimeoutError: 408,
    errors.ServiceUnavailable: 503,
    errors.AuthenticationError: 401,
    errors.ModelNotFound: 404,
}


class Simulator:
    """The simulator's state and its answers.

    Args:
        rules: How to answer; see :mod:`airflow_llm_provider.clients.rules`.
        batch_seconds: How long a batch takes.

    Attributes:
        calls: Model calls that arrived.
        answered: Model calls that were answered in full: what a provider would have charged for.
        requests: The last 1000 calls: path, query, headers without keys, and body.
    """

    def __init__(self, rules: Iterable[Rule] = (), batch_seconds: float = 0.0) -> None:
        self._rules = tuple(rules)
        self.batch_seconds = batch_seconds
        self.faults = FaultLine()
        self.stores = Stores()
        self.batches = Batches(self)
        self.reset()

    def reset(self) -> None:
        """Forget faults, calls, vectors, and how often rules were used."""
        self._book = RuleBook(self._rules)
        self.faults.clear()
        self.stores.reset()
        self.batches.reset()
        self.calls = 0
        self.answered = 0
        self.requests: deque[dict[str, Any]] = deque(maxlen=1000)

    async def chat(self, request: Request, dialect: Dialect) -> Response:
        """Answer a chat call."""
        self.calls += 1
        body = await self._body(request, dialect)
        refusal = self._refusal(request, dialect, body)
        if refusal is not None:
            return refusal
        texts = dialect.texts(body)
        fault = self.faults.take(dialect.name, texts[-1])
        try:
            if fault is not None:
                bad = await self._broken(request, fault, dialect, body, self._answer(body, texts))
                if bad is not None:
                    return bad
            rule = self._book.take(body["model"], texts[-1])
            if await has_left(request, rule.delay):
                return Dropped()
            if rule.error is not None:
                if rule.error.type == "ConnectionError":
                    return Dropped()
                status = _STATUS.get(getattr(errors, rule.error.type), 400)
                content = dialect.error(status, rule.error.message, rule.error.type)
                return failed(dialect, status, content, rule.error.retry_after)
            answer = self._answer(body, texts, rule)
            if rule.fault is not None:
                bad = await self._broken(request, rule.fault, dialect, body, answer)
                if bad is not None:
                    return bad
        except BadRequestError as error:
            return refused(dialect, 400, str(error))
        self.answered += 1
        headers = self._headers(dialect)
        if body.get("stream"):
            return StreamingResponse(dialect.stream(answer, body), media_type=dialect.events, headers=headers)
        return JSONResponse(dialect.complete(answer), headers=headers)

    async def _broken(
        self, request: Request, fault: WireFault, dialect: Dialect, body: Mapping[str, Any], answer: Answer
    ) -> Response | None:
        if body.get("stream"):
            return await broken(request, fault, dialect, b"".join(dialect.stream(answer, body)), dialect.events)
        return await broken(request, fault, dialect, json.dumps(dialect.complete(answer)).encode())

    async def answer_one(self, request: Request, dialect: Dialect, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer a question of a batch.

        Args:
            request: What asked for the batch, for its headers.
            dialect: Whose batch it is.
            body: The question.

        Returns:
            A status code and a body.
        """
        self.calls += 1
        try:
            dialect.check(body, request.headers)
            texts = dialect.texts(body)
            if body["model"].startswith("missing-"):
                return 404, dialect.error(404, f"The model `{body['model']}` does not exist")
            rule = self._book.take(body["model"], texts[-1])
            if rule.error is not None or (rule.fault is not None and rule.fault.status is not None):
                name = rule.error.type if rule.error else ""
                status = _STATUS.get(getattr(errors, name, errors.StepError), 500 if rule.fault else 400)
                return status, dialect.error(status, rule.error.message if rule.error else "simulated fault", name)
            answer = self._answer(body, texts, rule)
        except BadRequestError as error:
            return 400, dialect.error(400, str(error))
        self.answered += 1
        return 200, dialect.complete(answer)

    async def embed(
        self, request: Request, dialect: Dialect, vectors: Callable[[dict[str, Any]], dict[str, Any]], texts: str
    ) -> Response:
        """Answer an embeddings call.

        Args:
            request: The call.
            dialect: Whose it is.
            vectors: Makes the answer's body of the request's.
            texts: The request's field with the texts.
        """
        self.calls += 1
        body = await self._body(request, dialect)
        refusal = self._refusal(request, dialect, body, check=False)
        if refusal is not None:
            return refusal
        try:
            answer = vectors(body)
        except BadRequestError as error:
            return refused(dialect, 400, str(error))
        fault = self.faults.take(dialect.name, str(body[texts]))
        if fault is not None:
            bad = await broken(request, fault, dialect, json.dumps(answer).encode())
            if bad is not None:
                return bad
        self.answered += 1
        return JSONResponse(answer, headers=self._headers(dialect))

    async def count_tokens(self, request: Request) -> Response:
        """Answer Anthropic's token count."""
        body = await self._body(request, ANTHROPIC)
        refusal = self._refusal(request, ANTHROPIC, {"max_tokens": 1, **body} if isinstance(body, dict) else body)
        if refusal is not None:
            return refusal
        return JSONResponse({"input_tokens": sum(map(count_tokens, ANTHROPIC.texts(body)))})

    async def models(self, request: Request) -> Response:
        """List the models."""
        dialect: Dialect = ANTHROPIC if "anthropic-version" in request.headers else OPENAI
        if self._key_is_wrong(request, dialect):
            return refused(dialect, 401, "invalid key")
        if dialect is OPENAI:
            data = [
                {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "simulator"} for name in MODELS
            ]
            return JSONResponse({"object": "list", "data": data})
        data = [
            {"type": "model", "id": name, "display_name": name, "created_at": "2024-01-01T00:00:00Z"}
            for name in MODELS
            if name.startswith("claude")
        ]
        return JSONResponse({"data": data, "has_more": False, "first_id": data[0]["id"], "last_id": data[-1]["id"]})

    async def add_faults(self, request: Request) -> Response:
        """Put faults in line."""
        try:
            self.faults.add(_FAULTS.validate_json(await request.body()))
        except ValidationError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return Response(status_code=204)

    async def stats(self, request: Request) -> Response:
        """Tell what was called."""
        return JSONResponse({"calls": self.calls, "answered": self.answered, "requests": list(self.requests)})

    async def forget(self, request: Request) -> Response:
        """Start anew."""
        self.reset()
        return Response(status_code=204)

    def _headers(self, dialect: Dialect) -> dict[str, str]:
        return {**dialect.limit_headers(), request_id_header(dialect): f"req_{self.calls:024}"}

    async def _body(self, request: Request, dialect: Dialect) -> Any:
        try:
            body = await request.json()
        except ValueError:
            body = None
        shown = {
            name: value
            for name, value in request.headers.items()
            if name not in ("authorization", "x-api-key", "api-key")
        }
        self.requests.append({"path": request.url.path, "query": request.url.query, "headers": shown, "body": body})
        return {**body, **dialect.fields(body, request.path_params)} if isinstance(body, dict) else body

    def _refusal(self, request: Request, dialect: Dialect, body: Any, *, check: bool = True) -> Response | None:
        if self._key_is_wrong(request, dialect):
            key = dialect.key(request.headers) or ""
            # OpenAI repeats the key; whoever logs its errors must take care.
            return refused(
                dialect, 401, f"Incorrect API key provided: {key}. You can find your API key in your account."
            )
        if not isinstance(body, dict):
            return refused(dialect, 400, "We could not parse the JSON body of your request.")
        try:
            if check:
                dialect.check(body, request.headers)
        except BadRequestError as error:
            return refused(dialect, 400, str(error))
        if str(body.get("model")).startswith("missing-"):
            return refused(dialect, 404, f"The model `{body['model']}` does not exist or you do not have access to it.")
        return None

    def _key_is_wrong(self, request: Request, dialect: Dialect) -> bool:
        return dialect.key(request.headers) in (None, "", "invalid")

    def _answer(self, body: dict[str, Any], texts: list[str], rule: Rule | None = None) -> Answer:
        try:
            text = text_of(rule or Rule(), body["model"], texts[-1], body)
        except ValueError as error:
            raise BadRequestError(f"Invalid schema for response_format: {error}") from None
        limit = body.get("max_tokens") or body.get("max_completion_tokens")
        cut = False
        if limit is not None and count_tokens(text) > limit:
            text, cut = text[: limit * 4], True
        return Answer(
            body["model"], text, sum(map(count_tokens, texts)), count_tokens(text), "length" if cut else "stop"
        )


def create_app(rules: Iterable[Rule] | Simulator = ()) -> ASGIApp:
    """Make the ASGI application; dropped connections need uvicorn's h11 or httptools server.

    Args:
        rules: How to answer; or a simulator that the caller wants to look into.
    """
    simulator = rules if isinstance(rules, Simulator) else Simulator(rules)

    def speaking(dialect: Dialect) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            return await simulator.chat(request, dialect)

        return answer

    async def openai_embeddings(request: Request) -> Response:
        return await simulator.embed(request, OPENAI, embeddings, "input")

    async def cohere_embeddings(request: Request) -> Response:
        return await simulator.embed(request, COHERE, COHERE.embed, "texts")

    async def bedrock_embeddings(request: Request) -> Response:
        return await simulator.embed(request, BEDROCK, BEDROCK.embed, "model")

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "healthy"})

    app = Starlette(
        routes=[
            Route("/v1/chat/completions", speaking(OPENAI), methods=["POST"]),
            Route("/v1/embeddings", openai_embeddings, methods=["POST"]),
            Route("/openai/v1/chat/completions", speaking(OPENAI), methods=["POST"]),
            Route("/openai/v1/embeddings", openai_embeddings, methods=["POST"]),
            Route("/openai/deployments/{model}/chat/completions", speaking(OPENAI), methods=["POST"]),
            Route("/openai/deployments/{model}/embeddings", openai_embeddings, methods=["POST"]),
            Route("/model/{model}/invoke", bedrock_embeddings, methods=["POST"]),
            Route("/model/{model}/{operation:path}", speaking(BEDROCK), methods=["POST"]),
            Route("/v1/inference", speaking(LLM_FORGE), methods=["POST"]),
            Route("/v2/chat", speaking(COHERE), methods=["POST"]),
            Route("/v2/embed", cohere_embeddings, methods=["POST"]),
            Route("/v1/messages", speaking(ANTHROPIC), methods=["POST"]),
            Route("/v1/messages/count_tokens", simulator.count_tokens, methods=["POST"]),
            Route("/v1/models", simulator.models),
            Route("/_simulator/faults", simulator.add_faults, methods=["POST"]),
            Route("/_simulator/stats", simulator.stats),
            Route("/_simulator", simulator.forget, methods=["DELETE"]),
            Route("/health", health),
            *simulator.stores.routes(),
            *simulator.batches.routes(),
        ]
    )
    return WithConnection(app)


def serve(host: str, port: int, rules: Iterable[Rule] = (), batch_seconds: float = 0.0) -> None:
    """Serve until stopped.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        rules: How to answer.
        batch_seconds: How long a batch takes.
    """
    import uvicorn

    app = create_app(Simulator(rules, batch_seconds))
    uvicorn.run(app, host=host, port=port, log_level="info", access_log=False, lifespan="off")
