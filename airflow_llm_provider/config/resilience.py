"""What ``orchestrator.yaml`` says of what fails, section ``fault_tolerance``, and of how often providers may be asked."""

from __future__ import annotations

from fnmatch import fnmatchcase

from pydantic import Field, model_validator
from typing_extensions import Self

from airflow_llm_provider.config.section import Duration, Place, Section

__all__ = ["Checkpoint", "CircuitBreaker", "FaultTolerance", "RateLimit", "RetryDefaults"]


class Checkpoint(Section):
    """What a step has paid for is kept until its task has ended: section ``fault_tolerance.checkpoint``.

    Attributes:
        enabled: Whether what a step has paid for is kept until its task has ended.
        interval: Seconds that an answer may wait to be kept in ``storage``, for that costs a request; at most so much is paid for
            again after a crash. Where Airflow keeps them, each is kept at once.
        storage: A folder or a URL, such as ``s3://bucket/checkpoints/``; by default Airflow's own state store.
    """

    enabled: bool = True
    interval: Duration = 5.0
    storage: Place | None = None


class RetryDefaults(Section):
    """How steps are tried again that say nothing of it: section ``fault_tolerance.retry``.

    Attributes:
        default_max_attempts: Tries of a step in all, the first one included.
        default_backoff_multiplier: How many times longer each wait for the next try is than the one before.
        default_initial_interval: Seconds between the first try and the second.
        default_max_interval: Seconds of the longest wait between two tries.
    """

    default_max_attempts: int = Field(default=3, ge=1)
    default_backoff_multiplier: float = Field(default=2.0, ge=1)
    default_initial_interval: Duration = 1.0
    default_max_interval: Duration = 30.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.default_initial_interval > self.default_max_interval:
            raise ValueError("'default_initial_interval' is longer than 'default_max_interval'; change one of them")
        return self


class CircuitBreaker(Section):
    """When a model that fails again and again is left alone: section ``fault_tolerance.circuit_breaker``.

    Attributes:
        enabled: Whether a model that fails again and again is left alone.
        failure_threshold: Failures in a row after which a model is left alone.
        timeout: Seconds until one call may try whether the model is back.
    """

    enabled: bool = True
    failure_threshold: int = Field(default=5, ge=1)
    timeout: Duration = 60.0


class FaultTolerance(Section):
    """Section ``fault_tolerance``.

    Attributes:
        checkpoint: What has been paid for is kept.
        retry: What fails is tried again.
        circuit_breaker: What fails again and again is left alone.
    """

    checkpoint: Checkpoint = Checkpoint()
    retry: RetryDefaults = RetryDefaults()
    circuit_breaker: CircuitBreaker = CircuitBreaker()


class RateLimit(Section):
    """How often models may be asked: one entry of ``rate_limits``. All calls that it fits share it.

    Attributes:
        provider: The provider; ``*`` and ``?`` stand for anything, here and below.
        model: The model, by its name at the provider.
        connection: The Airflow connection that a step names.
        requests_per_minute: Most calls in any minute.
        tokens_per_minute: Most tokens, of prompts and answers, in any minute.
    """

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
