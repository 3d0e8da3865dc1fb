"""What clients over HTTP share: one call, and every way it can fail as a class of :mod:`airflow_llm_provider.errors`."""

from __future__ import annotations

import email.utils
import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from functools import cache
from typing import Any, ClassVar

import httpx

from airflow_llm_provider import __version__
from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionError,
    ContentFilterError,
    ContextLengthError,
    InvalidRequest,
    ModelNotFound,
    RateLimitError,
    ServiceUnavailable,
    StepError,
    TimeoutError,
)

__all__ = ["HttpChatClient", "error_from_answer", "events", "retry_after", "send"]

TIMEOUT = httpx.Timeout(600.0, connect=10.0)
"""Seconds; a step's own limit is usually shorter, and ends the call wherever it is."""

LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100)


@cache
def _tls() -> ssl.SSLContext:
    # Loading the certificates takes 20 ms, so all clients of a process share them.
    return httpx.create_ssl_context()


class HttpChatClient:
    """Base of the clients over HTTP.

    Args:
        credentials: How to reach the provider.

    Attributes:
        provider: The provider's name, for messages.
        default_base_url: Root of the API when the credentials name none.
        api_key_variable: The provider's usual environment variable for the key.
        base_url_variable: The provider's usual environment variable for the root of the API.

    Raises:
        ConfigurationError: There is no API key.
    """

    provider: ClassVar[str]
    default_base_url: ClassVar[str]
    api_key_variable: ClassVar[str]
    base_url_variable: ClassVar[str]

    def __init__(self, credentials: Credentials) -> None:
        if not credentials.api_key:
            raise ConfigurationError(
                f"no API key for provider {self.provider!r}; set {self.api_key_variable}, add an Airflow connection "
                f"'{self.provider}_default' with the key as password, or set integrations.llm_forge.api_keys in orchestrator.yaml"
            )
        self._key = credentials.api_key
        base_url = (credentials.base_url or self.default_base_url).rstrip("/")
        headers = {"user-agent": f"airflow-llm-provider/{__version__}", **self.authorization(self._key), **credentials.headers}
        try:
            self._http = httpx.AsyncClient(
                base_url=base_url,
                headers=headers,
                timeout=TIMEOUT,
                limits=LIMITS,
                verify=_tls() if base_url.startswith("https:") else False,
            )
        except (httpx.InvalidURL, UnicodeEncodeError, ValueError) as error:
            raise ConfigurationError(f"provider {self.provider!r} cannot be reached at {base_url!r}: {type(error).__name__}") from None

    @staticmethod
    def authorization(key: str) -> dict[str, str]:
        """Give the headers that carry the key."""
        raise NotImplementedError  # pragma: no cover - every client has its own

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a JSON body and read a JSON object.

        Raises:
            StepError: The class that fits the failure.
        """
        answer = await send(self._http, self._http.build_request("POST", path, json=body), secret=self._key)
        try:
            data = answer.json()
        except ValueError:
            data = None
        if not isinstance(data, dict):
            # A provider does not answer 200 with something else than an object; whatever stands between broke it.
            raise ConnectionError(f"{self.provider}: the answer is not JSON but {answer.text[:80]!r}", status=answer.status_code)
        return data

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Send a JSON body and read a stream of server-sent events, each a JSON object.

        Raises:
            StepError: The class that fits the failure.
        """
        request = self._http.build_request("POST", path, json=body)
        answer = await send(self._http, request, secret=self._key, stream=True)
        try:
            async for event in events(answer):
                yield event
        finally:
            await answer.aclose()


async def send(
    client: httpx.AsyncClient, request: httpx.Request, *, secret: str | None = None, stream: bool = False
) -> httpx.Response:
    """Send a request once.

    Args:
        client: Sends it.
        request: What to send.
        secret: Must not appear in an error's text, even when the other side repeats it.
        stream: Whether the caller reads the body bit by bit.

    Returns:
        The answer; its status is below 400.

    Raises:
        StepError: The class that fits the failure.
    """
    try:
        answer = await client.send(request, stream=stream)
        if answer.status_code >= 400:
            await answer.aread()
    except httpx.HTTPError as error:
        raise _transport_error(error, request) from None
    if answer.status_code >= 400:
        raise error_from_answer(answer, secret=secret)
    return answer


def _transport_error(error: httpx.HTTPError, request: httpx.Request) -> StepError:
    where = request.url.host
    if isinstance(error, httpx.TimeoutException):
        return TimeoutError(f"no answer from {where} in time ({type(error).__name__})")
    return ConnectionError(f"the connection to {where} failed ({type(error).__name__}: {error})")


async def events(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """Read server-sent events.

    Args:
        answer: A streamed answer.

    Yields:
        The JSON object of each event; the end mark ``[DONE]`` is left out.

    Raises:
        StepError: The stream broke off or holds something else.
    """
    data: list[str] = []
    try:
        async for line in answer.aiter_lines():
            if line.startswith("data:"):
                data.append(line[5:].strip())
            elif not line and data:
                text, data = "\n".join(data), []
                if text != "[DONE]":
                    yield json.loads(text)
    except httpx.HTTPError as error:
        raise _transport_error(error, answer.request) from None
    except ValueError:
        raise ConnectionError(f"{answer.request.url.host} sent an event that is not JSON") from None


def error_from_answer(answer: httpx.Response, *, secret: str | None = None) -> StepError:
    """Find the error class of an answer.

    Args:
        answer: An answer with a status of 400 or above, read to its end.
        secret: Must not appear in the error's text.
    """
    kind, code, message = _error_body(answer)
    if secret:
        message = message.replace(secret, "***")
    status = answer.status_code
    error_class = _error_class(status, f"{kind} {code}".lower(), message.lower())
    return error_class(
        f"{answer.request.url.host} answered {status}: {message}", status=status, retry_after=retry_after(answer.headers)
    )


def _error_class(status: int, words: str, message: str) -> type[StepError]:
    # OpenAI says it in `code`, Anthropic only in the message.
    if "context_length" in words or (status in (400, 413) and ("maximum context" in message or "prompt is too long" in message)):
        return ContextLengthError
    if "content_filter" in words or "content_policy" in words:
        return ContentFilterError
    if status == 404:
        return ModelNotFound if "model" in words or "model" in message else InvalidRequest
    by_status: Mapping[int, type[StepError]] = {
        401: AuthenticationError,
        403: AuthenticationError,
        408: TimeoutError,
        425: ServiceUnavailable,
        429: RateLimitError,
    }
    # An exhausted quota is a 429 as well, but no wait of minutes brings it back.
    if "insufficient_quota" in words:
        return AuthenticationError
    return by_status.get(status, ServiceUnavailable if status >= 500 else InvalidRequest)


def _error_body(answer: httpx.Response) -> tuple[str, str, str]:
    try:
        body = answer.json()
    except ValueError:
        return "", "", " ".join(answer.text.split())[:300] or answer.reason_phrase
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return "", "", str(error)[:300]
    message = str(error.get("message") or answer.reason_phrase)
    return str(error.get("type") or ""), str(error.get("code") or ""), message[:1000]


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how long the other side asks us to wait.

    Args:
        headers: The answer's headers: ``retry-after-ms``, or ``retry-after`` as seconds or as a date.

    Returns:
        Seconds, 0 or more; None when nothing is said.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(float(headers[name]) * unit, 0.0)
        except (KeyError, ValueError):
            continue
    date = email.utils.parsedate_tz(headers.get("retry-after", ""))
    return None if date is None else max(email.utils.mktime_tz(date) - time.time(), 0.0)
