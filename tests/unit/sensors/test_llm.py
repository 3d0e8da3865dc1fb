"""When a model counts as there."""

from __future__ import annotations

import asyncio

import pytest

from airflow_llm_provider.clients.base import ChatRequest, ChatResponse, Message, Usage
from airflow_llm_provider.errors import InvalidRequest, TimeoutError
from airflow_llm_provider.sensors import llm

REQUEST = ChatRequest("m", (Message("user", "ping"),))
ANSWER = ChatResponse("pong", "m", Usage(1, 1))


class Client:
    """Answers, fails, or takes its time."""

    def __init__(self, result: ChatResponse | Exception, seconds: float = 0.0) -> None:
        self._result, self._seconds = result, seconds

    async def chat(self, request: ChatRequest) -> ChatResponse:
        await asyncio.sleep(self._seconds)
        if isinstance(self._result, Exception):
            raise self._result
        return self._result

    async def aclose(self) -> None:
        """Nothing is open."""


async def test_a_model_that_answers_is_there() -> None:
    assert await llm._answer(Client(ANSWER), REQUEST) == ANSWER


async def test_a_model_that_thinks_until_nothing_is_left_is_there() -> None:
    told = "Could not finish the message because max_tokens or model output limit was reached"
    assert await llm._answer(Client(InvalidRequest(told)), REQUEST) is None
    with pytest.raises(InvalidRequest, match="no such parameter"):
        await llm._answer(Client(InvalidRequest("no such parameter")), REQUEST)


async def test_a_model_that_hangs_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm, "PATIENCE", 0.05)
    with pytest.raises(TimeoutError, match=r"does not answer within 0\.05 s"):
        await llm._answer(Client(ANSWER, 5), REQUEST)
