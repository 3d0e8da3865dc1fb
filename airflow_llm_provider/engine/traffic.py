"""Who may ask a provider now: the circuit breaker and the rate limits, which all processes share.

A model that has failed several times in a row is left alone for a while (open); then one call tries whether it is back
(half-open) while the others wait for what it finds out, and its end closes the circuit or opens it again. A rate limit is a line of
slots: each call takes the next free one and waits for it, so that calls start in the order in which they came, and never all at
once; whoever gives up leaves the line.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from airflow_llm_provider.config.resilience import CircuitBreaker, RateLimit
from airflow_llm_provider.engine.cut_off import note_cut_off
from airflow_llm_provider.engine.sharing import Change, SharedState
from airflow_llm_provider.errors import (
    CircuitOpen,
    ConnectionError,
    Postponed,
    ServiceUnavailable,
    StepError,
    TimeoutError,
)

__all__ = ["Call", "Traffic"]

ResultT = TypeVar("ResultT")

_log = logging.getLogger(__name__)

OUTAGES = (ConnectionError, ServiceUnavailable, TimeoutError)
"""Errors that say something of the model's health; being asked too often does not."""

TRUSTED_SECONDS = 0.5
"""How long a closed circuit is taken for closed without looking."""

PROBE_SECONDS = 30.0
"""How long a call waits for what the one finds out that tries whether a model is back."""

SPREAD = 0.1
"""Part of a wait by which the calls that a circuit holds back come later than they could, so that they do not come at once."""

BURST = 0.1
"""Part of a minute's limit that may be used at once; the rest is spread over the minute, so that no minute has more in all."""


@dataclass(slots=True)
class Call:
    """A call under way.

    Attributes:
        tokens: What it uses: an estimate at first, to be replaced by what the provider counted.
    """

    tokens: int


class Traffic:
    """The calls of one process to all providers.

    Args:
        state: What all processes share.
        breaker: When a model is left alone.
        limits: How often models may be asked.
        longest_wait: Seconds that a call may wait in line in this process; None for as long as it takes.
    """

    def __init__(
        self,
        state: SharedState,
        breaker: CircuitBreaker,
        limits: Sequence[RateLimit],
        longest_wait: float | None = None,
    ) -> None:
        self._state = state
        self._breaker = breaker
        self._limits = limits
        self._longest_wait = longest_wait
        self._healthy_until: dict[str, float] = {}

    @contextlib.asynccontextmanager
    async def call(self, provider: str, model: str, connection: str, tokens: int) -> AsyncIterator[Call]:
        """Wait until a call may be made; then the call is made inside.

        Args:
            provider: Who is asked.
            model: Which model.
            connection: The Airflow connection, or the address; empty for the provider's default.
            tokens: About how many tokens it will use.

        Raises:
            CircuitOpen: The model has failed again and again, and is left alone.
            Postponed: The line is longer than a call may wait here.
        """
        call = Call(tokens)
        limits = [limit for limit in self._limits if limit.fits(provider, model, connection)]
        key = f"breaker:{provider}/{model}/{connection}"
        await self._enter(key, f"{provider}/{model}")
        await self._wait(limits, tokens)
        try:
            yield call
        except StepError as error:
            # An answer of any kind shows that the model is there.
            await self._ended(key, well=not isinstance(error, OUTAGES))
            raise
        except asyncio.CancelledError:
            # Whether the model was too slow, or the run is over, is known to whoever cut the call off.
            note_cut_off(lambda: self._ended(key, well=False))
            raise
        await self._ended(key, well=True)
        if call.tokens != tokens:
            await self._settle(limits, call.tokens - tokens)

    async def aclose(self) -> None:
        """Give connections back."""
        await self._state.aclose()

    async def _enter(self, key: str, model: str) -> None:
        if not self._breaker.enabled or self._healthy_until.get(key, 0) > time.monotonic():
            return
        patient_until, pause = time.monotonic() + PROBE_SECONDS, 0.05
        while True:
            entry = await self._change(key, _entering(self._breaker), _Entry())
            if entry.wait is None:
                break
            if not entry.is_probed or time.monotonic() > patient_until:
                wait = entry.wait * (1 + random.uniform(0, SPREAD))
                raise CircuitOpen(
                    f"{model} has failed {entry.failures} times in a row, and is asked again in {wait:.0f} s",
                    retry_after=wait,
                )
            await asyncio.sleep(random.uniform(pause / 2, pause))
            pause = min(pause * 2, 1.0)
        if not entry.failures:
            self._healthy_until[key] = time.monotonic() + TRUSTED_SECONDS

    async def _ended(self, key: str, *, well: bool) -> None:
        if not self._breaker.enabled or (well and self._healthy_until.get(key, 0) > time.monotonic()):
            return
        self._healthy_until.pop(key, None)
        await self._change(key, _ending(self._breaker, well=well), None)

    async def _wait(self, limits: Sequence[RateLimit], tokens: int) -> None:
        places = (
            (f"limit:{limit.name}:{what}", most, cost)
            for limit in limits
            for what, most, cost in _budgets(limit, tokens)
        )
        wait = 0.0
        taken: list[tuple[str, float, float]] = []
        try:
            for key, most, cost in places:
                taken.append((key, most, cost))
                wait = max(wait, await self._change(key, _reserving(most, cost), 0.0))
            if self._longest_wait is not None and wait > self._longest_wait:
                raise Postponed(f"the rate limits let it begin in {wait:.0f} s", retry_after=wait)
            await asyncio.sleep(wait)
        except BaseException:
            for key, most, cost in taken:
                await asyncio.shield(self._change(key, _settling(most, -cost), None))
            raise

    async def _settle(self, limits: Sequence[RateLimit], more: int) -> None:
        """Charge what a call has used more than was thought, or give back what it has not used."""
        for limit in limits:
            if limit.tokens_per_minute is not None:
                await self._change(f"limit:{limit.name}:tokens", _settling(limit.tokens_per_minute, more), None)

    async def _change(self, key: str, change: Change[ResultT], otherwise: ResultT) -> ResultT:
        try:
            return await self._state.change(key, change)
        except Exception as error:
            # The provider refuses what is too much by itself; not to ask it at all would be worse.
            _log.warning("circuit breaker and rate limits do not work: %s", type(error).__name__)
            return otherwise


