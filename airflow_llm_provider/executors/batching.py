"""A fan-out of questions as batches of the provider's: at half the price, and within a day.

The step runs as it always does, over and over: a question whose answer is known is answered, every other one is put aside and cuts
its item off (:class:`PutAside`). What was put aside is handed in as one batch, and when that has ended, the step runs again. So
conditions, templates, schemas, outputs and accounts are those of a step that asks by itself, and whoever takes the step over has
only to know the batches that were handed in (:class:`HandedIn`).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
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
from airflow_llm_provider.errors import InvalidRequest, RateLimitError, ServiceUnavailable, StepError
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
        accounts: The accounts that it was taken from.
        accounted: Whether what it did cost has been entered, and the rest given back.
    """

    id: str
    provider: str
    connection: str | None
    base_url: str | None
    attempt: int
    questions: int = 0
    usd: float = 0.0
    accounts: tuple[str, ...] = ()
    accounted: bool = False


class Batching:
    """Answers the questions of one step from batches, and puts aside those that are in none; it is the runtime's ``answers``.

    Args:
        runtime: Clients and credentials.
        attempt: The try of the task. Questions that could not be answered in an earlier one are asked again.
        name: The same for the same step of the same run.
        payer: On whose account the questions are.

    Attributes:
        overpaid: The batches that have ended and are not accounted for yet, each with the USD that were taken from budgets for it
            and not needed.
        refused: Why the batch of this try was refused as a whole; None when it was not.
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
        self.overpaid: list[tuple[HandedIn, float]] = []
        self.refused: StepError | None = None

    async def read(self, batches: Iterable[HandedIn]) -> HandedIn | None:
        """Read the answers of batches.

        Args:
            batches: Those that were handed in, the oldest first.

        Returns:
            The one that is still worked on; None when all have ended.

        Raises:
            StepError: A batch cannot be looked up.
        """
        self.overpaid, self.refused = [], None
        for batch in batches:
            self._place = (batch.provider, batch.connection, batch.base_url)
            async with self._client() as client:
                status = await client.status(batch.id)
                if status.state == "running":
                    return batch
                is_own = batch.attempt == self._attempt
                if status.state == "failed":
                    self._account(batch, ())
                    self.refused = _refused(batch, status.error) if is_own else self.refused
                    continue
                # Nothing is entered before all is read: what breaks off is read again.
                told = [result async for result in client.results(batch.id)]
            answers = [answer for _, answer in told if isinstance(answer, ChatResponse)]
            self._answers.update((key, answer) for key, answer in told if isinstance(answer, ChatResponse) or is_own)
            self._account(batch, answers)
            if is_own:
                # One that has expired, or was given up, need not tell of all its questions.
                self._lost = self._lost or len(told) < batch.questions
        return None

    def _account(self, batch: HandedIn, answers: Iterable[ChatResponse]) -> None:
        if batch.accounted:
            return
        left = batch.usd
        for answer in answers:
            cost = self._price(batch.provider, answer.model, answer.usage)
            left -= cost or 0.0
            self._runtime.spent(self._payer, batch.provider, answer.usage, cost)
        self.overpaid.append((batch, left))

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

    async def hand_in(self, context: StepContext, *, look_first: bool, known: Collection[str] = ()) -> HandedIn:
        """Hand in what was put aside, and take from the budgets what it may cost.

        Args:
            context: The step.
            look_first: Whether it may be handed in already, by a process that was killed before it could say so.
            known: Ids of the batches that were handed in before.

        Raises:
            StepError: What went wrong.
        """
        assert self._place is not None
        provider, connection, base_url = self._place
        aside = dict(self._aside)
        name = f"{self._name} {hashlib.sha256(' '.join(sorted(aside)).encode()).hexdigest()[:32]}"
        async with self._client() as client:
            batch_id = await client.find(name, known) if look_first else None
            usd = sum(self._most(provider, request) for request in aside.values())
            if batch_id is not None:
                # Whoever handed it in had paid; from which accounts, only a process that is gone knows.
                paid = HandedIn(batch_id, provider, connection, base_url, self._attempt, len(aside))
            else:
                accounts = await pay_ahead(context, usd)
                try:
                    batch_id = await client.submit(aside, name)
                except BaseException as error:
                    if accounts and not getattr(error, "may_have_cost", False):
                        ledger = self._runtime.ledger()
                        assert ledger is not None
                        await asyncio.shield(ledger.give_back(accounts, usd, f"{name} {time.time_ns()}"))
                    raise
                paid = HandedIn(batch_id, provider, connection, base_url, self._attempt, len(aside), usd, accounts)
        self._aside.clear()
        context.say(f"{len(aside)} questions are handed in to {provider} as batch {batch_id}")
        return paid

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


def _refused(batch: HandedIn, reason: str | None) -> StepError:
    message = f"{batch.provider} refused the batch {batch.id}: {reason or 'no reason given'}"
    # OpenAI bounds what waits in batches at once; that passes.
    passes = reason is not None and "token limit" in reason.lower()
    return RateLimitError(message) if passes else InvalidRequest(message)


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
