"""What clients over HTTP share: one call, and every way it can fail as a class of :mod:`airflow_llm_provider.errors`."""

from __future__ import annotations

import contextlib
import email.utils
import json
import math
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
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
        if not (self._key.isascii() and self._key.isprintable()) or " " in self._key:
            raise ConfigurationError(
                f"the API key for provider {self.provider!r} holds a blank, a line end or another character that no key has; "
                "copy it again, without what stands around it"
            )
        base_url = (credentials.base_url or self.default_base_url).rstrip("/")
        headers = {
            "user-agent": f"airflow-llm-provider/{__version__}",
            **self.authorization(self._key),
            **credentials.headers,
        }
        try:
            url = httpx.URL(base_url)
            if url.scheme not in ("http", "https") or not url.host:
                raise ValueError("no http URL")
            self._http = httpx.AsyncClient(
                base_url=url,
                headers=headers,
                timeout=TIMEOUT,
                limits=LIMITS,
                verify=_tls() if base_url.startswith("https:") else False,
            )
        except (httpx.InvalidURL, UnicodeEncodeError, ValueError) as error:
            raise ConfigurationError(
                f"provider {self.provider!r} cannot be reached at {base_url!r} ({type(error).__name__}); "
                f"write a URL such as {self.default_base_url!r}"
            ) from None

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
            shown = _hidden(answer.text, self._key)[:80]
            raise ConnectionError(
                f"{self.provider}: the answer is no JSON object but {shown!r}", status=answer.status_code
            )
        return data

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Send a JSON body and read a stream of server-sent events, each a JSON object.

        Raises:
            StepError: The class that fits the failure.
        """
        request = self._http.build_request("POST", path, json=body)
        answer = await send(self._http, request, secret=self._key, stream=True)
        try:
            async for event in events(answer):
                if event.get("error"):
                    raise self._error_in_stream(event)
                yield event
        finally:
            await answer.aclose()

    def _error_in_stream(self, event: Mapping[str, Any]) -> StepError:
        # The status was 200 when the answer began, so the error's type has to tell what it would have been.
        kind, code, message = _error_body(event, "no reason given")
        words = f"{kind} {code}".lower()
        status = next((status for word, status in _STATUS_OF_TYPE.items() if word in words), 500)
        error_class = _error_class(status, words, message.lower())
        return error_class(f"{self.provider} broke the stream off: {_hidden(message, self._key)[:1000]}")

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Turn what goes wrong while an answer's parts are read into the class for an answer that did not arrive.

        Raises:
            ConnectionError: The answer does not have the form that the API promises.
        """
        try:
            yield
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            what = f"{type(error).__name__}: {_hidden(str(error), self._key)}"
            raise ConnectionError(f"{self.provider}: the answer does not have the API's form ({what})") from None


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
        raise _transport_error(error, request, secret) from None
    if answer.status_code >= 400:
        raise error_from_answer(answer, secret=secret)
    return answer


def _hidden(text: str, secret: str | None) -> str:
    return text.replace(secret, "***") if secret else text


def _transport_error(error: httpx.HTTPError, request: httpx.Request, secret: str | None = None) -> StepError:
    where = request.url.host
    if isinstance(error, httpx.TimeoutException):
        return TimeoutError(f"no answer from {where} in time ({type(error).__name__})")
    if isinstance(error, httpx.UnsupportedProtocol):
        return InvalidRequest(f"{str(request.url)[:200]!r} is no http or https URL")
    if isinstance(error, httpx.LocalProtocolError):
        # The request is at fault, and the library's message may quote a header.
        return InvalidRequest(
            f"the request to {where} cannot be sent; a header holds a line end or another control character"
        )
    return ConnectionError(f"the connection to {where} failed ({type(error).__name__}: {_hidden(str(error), secret)})")


async def _lines(answer: httpx.Response) -> AsyncIterator[str]:
    # httpx's own lines also end at U+2028, U+0085 and others, which JSON texts may hold as they are.
    rest = b""
    async for piece in answer.aiter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode()


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
        async for line in _lines(answer):
            if line.startswith("data:"):
                data.append(line[5:].strip())
            elif not line and data:
                text, data = "\n".join(data), []
                if text != "[DONE]":
                    event = json.loads(text)
                    if not isinstance(event, dict):
                        raise ValueError(text)
                    yield event
    except httpx.HTTPError as error:
        raise _transport_error(error, answer.request) from None
    except ValueError:
        raise ConnectionError(f"{answer.request.url.host} sent an event that is no JSON object") from None


def error_from_answer(answer: httpx.Response, *, secret: str | None = None) -> StepError:
    """Find the error class of an answer.

    Args:
        answer: An answer with a status of 400 or above, read to its end.
        secret: Must not appear in the error's text.
    """
    try:
        body = answer.json()
    except ValueError:
        body = " ".join(answer.text.split())[:10_000]
    kind, code, message = _error_body(body, answer.reason_phrase)
    # Hidden before it is cut, so that no part of the secret is left at the end.
    message = _hidden(message, secret)[:1000]
    status = answer.status_code
    error_class = _error_class(status, f"{kind} {code}".lower(), message.lower())
    return error_class(
        f"{answer.request.url.host} answered {status}: {message}",
        status=status,
        retry_after=retry_after(answer.headers),
    )


_STATUS_OF_TYPE: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit": 429,
    "insufficient_quota": 429,
}


def _error_class(status: int, words: str, message: str) -> type[StepError]:
    # OpenAI says it in `code`, Anthropic only in the message.
    if "context_length" in words or (
        status in (400, 413) and ("maximum context" in message or "prompt is too long" in message)
    ):
        return ContextLengthError
    if "content_filter" in words or "content_policy" in words or "content filtering policy" in message:
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
    # An exhausted quota or spend limit is a 429 as well, but no wait of minutes brings it back.
    if "insufficient_quota" in words or "spend_limit" in words:
        return AuthenticationError
    return by_status.get(status, ServiceUnavailable if status >= 500 else InvalidRequest)


def _error_body(body: Any, default: str) -> tuple[str, str, str]:
    error = (body.get("error") or body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return "", "", str(error or default)
    details = error.get("details")
    code = error.get("code") or (details.get("error_code") if isinstance(details, dict) else None)
    # FastAPI, on which many servers of OpenAI's API are built, says `detail`.
    message = error.get("message") or error.get("detail") or default
    return str(error.get("type") or ""), str(code or ""), str(message)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how long the other side asks us to wait.

    Args:
        headers: The answer's headers: ``retry-after-ms``, or ``retry-after`` as seconds or as a date.

    Returns:
        Seconds, 0 or more; None when nothing is said.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        return max(seconds, 0.0) if math.isfinite(seconds) else None
    try:
        date = email.utils.parsedate_tz(headers.get("retry-after", ""))
        return None if date is None else max(email.utils.mktime_tz(date) - time.time(), 0.0)
    except (ValueError, OverflowError):
        # Looks like a date, but there is no such day.
        return None
