"""What a failed answer means: its status, body and headers as a class of :mod:`airflow_llm_provider.errors`.

Apart from the transport, so that the scripted provider can fail as a real one does without loading a network library.
"""

from __future__ import annotations

import contextlib
import email.utils
import math
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from airflow_llm_provider.errors import (
    AuthenticationError,
    ContentFilterError,
    ContextLengthError,
    InvalidRequest,
    ModelNotFound,
    RateLimitError,
    ServiceUnavailable,
    StepError,
    TimeoutError,
)

__all__ = ["failure", "failure_in_stream", "is_too_long", "knowing", "known_secrets", "redact", "retry_after"]

_KNOWN: ContextVar[tuple[Collection[str], ...]] = ContextVar("known_secrets", default=())

LONGEST_MESSAGE = 1000
"""Characters of a provider's message that are repeated."""

_STATUS_OF_TYPE: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit": 429,
    "insufficient_quota": 429,
}

_TOO_LONG = (
    "maximum context", "prompt is too long", "too many tokens", "input is too long", "exceed context limit",
    "exceeds the maximum number of tokens",
)  # fmt: skip


@contextlib.contextmanager
def knowing(secrets: Collection[str]) -> Iterator[None]:
    """Let :func:`known_secrets` know of further ones meanwhile.

    Args:
        secrets: Those that the step at work is given; may grow. What a step runs by itself may show them as well.
    """
    token = _KNOWN.set((*_KNOWN.get(), secrets))
    try:
        yield
    finally:
        _KNOWN.reset(token)


def known_secrets() -> set[str]:
    """Give the secrets of the step at work and of those that run it, for whoever writes down what is asked and answered."""
    return {secret for secrets in _KNOWN.get() for secret in secrets}


def failure(
    who: str,
    status: int,
    body: Any,
    *,
    reason: str = "no reason given",
    headers: Mapping[str, str] | None = None,
    secrets: Iterable[str] = (),
) -> StepError:
    """Find the error of an answer.

    Args:
        who: Who answered, for the message.
        status: The answer's status code, 400 or above.
        body: The answer's body, parsed when it is JSON.
        reason: Stands for a message where the body has none.
        headers: The answer's headers, which may ask for a wait.
        secrets: Must not appear in the error's text, even when the other side repeats them.
    """
    kind, code, message = _error_body(body, reason)
    error_class = _error_class(status, f"{kind} {code}".lower(), message.lower())
    # Hidden before it is cut, so that no part of a secret is left at the end.
    text = redact(message, secrets)[:LONGEST_MESSAGE]
    wait = retry_after(headers or {})
    asked = f" (it asks for a wait of {wait:g} s)" if wait else ""
    # A gateway gives up on a server that goes on.
    late = status in (408, 504, 524)
    return error_class(f"{who} answered {status}: {text}{asked}", status=status, retry_after=wait, may_have_cost=late)


def failure_in_stream(who: str, event: Mapping[str, Any], secrets: Iterable[str] = ()) -> StepError:
    """Find the error of a stream that ends in an error event.

    Args:
        who: Who answered, for the message.
        event: The event, with a member ``error``.
        secrets: Must not appear in the error's text.
    """
    # The status was 200 when the answer began, so the error's type has to tell what it would have been.
    kind, code, message = _error_body(event, "no reason given")
    words = f"{kind} {code}".lower()
    status = next((status for word, status in _STATUS_OF_TYPE.items() if word in words), 500)
    error_class = _error_class(status, words, message.lower())
    text = redact(message, secrets)[:LONGEST_MESSAGE]
    return error_class(f"{who} broke the stream off: {text}", may_have_cost=True)


def is_too_long(message: str) -> bool:
    """Tell whether an error's message says that the prompt does not fit the model.

    Args:
        message: What the provider says.
    """
    return any(words in message.lower() for words in _TOO_LONG)


def redact(text: str, secrets: Iterable[str]) -> str:
    """Put three asterisks in place of each secret.

    Args:
        text: A text from the other side.
        secrets: What must not be in it.
    """
    # The longest first: a secret may hold another one.
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


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


def _error_class(status: int, words: str, message: str) -> type[StepError]:
    # OpenAI says it in `code`, others only in the message.
    if "context_length" in words or (status in (400, 413) and is_too_long(message)):
        return ContextLengthError
    if (
        "content_filter" in words
        or "content_policy" in words
        or "toxic" in words
        or "content filtering policy" in message
    ):
        return ContentFilterError
    if status == 404:
        told = words + message
        # Azure calls a model that it serves a deployment.
        return ModelNotFound if "model" in told or "deployment" in told else InvalidRequest
    by_status: Mapping[int, type[StepError]] = {
        401: AuthenticationError,
        403: AuthenticationError,
        408: TimeoutError,
        # Cohere: its classifier has stopped the answer.
        498: ContentFilterError,
        425: ServiceUnavailable,
        429: RateLimitError,
    }
    # An exhausted quota or spend limit is a 429 as well, but no wait of minutes brings it back.
    if "insufficient_quota" in words or "spend_limit" in words:
        return AuthenticationError
    return by_status.get(status, ServiceUnavailable if status >= 500 else InvalidRequest)


def _error_body(body: Any, default: str) -> tuple[str, str, str]:
    if isinstance(body, list) and body and isinstance(body[0], dict) and "error" in body[0]:
        # Gemini's way to speak OpenAI's API.
        body = body[0]
    error = (body.get("error") or body) if isinstance(body, dict) else body
    if isinstance(error, list) and error and isinstance(error[0], dict):
        # Weaviate tells of several.
        error = error[0]
    if isinstance(error, dict) and isinstance(error.get("status"), dict):
        # Qdrant: {"status": {"error": …}}.
        error = error["status"].get("error")
    if not isinstance(error, dict):
        return "", "", str(error or default)
    details = error.get("details")
    code = error.get("code") or (details.get("error_code") if isinstance(details, dict) else None)
    # FastAPI, on which many servers of OpenAI's API are built, says `detail`.
    message = error.get("message") or error.get("detail") or default
    return str(error.get("type") or ""), str(code or ""), str(message)
