"""Everything that can go wrong while a workflow runs, as one tree.

::

    LLMProviderError
    ├── ConfigurationError          a credential, connection or setting is missing or wrong
    ├── ExpressionError             an expression or a template cannot be parsed or evaluated
    └── StepError                   a step failed; the workflow's retry rule says whether it is tried again
        ├── RateLimitError          429; carries the provider's Retry-After
        ├── TimeoutError            one try took longer than the step's timeout, or the provider's
        ├── ConnectionError         no answer: refused, reset, name not found, cut off half-way
        ├── ServiceUnavailable      5xx, overloaded
        │   └── CircuitOpen         the model has failed too often, and is left alone for a while
        ├── InvalidOutput           an answer arrived but is not what was asked for
        │   └── SchemaMismatch      it does not meet the step's output_schema; the next try tells the model so
        ├── ItemsFailed             items of a fan-out failed
        ├── Postponed               the next try is due only after a long wait, which is not spent in this process
        ├── WorkflowFailed          a workflow that a step runs failed
        ├── ApprovalRejected        a person said no
        ├── AssertionFailed         an `orchestrator:assert` step found its condition false
        ├── BudgetExceeded          a budget has not enough left for the call
        ├── PolicyViolation         a policy denied what the step was asked to let through
        ├── AuthenticationError     401 / 403
        ├── InvalidRequest          400 / 413 / 422, or inputs that the executor refuses
        │   ├── ContextLengthError  the prompt does not fit the model
        │   └── ContentFilterError  the provider refused the content
        └── ModelNotFound           404 for the model

The class names are the words a workflow file uses in ``retryableErrors``. Error texts never hold a credential: clients build
them from the provider's error body and the request's host only.
"""

from __future__ import annotations

from collections.abc import Collection

__all__ = [
    "ApprovalRejected",
    "AssertionFailed",
    "AuthenticationError",
    "BudgetExceeded",
    "CircuitOpen",
    "ConfigurationError",
    "ConnectionError",
    "ContentFilterError",
    "ContextLengthError",
    "ExpressionError",
    "InvalidOutput",
    "InvalidRequest",
    "ItemsFailed",
    "LLMProviderError",
    "ModelNotFound",
    "PolicyViolation",
    "Postponed",
    "RateLimitError",
    "SchemaMismatch",
    "ServiceUnavailable",
    "StepError",
    "TimeoutError",
    "WorkflowFailed",
]


class LLMProviderError(Exception):
    """Base class of every error this package raises on purpose."""


class ConfigurationError(LLMProviderError):
    """A credential, a connection or a setting is missing or wrong; trying again cannot help."""


class ExpressionError(LLMProviderError):
    """An expression or a template that cannot be parsed or evaluated.

    Attributes:
        offset: Where in the source text the trouble starts, counted in characters from 0; None when unknown.
    """

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.offset = offset


class StepError(LLMProviderError):
    """A step failed.

    Attributes:
        status: The HTTP status code of the answer, if there was one.
        retry_after: Seconds that the other side asked us to wait before the next try.
        may_have_cost: Whether the other side may have done, and charged, what it did not answer.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        may_have_cost: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.may_have_cost = may_have_cost

    def is_any_of(self, names: Collection[str]) -> bool:
        """Tell whether it is of one of these classes, or of one below them.

        Args:
            names: Names of classes in this tree, as workflow files write them.
        """
        return any(kind.__name__ in names for kind in type(self).__mro__)


class RateLimitError(StepError):
    """The provider's rate limit or quota is used up for now."""


class TimeoutError(StepError):
    """One try took too long."""


class ConnectionError(StepError):
    """No complete answer arrived."""


class ServiceUnavailable(StepError):
    """The provider failed or is overloaded."""


class CircuitOpen(ServiceUnavailable):
    """The model has failed again and again, so it was not asked."""


class InvalidOutput(StepError):
    """An answer arrived, but it is not what was asked for."""


class SchemaMismatch(InvalidOutput):
    """An answer does not meet the schema that the step has for it."""


class ItemsFailed(StepError):
    """Items of a fan-out failed; the others are done."""


class Postponed(StepError):
    """What a step runs is to be tried again, but only after a long wait: its ``retry_after``."""


class WorkflowFailed(StepError):
    """A workflow that a step runs failed; its own steps have had their tries."""


class ApprovalRejected(StepError):
    """A person was asked, and said no."""


class AssertionFailed(StepError):
    """A step that checks the work of others found it wanting."""


class PolicyViolation(StepError):
    """A policy denies it; asking again cannot help.

    Attributes:
        policy: The policy's name.
        reason: Why it denies.
    """

    def __init__(self, policy: str, reason: str) -> None:
        super().__init__(f"{policy}: {reason}")
        self.policy = policy
        self.reason = reason

    def __reduce__(self) -> tuple[type[PolicyViolation], tuple[str, str]]:
        """Copy and pickle by both arguments; by default an exception keeps only its message."""
        return type(self), (self.policy, self.reason)


class BudgetExceeded(StepError):
    """A budget has not enough left; asking again cannot help before it begins anew.

    Attributes:
        budget: The budget's name.
        limit_usd: USD that may be spent.
        spent_usd: USD that are.
        needed_usd: USD that the call may cost.
    """

    def __init__(self, budget: str, limit_usd: float, spent_usd: float, needed_usd: float) -> None:
        super().__init__(
            f"the budget {budget!r} of {limit_usd:g} USD has {max(0.0, limit_usd - spent_usd):.4f} USD left, "
            f"and the call may cost {needed_usd:.4f} USD"
        )
        self.budget, self.limit_usd, self.spent_usd, self.needed_usd = budget, limit_usd, spent_usd, needed_usd

    def __reduce__(self) -> tuple[type[BudgetExceeded], tuple[str, float, float, float]]:
        """Copy and pickle by all arguments; by default an exception keeps only its message."""
        return type(self), (self.budget, self.limit_usd, self.spent_usd, self.needed_usd)


class AuthenticationError(StepError):
    """The credential is missing, wrong, or not allowed to do this."""


class InvalidRequest(StepError):
    """The request can never succeed as it is."""


class ContextLengthError(InvalidRequest):
    """The prompt and the requested answer do not fit the model's context window."""


class ContentFilterError(InvalidRequest):
    """The provider refused the content of the prompt or of the answer."""


class ModelNotFound(StepError):
    """The provider does not know the model."""
