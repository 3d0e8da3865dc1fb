"""Many texts to vectors: as many calls as it takes, a few at a time.

What was answered stays when another call fails, so that a second try asks, and pays, only for what is missing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace

from airflow_llm_provider.clients.base import EmbeddingRequest, EmbeddingResponse, Usage

__all__ = ["CONCURRENCY", "embed_all"]

CONCURRENCY = 4
"""Calls that are under way at the same time."""


async def embed_all(
    embed: Callable[[EmbeddingRequest], Awaitable[EmbeddingResponse]],
    request: EmbeddingRequest,
    size: int,
    *,
    answered: Callable[[EmbeddingResponse, float], None] = lambda answer, latency_ms: None,
    answers: MutableMapping[int, EmbeddingResponse] | None = None,
) -> EmbeddingResponse:
    """Turn any number of texts into vectors.

    Args:
        embed: Asks for the vectors of some of the texts.
        request: The texts.
        size: Most texts of one call.
        answered: Told of every answered call, and of the milliseconds that it took.
        answers: Keeps the answered calls, by the place of their first text; those in it are not asked for again.

    Returns:
        The vectors of all texts, in their order, and the tokens of all calls.

    Raises:
        StepError: That of the first call that failed. No new call is begun then; those under way are waited for and kept.
    """
    kept = {} if answers is None else answers
    missing = iter([start for start in range(0, len(request.texts), size) if start not in kept])
    failures: list[Exception] = []

    async def work() -> None:
        for start in missing:
            if failures:
                return
            began = time.perf_counter()
            try:
                answer = await embed(replace(request, texts=request.texts[start : start + size]))
            except Exception as error:
                failures.append(error)
                return
            kept[start] = answer
            answered(answer, (time.perf_counter() - began) * 1000)

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    if failures:
        raise failures[0]
    whole = [kept[start] for start in sorted(kept)]
    return EmbeddingResponse(
        vectors=tuple(vector for answer in whole for vector in answer.vectors),
        model=whole[0].model if whole else request.model,
        usage=Usage(sum(answer.usage.input_tokens for answer in whole)),
    )
