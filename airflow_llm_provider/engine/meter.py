"""Adds up what the model calls of one step cost, over all its tries."""

from __future__ import annotations

from airflow_llm_provider.accounting.usage import StepUsage
from airflow_llm_provider.clients.base import Usage

__all__ = ["Meter"]


class Meter:
    """The running account of one step."""

    def __init__(self) -> None:
        self._provider: str | None = None
        self._model = ""
        self._tokens = Usage()
        self._cost: float | None = 0.0
        self._latency = 0.0
        self._calls = 0

    def calling(self, provider: str, model: str) -> None:
        """Note whom the next call asks, so that a step whose every call failed still says so.

        Args:
            provider: The provider's name.
            model: The model asked for.
        """
        self._provider, self._model = provider, model

    def spent(self, model: str, usage: Usage, cost_usd: float | None, latency_ms: float) -> None:
        """Add an answered call.

        Args:
            model: The model that answered.
            usage: Its tokens.
            cost_usd: Its price in USD; None when the model's price is not known, which makes the sum unknown too.
            latency_ms: Milliseconds from request to complete answer.
        """
        self._model = model
        self._tokens = Usage(
            self._tokens.input_tokens + usage.input_tokens,
            self._tokens.output_tokens + usage.output_tokens,
            self._tokens.cached_tokens + usage.cached_tokens,
            self._tokens.reasoning_tokens + usage.reasoning_tokens,
        )
        self._cost = None if cost_usd is None or self._cost is None else self._cost + cost_usd
        self._latency = latency_ms
        self._calls += 1

    def add(self, usage: StepUsage) -> None:
        """Add what another step has cost that this one ran.

        Args:
            usage: Its account.
        """
        self.calling(usage.provider, usage.model)
        tokens = Usage(usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens)
        self.spent(usage.model, tokens, usage.cost_usd, self._latency + usage.latency_ms)
        self._calls += usage.calls - 1

    def total(self, attempts: int) -> StepUsage | None:
        """Give the account.

        Args:
            attempts: Tries that the step took.

        Returns:
            None when the step asked no model.
        """
        if self._provider is None:
            return None
        return StepUsage(
            provider=self._provider,
            model=self._model,
            input_tokens=self._tokens.input_tokens,
            output_tokens=self._tokens.output_tokens,
            cached_tokens=self._tokens.cached_tokens,
            reasoning_tokens=self._tokens.reasoning_tokens,
            cost_usd=self._cost,
            latency_ms=self._latency,
            attempts=attempts,
            calls=self._calls,
        )