def _budgets(limit: RateLimit, tokens: int) -> list[tuple[str, float, float]]:
    """Give what a call takes of a limit: name, most in a minute, and how much."""
    budgets = (("requests", limit.requests_per_minute, 1.0), ("tokens", limit.tokens_per_minute, float(tokens)))
    return [(what, most, cost) for what, most, cost in budgets if most is not None]


@dataclass(frozen=True, slots=True)
class _Entry:
    """Whether a call may begin: seconds to wait, or None; the failures so far; and whether another call is trying it."""

    wait: float | None = None
    failures: int = 0
    is_probed: bool = False


def _entering(breaker: CircuitBreaker) -> Change[_Entry]:
    """Make the change of a call that wants to begin."""

    def change(state: dict[str, Any], now: float) -> tuple[dict[str, Any], _Entry]:
        failures, until, probed = state.get("failures", 0), state.get("open_until"), state.get("probed_until", 0.0)
        if until is None:
            return state, _Entry(None, failures)
        if now < until:
            return state, _Entry(until - now, failures)
        if now < probed:
            return state, _Entry(min(probed - now, PROBE_SECONDS), failures, is_probed=True)
        # This one tries it; the others wait for what it finds out, unless its process is gone.
        return {**state, "probed_until": now + breaker.timeout}, _Entry(None, failures)

    return change


def _ending(breaker: CircuitBreaker, *, well: bool) -> Change[None]:
    """Make the change of a call that has ended."""

    def change(state: dict[str, Any], now: float) -> tuple[dict[str, Any], None]:
        if well:
            return {}, None
        failures = state.get("failures", 0) + 1
        opens = failures >= breaker.failure_threshold
        return {"failures": failures, **({"open_until": now + breaker.timeout} if opens else {})}, None

    return change


def _reserving(most: float, cost: float) -> Change[float]:
    """Make the change of a call that takes its slots; gives the seconds until they begin.

    The state is the time at which all slots that are taken will have passed ("generic cell rate algorithm").
    """
    rate, burst = most * (1 - BURST) / 60, most * BURST

    def change(state: dict[str, Any], now: float) -> tuple[dict[str, Any], float]:
        taken = max(state.get("until", now), now) + cost / rate
        # What is more than the burst by itself waits for all before it, and no longer.
        ahead = max(burst, cost) / rate
        return {"until": taken}, max(0.0, taken - ahead - now)

    return change


def _settling(most: float, more: float) -> Change[None]:
    rate = most * (1 - BURST) / 60

    def change(state: dict[str, Any], now: float) -> tuple[dict[str, Any], None]:
        return {"until": max(state.get("until", now) + more / rate, now)}, None

    return change
