"""A fan-out of questions as batches of the provider's: at half the price, and within a day.

The step runs as it always does, over and over: a question whose answer is known is answered, every other one is put aside and cuts
its item off (:class:`PutAside`). What was put aside is handed in as one batch, and when that has ended, the step runs again. So
conditions, templates, schemas, outputs and accounts are those of a step that asks by itself, and whoever takes the step over has
only to know the batches that were handed in (:class:`HandedIn`).
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from airflow_llm_provider.clients.base import ChatRequest, ChatResponse, Usage
from airflow_llm_provider.clients.batch import PRICE, BatchClient
from airflow_llm_provider.clients.failures import known_secrets, redact
from airflow_llm_provider.clients.rules import count_tokens
from airflow_llm_provider.config.money import ModelPlace
from airflow_llm_provider.engine.executor import StepContext
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.engine.spending import Payer
from airflow_llm_provider.errors import InvalidRequest, ServiceUnavailable, StepError
from airflow_llm_provider.executors.paying import LONGEST_ANSWER, pay_ahead
from airflow_llm_provider.workflow.model import Retry, Step
from airflow_llm_provider.workflow.values import to_json

__all__ = ["Batching", "HandedIn", "PutAside", "in_one_try"]


class PutAside(Exception):
    """The question is to be handed in with others; its answer comes later."""


@dataclass(frozen=True, slots=True)
class HandedIn:
    """A batch that was handed in.

    Attributes:
        id: The provider's id of it.
        provider: Whose it is.
        connection: The Airflow connection that was used; None for the provider's default.
        base_url: The address that was; None for what the credentials say.
        attempt: In which try of the task.
        questions: How many are in it.
        usd: What was taken from budgets for it.
        accounted: Whether what it did cost has been entered, and the rest given back.
    """

    id: str
    provider: str
    connection: str | None
    base_url: str | None
    attempt: int
    questions: int = 0
    usd: float = 0.0
    accounted: bool = False


class Batching:
    """Answers the questions of one step from batches, and puts aside those that are in none; it is the runtime's ``answers``.

    Args:
        runtime: Clients and credentials.
        attempt: The try of the task. Questions that could not be answered in an earlier one are asked again.
        name: The same for the same step of the same run.
        payer: On whose account the questions are.

    Attributes:
        overpaid: USD that were taken from budgets for batches that are not accounted for yet, and not needed.
    """

    def __init__(self, runtime: Runtime, attempt: int, name: str, payer: Payer) -> None:
        self._runtime = runtime
        self._attempt = attempt
        self._name = name
        self._payer = payer
        self._given: set[str] = set()
        self._place: tuple[str, str | None, str | None] | None = None
        self._answers: dict[str, ChatResponse | StepError] = {}
        self._aside: dict[str, ChatRequest] = {}
        self._lost = False
        self.overpaid = 0.0

    async def read(self, batches: Iterable[HandedIn]) -> HandedIn | None:
        """Read the answers of batches.

        Args:
            batches: Those that were handed in, the oldest first.

        Returns:
            The one that is still worked on; None when all have ended.

        Raises:
            StepError: A batch cannot be looked up.
        """
        for batch in batches:
            self._place = (batch.provider, batch.connection, batch.base_url)
            async with self._client() as client:
                status = await client.status(batch.id)
                if status.state == "running":
                    return batch
                if status.state == "failed":
                    self._failed(batch, status.error)
                    continue
                is_own, told = batch.attempt == self._attempt, 0
                async for question, answer in client.results(batch.id):
                    told += 1
                    if isinstance(answer, ChatResponse) or is_own:
                        self._answers[question] = answer
                    if isinstance(answer, ChatResponse) and not batch.accounted:
                        cost = self._price(batch.provider, answer.model, answer.usage)
                        self.overpaid -= cost or 0.0
                        self._runtime.spent(self._payer, batch.provider, answer.usage, cost)
                if not batch.accounted:
                    self.overpaid += batch.usd
                if is_own:
                    # One that has expired, or was given up, need not tell of all its questions.
                    self._lost = self._lost or told < batch.questions
        return None

    def _failed(self, batch: HandedIn, reason: str | None) -> None:
        if batch.attempt == self._attempt:
            raise InvalidRequest(f"{batch.provider} refused the batch {batch.id}: {reason or 'no reason given'}")

    async def __call__(self, place: ModelPlace, request: ChatRequest) -> tuple[ChatResponse, float] | None:
        """Answer a question.

        Args:
            place: Who is asked.
            request: The question.

        Returns:
            The answer, and which part of its usual price it costs; None for a question to another provider than the batch's, which
            is asked at once.

        Raises:
            PutAside: It is to be handed in.
            InvalidRequest: The address holds a secret.
            StepError: It could not be answered.
        """
        at = (place.provider, place.connection, place.base_url)
        if self._place is None:
            _check_address(place.base_url)
            self._place = at
        if at != self._place:
            return None
        question = _key(request)
        answer = self._answers.get(question)
        if isinstance(answer, StepError):
            raise answer
        if answer is None and self._lost:
            raise ServiceUnavailable(f"{place.provider}: the batch ended before the question was answered")
        if answer is None:
            # The same question is asked once.
            self._aside[question] = replace(request, stream=False)
            raise PutAside
        price = 0.0 if question in self._given else PRICE
        self._given.add(question)
        return answer, price

    async def hand_in(self, context: StepContext, *, look_first: bool) -> HandedIn:
        """Hand in what was put aside, and take from the budgets what it may cost.

        Args:
            context: The step.
            look_first: Whether it may be handed in already, by a process that was killed before it could say so.

        Raises:
            StepError: What went wrong.
        """
        assert self._place is not None
        provider, connection, base_url = self._place
        aside, self._aside = self._aside, {}
        name = f"{self._name} {hashlib.sha256(' '.join(sorted(aside)).encode()).hexdigest()[:32]}"
        async with self._client() as client:
            batch_id = await client.find(name) if look_first else None
            usd = sum(self._most(provider, request) for request in aside.values())
            if batch_id is None:
                await pay_ahead(context, usd)
                batch_id = await client.submit(aside, name)
        context.say(f"{len(aside)} questions are handed in to {provider} as batch {batch_id}")
        return HandedIn(batch_id, provider, connection, base_url, self._attempt, len(aside), usd)

    def _most(self, provider: str, request: ChatRequest) -> float:
        usage = Usage(count_tokens(request.messages), request.max_tokens or LONGEST_ANSWER)
        return self._price(provider, request.model, usage) or 0.0

    def _price(self, provider: str, model: str, usage: Usage) -> float | None:
        usual = self._runtime.price(provider, model, usage)
        return None if usual is None else usual * PRICE

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[BatchClient]:
        assert self._place is not None
        client = self._runtime.batch(*self._place)
        try:
            yield client
        finally:
            await client.aclose()


def _check_address(url: str | None) -> None:
    # It is kept beside the batch's id, where people can read it.
    if url is not None and (urlsplit(url).password or redact(url, known_secrets()) != url):
        raise InvalidRequest(
            "the 'base_url' of questions in a batch must hold no secret, for it is kept until the batch has ended; "
            "put it into an Airflow connection, and name that"
        )


def in_one_try(step: Step) -> Step:
    """Give a fan-out whose items are tried once: what a batch has not answered is not answered by asking it again.

    Args:
        step: The fan-out.
    """
    assert step.template is not None
    once = Retry(max_attempts=1)
    return replace(step, retry=once, template=replace(step.template, retry=once))


def _key(request: ChatRequest) -> str:
    asked: Mapping[str, Any] = {**asdict(request), "stream": False}
    return hashlib.sha256(to_json(asked).encode()).hexdigest()[:40]
