"""When a failed try is worth another one, and after what wait: tenacity, driven by the workflow's :class:`Retry`.

The rules are those of workflow-language section 5: the file's list of error classes decides, a provider's ``Retry-After`` wins
over the computed wait, and what can never succeed (a wrong credential, a request that is refused, an unknown model) is not tried
again whatever the file says.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.stop import stop_base

from airflow_llm_provider.errors import (
    AuthenticationError,
    BudgetExceeded,
    ConfigurationError,
    ExpressionError,
    InvalidRequest,
    ModelNotFound,
    PolicyViolation,
    SchemaMismatch,
    StepError,
)
from airflow_llm_provider.workflow.model import Retry

__all__ = ["HOPELESS", "LONGEST_WAIT", "retrying"]

HOPELESS = (
    AuthenticationError,
    InvalidRequest,
    ModelNotFound,
    BudgetExceeded,
    PolicyViolation,
    ConfigurationError,
    ExpressionError,
)
"""What fails again however often it is tried."""

LONGEST_WAIT = 3600.0
"""Seconds; the longest ``Retry-After`` that is waited for, after which the step fails and says what was asked of it."""


def retrying(
    retry: Retry,
    before_sleep: Callable[[int, BaseException, float], None],
    *,
    tried: int = 0,
    postpone: Callable[[float], bool] = lambda wait: False,
    waits: bool = True,
) -> AsyncRetrying:
    """Make the loop that a step's tries run in.

    Args:
        retry: The rule.
        before_sleep: Called with the number of the failed try (from 1), its error and the wait in seconds.
        tried: Tries that were made before, which count.
        postpone: Told of the seconds until the next try; says whether to leave it to others, and end here with the error.
        waits: Whether to wait at all between tries.

    Returns:
        tenacity's async iterator over attempts; the last error is raised as it is.
    """

    def worth_another(error: BaseException) -> bool:
        if not isinstance(error, StepError) or isinstance(error, HOPELESS):
            return False
        if (error.retry_after or 0) > LONGEST_WAIT:
            return False
        if isinstance(error, SchemaMismatch):
            # It is mended by asking again with what was wrong, whichever errors the file lists.
            return True
        return error.is_any_of(retry.errors)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, StepError) and error.retry_after is not None:
            # Many are told the same; a little later than asked, they do not come back at once.
            return error.retry_after + (random.uniform(0, min(1.0, error.retry_after / 10)) if retry.jitter else 0.0)
        delay = retry.delay(tried + state.attempt_number)
        return random.uniform(delay / 2, delay) if retry.jitter else delay

    def report(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is not None and state.next_action is not None:
            before_sleep(tried + state.attempt_number, error, state.next_action.sleep)

    return AsyncRetrying(
        stop=stop_after_attempt(retry.max_attempts - tried) | _StopWhen(postpone),
        wait=wait,
        retry=retry_if_exception(worth_another),
        sleep=asyncio.sleep if waits else _at_once,
        before_sleep=report,
        reraise=True,
    )


class _StopWhen(stop_base):
    """Stops when a function of the seconds until the next try says so."""

    def __init__(self, stops: Callable[[float], bool]) -> None:
        self._stops = stops

    def __call__(self, state: RetryCallState) -> bool:
        return self._stops(state.upcoming_sleep)


async def _at_once(seconds: float) -> None:
    await asyncio.sleep(0)
