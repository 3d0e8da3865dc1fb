"""What ``orchestrator.yaml`` says of providers that fail, and of how often they may be asked."""

from __future__ import annotations

from fnmatch import fnmatchcase

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from airflow_llm_provider.workflow.durations import PositiveDuration

__all__ = ["CircuitBreaker", "RateLimit"]


class CircuitBreaker(BaseModel):
    """When a model that fails again and again is left alone: section ``fault_tolerance.circuit_breaker``.

    Attributes:
        enabled: Whether it is, at all.
        failure_threshold: Failures in a row that open the circuit.
        timeout: Seconds until one call may try whether the model is back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    failure_threshold: int = Field(default=5, ge=1)
    timeout: PositiveDuration = 60.0


class RateLimit(BaseModel):
    """How often models may be asked: one entry of ``rate_limits``. All calls that it fits share it.

    Attributes:
        provider: The provider; ``*`` and ``?`` stand for anything, here and below.
        model: The model.
        connection: The Airflow connection that a step names.
        requests_per_minute: Most calls in any minute.
        tokens_per_minute: Most tokens, of prompts and answers, in any minute.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: str = "*"
    model: str = "*"
    connection: str = "*"
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.requests_per_minute is None and self.tokens_per_minute is None:
            raise ValueError("give 'requests_per_minute', 'tokens_per_minute', or both")
        return self

    @property
    def name(self) -> str:
        """Tell it from others."""
        return f"{self.provider}/{self.model}/{self.connection}"

    def fits(self, provider: str, model: str, connection: str) -> bool:
        """Tell whether a call counts.

        Args:
            provider: The call's provider.
            model: Its model.
            connection: Its connection; empty for the provider's default.
        """
        asked = ((self.provider, provider), (self.model, model), (self.connection, connection))
        return all(fnmatchcase(value, pattern) for pattern, value in asked)
