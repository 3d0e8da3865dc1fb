"""What a failed answer means; most of it is shown over HTTP in the simulator's tests."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_llm_provider import errors
from airflow_llm_provider.clients.failures import failure, failure_in_stream, redact
from airflow_llm_provider.clients.faults import WireFault


@pytest.mark.parametrize(
    ("text", "secrets", "expected"),
    [
        ("", (), ""),
        ("a key", (), "a key"),
        ("a key and a key", ("key",), "a *** and a ***"),
        ("Bearer abcdef", ("abcdef", "Bearer abcdef"), "***"),
        ("abc", ("", "b"), "a***c"),
    ],
)
def test_redact(text: str, secrets: tuple[str, ...], expected: str) -> None:
    assert redact(text, secrets) == expected


def test_failure() -> None:
    body = {"error": {"message": "slow down, key-12345", "type": "requests", "code": "rate_limit_exceeded"}}
    error = failure("host", 429, body, headers={"retry-after": "2"}, secrets=["key-12345"])
    assert type(error) is errors.RateLimitError
    assert (str(error), error.status, error.retry_after) == (
        "host answered 429: slow down, *** (it asks for a wait of 2 s)",
        429,
        2.0,
    )


def test_a_long_message_is_cut_after_the_secret_is_hidden() -> None:
    error = failure("host", 500, "x" * 995 + "secret-0123", secrets=["secret-0123"])
    assert str(error) == "host answered 500: " + "x" * 995 + "***"


def test_failure_in_stream() -> None:
    error = failure_in_stream("openai", {"error": {"type": "rate_limit_error", "message": "key-12345"}}, ["key-12345"])
    assert type(error) is errors.RateLimitError
    assert str(error) == "openai broke the stream off: ***"


@pytest.mark.parametrize(
    ("fault", "expected", "retry_after"),
    [
        ({"status": 429, "retry_after": 0.25}, errors.RateLimitError, 0.25),
        ({"status": 429, "headers": {"Retry-After": "3"}}, errors.RateLimitError, 3.0),
        ({"status": 529}, errors.ServiceUnavailable, None),
        ({"status": 401}, errors.AuthenticationError, None),
        ({"body": {"error": "down"}}, errors.ServiceUnavailable, None),
        ({"status": 404, "body": {"error": {"code": "model_not_found"}}}, errors.ModelNotFound, None),
        ({"drop": "before"}, errors.ConnectionError, None),
        ({"drop": "middle"}, errors.ConnectionError, None),
        ({"malformed": True}, errors.ConnectionError, None),
    ],
    ids=str,
)
def test_the_error_of_a_fault(
    fault: dict[str, Any], expected: type[errors.StepError], retry_after: float | None
) -> None:
    error = WireFault(**fault).error("scripted")
    assert type(error) is expected
    assert error.retry_after == retry_after
    assert str(error).startswith("scripted")


@pytest.mark.parametrize("fault", [{}, {"delay": 1.0}, {"retry_after": 1.0}], ids=str)
def test_a_fault_without_an_error(fault: dict[str, Any]) -> None:
    assert WireFault(**fault).error("scripted") is None
