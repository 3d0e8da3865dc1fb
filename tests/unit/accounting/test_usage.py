"""The account of a step."""

from __future__ import annotations

import json

import pytest

from airflow_llm_provider.accounting.usage import StepUsage
from airflow_llm_provider.clients.base import Usage


def test_to_dict() -> None:
    usage = StepUsage("openai", "m", 10, 5, 4, 3, cost_usd=0.25, latency_ms=12.34567, attempts=2, calls=3)
    assert usage.total_tokens == 15
    assert usage.to_dict() == {
        "provider": "openai",
        "model": "m",
        "input_tokens": 10,
        "output_tokens": 5,
        "cached_tokens": 4,
        "reasoning_tokens": 3,
        "total_tokens": 15,
        "cost_usd": 0.25,
        "latency_ms": 12.346,
        "attempts": 2,
        "calls": 3,
    }


@pytest.mark.parametrize("usage", [StepUsage("p", "m"), StepUsage("p", "m", cost_usd=0.0, attempts=1)])
def test_is_plain_json(usage: StepUsage) -> None:
    assert json.loads(json.dumps(usage.to_dict())) == usage.to_dict()


def test_tokens_of_a_call() -> None:
    assert Usage(3, 4, cached_tokens=2, reasoning_tokens=1).total_tokens == 7
    assert Usage().total_tokens == 0
