"""Vectors without a network, and many texts in batches."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
from itertools import combinations
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_llm_provider import errors
from airflow_llm_provider.clients.base import EmbeddingRequest, EmbeddingResponse, Usage
from airflow_llm_provider.clients.batches import CONCURRENCY, embed_all
from airflow_llm_provider.clients.hashing import hashed_vector
from airflow_llm_provider.clients.scripted import ScriptedEmbeddings


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


# -------------------------------------------------------------------- hashing


@given(st.text(), st.integers(1, 64))
def test_every_text_has_a_unit_vector(text: str, dimensions: int) -> None:
    vector = hashed_vector(text, dimensions)
    assert len(vector) == dimensions
    assert math.hypot(*vector) == pytest.approx(1)


NEAR = [
    ("How do I reset my password?", "Resetting your password: open the settings", "The invoice is due in May"),
    ("opening hours of the library", "When does the library open?", "Cats chase mice at night"),
    ("TEA", "tea", "coffee"),
    ("Straße in Zürich", "Strassen in Zürich", "日本語のテキスト"),
]


@pytest.mark.parametrize(("text", "near", "far"), NEAR)
def test_similar_texts_are_near_each_other(text: str, near: str, far: str) -> None:
    asked, close, other = (hashed_vector(item, 256) for item in (text, near, far))
    assert cosine(asked, close) > cosine(asked, other) + 0.1


def test_a_vector_is_the_same_in_every_process() -> None:
    code = "from airflow_llm_provider.clients.hashing import hashed_vector; print(hashed_vector('green tea', 8))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{hashed_vector('green tea', 8)}\n"


async def test_scripted() -> None:
    client = ScriptedEmbeddings()
    answer = await client.embed(EmbeddingRequest("any", ("green tea", "black tea")))
    assert [len(vector) for vector in answer.vectors] == [256, 256]
    assert (answer.model, answer.usage) == ("any", Usage(6))
    short = await client.embed(EmbeddingRequest("any", ("green tea",), dimensions=8))
    assert short.vectors == (hashed_vector("green tea", 8),)
    await client.aclose()


# -------------------------------------------------------------------- batches


class Recorder:
    """Gives each text its number as its vector, and fails for the texts it is told to."""

    most_texts: ClassVar[int] = 10

    def __init__(self, *failing: str) -> None:
        self.failing = {*failing}
        self.calls: list[tuple[str, ...]] = []
        self.busy = self.busiest = 0

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        self.calls.append(request.texts)
        self.busy += 1
        self.busiest = max(self.busy, self.busiest)
        # The later a batch is asked for, the sooner it is answered.
        for _ in range(100 - len(self.calls)):
            await asyncio.sleep(0)
        self.busy -= 1
        if self.failing & {*request.texts}:
            raise errors.RateLimitError("slower, please")
        return EmbeddingResponse(tuple([float(text)] for text in request.texts), "m-1", Usage(len(request.texts)))

    async def aclose(self) -> None:
        """Nothing is open."""


def numbers(count: int) -> EmbeddingRequest:
    return EmbeddingRequest("m", tuple(map(str, range(count))))


@pytest.mark.parametrize(
    ("count", "batch_size", "calls"),
    [(0, None, 0), (1, None, 1), (10, None, 1), (11, None, 2), (95, 10, 10), (7, 1, 7)],
)
async def test_batches_keep_the_order(count: int, batch_size: int | None, calls: int) -> None:
    client = Recorder()
    told: list[int] = []
    answer = await embed_all(
        client.embed,
        numbers(count),
        batch_size or client.most_texts,
        answered=lambda answer, ms: told.append(len(answer.vectors)),
    )
    assert answer.vectors == tuple([float(number)] for number in range(count))
    assert answer.usage == Usage(count)
    assert answer.model == ("m-1" if count else "m")
    assert (len(client.calls), sum(told)) == (calls, count)
    assert client.busiest == min(calls, CONCURRENCY)


async def test_what_was_answered_is_not_asked_for_again() -> None:
    client = Recorder("35")
    answers: dict[int, EmbeddingResponse] = {}
    told: list[int] = []

    async def attempt() -> EmbeddingResponse:
        return await embed_all(
            client.embed,
            numbers(100),
            10,
            answers=answers,
            answered=lambda answer, ms: told.append(int(answer.vectors[0][0])),
        )

    with pytest.raises(errors.RateLimitError):
        await attempt()
    assert sorted(answers) == [0, 10, 20], "calls under way are waited for, and no other is begun"
    client.failing.clear()
    answer = await attempt()
    assert answer.vectors == tuple([float(number)] for number in range(100))
    assert answer.usage == Usage(100)
    assert sorted(told) == list(range(0, 100, 10))
    asked = [texts[0] for texts in client.calls]
    assert [number for number in {*asked} if asked.count(number) > 1] == ["30"]
    assert not any(a is b for a, b in combinations(answer.vectors, 2))
