"""What the model calls of one step cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["StepUsage"]


@dataclass(frozen=True, slots=True)
class StepUsage:
    """The account of one step, over all its tries.

    Attributes:
        provider: Who was asked.
        model: The model that answered, or was asked when none did.
        input_tokens: Tokens of the prompts, cached ones included.
        output_tokens: Tokens of the answers, reasoning included.
        cached_tokens: Prompt tokens that the provider read from its cache.
        reasoning_tokens: Answer tokens that were spent on reasoning.
        cost_usd: Price in USD; None when the model's price is not known.
        latency_ms: Milliseconds that the last answered call took.
        attempts: Tries that the step took.
        calls: Calls that were answered.
    """

    provider: str
    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None = None
    latency_ms: float = 0.0
    attempts: int = 0
    calls: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompts and answers together."""
        return self.input_tokens + self.output_tokens

    def to_dict(self) -> dict[str, Any]:
        """Give the account as plain JSON."""
        return {
            "provider": self.provider,
            "model": self.model,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cached_tokens": self.cached_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            "total_tokens": self.total_tokens,
            "cost_usd": self.cost_usd,
            "latency_ms": round(self.latency_ms, 3),
            "attempts": self.attempts,
            "calls": self.calls,
        }

    @classmethod
    def from_dict(cls, account: Mapping[str, Any]) -> StepUsage:
        """Read the account back.

        Args:
            account: What :meth:`to_dict` gave.
        """
        return cls(**{name: value for name, value in account.items() if name != "total_tokens"})
