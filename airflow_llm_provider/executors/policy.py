"""``llm-governance:…``: what a call cost, and whether policies let content pass."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from airflow_llm_provider.clients.base import Usage
from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.errors import InvalidRequest, PolicyViolation
from airflow_llm_provider.governance.values import PolicyName, PolicySettings, Verdict
from airflow_llm_provider.workflow.values import from_json

__all__ = ["CostTracker", "CostTrackerInputs", "PolicyCheck", "PolicyEnforcer", "PolicyInputs"]

BUDGET_ANNOTATION = "governance.budget-limit-usd"
"""The workflow's annotation with the budget in USD of steps that name none."""


class TokenCounts(BaseModel):
    """Tokens, as the output ``usage`` of an llm step has them, or a step's account; what else is there is not priced.

    Attributes:
        input_tokens: Tokens of the prompt, cached ones included.
        output_tokens: Tokens of the answer, reasoning included.
        cached_tokens: Prompt tokens that the provider read from its cache.
        reasoning_tokens: Answer tokens that were spent on reasoning.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    input_tokens: int = Field(ge=0, validation_alias=AliasChoices("prompt_tokens", "input_tokens"))
    output_tokens: int = Field(default=0, ge=0, validation_alias=AliasChoices("completion_tokens", "output_tokens"))
    cached_tokens: int = Field(default=0, ge=0)
    reasoning_tokens: int = Field(default=0, ge=0)


class CostTrackerInputs(Inputs):
    """What to price.

    Attributes:
        usage: The tokens.
        model: The model that was asked.
        provider: Its provider; None means the one that is known for a model of that name.
        budget: USD that the call may cost; the workflow's annotation ``governance.budget-limit-usd`` when absent.
    """

    usage: TokenCounts
    model: str = Field(min_length=1)
    provider: str | None = None
    budget: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class CostTracker(Executor[CostTrackerInputs]):
    """Prices tokens, and puts the price beside a budget."""

    outputs: ClassVar[tuple[str, ...]] = ("cost", "within_budget", "tokens", "note")
    Inputs = CostTrackerInputs

    async def run(self, inputs: CostTrackerInputs, context: StepContext) -> Mapping[str, Any]:
        """Price.

        Returns:
            ``cost`` (USD, null when the price is not known), ``within_budget`` (true when the cost or the budget is not known),
            ``tokens`` (what was priced) and ``note`` (what was not known; null when all was).

        Raises:
            InvalidRequest: The workflow's annotation is no budget.
        """
        tokens = inputs.usage
        usage = Usage(tokens.input_tokens, tokens.output_tokens, tokens.cached_tokens, tokens.reasoning_tokens)
        cost = context.runtime.price(inputs.provider, inputs.model, usage)
        budget = _budget(context) if inputs.budget is None else inputs.budget
        note = None
        if tokens.cached_tokens > tokens.input_tokens:
            note = (
                f"no cost: {tokens.cached_tokens} cached tokens are more than the prompt's {tokens.input_tokens}, "
                "of which they are a part"
            )
        elif cost is None:
            of = f" of {inputs.provider!r}" if inputs.provider else ""
            note = f"no cost: the price list does not know the model {inputs.model!r}{of}, so the budget is not checked"
        elif budget is None:
            note = "there is no budget to compare with"
        return {
            "cost": cost,
            "within_budget": cost is None or budget is None or cost <= budget,
            "tokens": {
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "cached_tokens": usage.cached_tokens,
                "total_tokens": usage.total_tokens,
            },
            "note": note,
        }


class PolicyInputs(Inputs):
    """What to ask, and of what.

    Attributes:
        policies: The policies' names.
        context: What they judge: all texts in it, and the facts ``model`` and ``cost_usd``.
        settings: How they work.
    """

    policies: list[PolicyName] = Field(min_length=1)
    context: dict[str, Any]
    settings: PolicySettings = PolicySettings()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if "allowed-models" in self.policies and self.settings.allowed_models is None:
            raise ValueError("policy 'allowed-models' needs the models; give settings.allowed-models.models")
        return self


class PolicyCheck(Executor[PolicyInputs]):
    """Says what policies decide, and lets everything pass."""

    outputs: ClassVar[tuple[str, ...]] = ("decision", "reason", "violations", "content", "notes")
    Inputs = PolicyInputs

    async def run(self, inputs: PolicyInputs, context: StepContext) -> Mapping[str, Any]:
        """Ask.

        Returns:
            ``decision`` (``allow``, ``modify``, ``require_approval`` or ``deny``), ``reason``, ``violations``, ``content`` (the
            context as it may be used, null when denied) and ``notes`` (what could not be checked).

        Raises:
            InvalidRequest: A policy lacks what it needs.
        """
        return _outputs(await _verdict(inputs, context))


class PolicyEnforcer(PolicyCheck):
    """The same, but a denial fails the step."""

    async def run(self, inputs: PolicyInputs, context: StepContext) -> Mapping[str, Any]:
        """Ask.

        Raises:
            PolicyViolation: The decision is ``deny``.
            InvalidRequest: A policy lacks what it needs.
        """
        verdict = await _verdict(inputs, context)
        if verdict.decision == "deny":
            raise PolicyViolation(str(verdict.policy), str(verdict.reason))
        return _outputs(verdict)


def _outputs(verdict: Verdict) -> Mapping[str, Any]:
    return {
        "decision": verdict.decision,
        "reason": verdict.reason,
        "violations": [violation.to_dict() for violation in verdict.violations],
        "content": verdict.content,
        "notes": list(verdict.notes),
    }


async def _verdict(inputs: PolicyInputs, context: StepContext) -> Verdict:
    from airflow_llm_provider.governance.policies import evaluate

    settings = inputs.settings
    if "cost-limit" in inputs.policies and settings.cost_limit.max_cost_usd is None:
        limit = settings.cost_limit.model_copy(update={"max_cost_usd": _budget(context)})
        settings = settings.model_copy(update={"cost_limit": limit})
    # In a thread: patterns of the file's own may take seconds, and must not hold up other steps and time limits.
    return await asyncio.to_thread(evaluate, inputs.policies, inputs.context, settings)


def _budget(context: StepContext) -> float | None:
    metadata = context.scope.workflow.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    written = annotations.get(BUDGET_ANNOTATION) if isinstance(annotations, Mapping) else None
    if written is None:
        return None
    try:
        budget = float(from_json(str(written)))
        if budget >= 0:
            return budget
    except (ValueError, TypeError):
        pass
    raise InvalidRequest(f'the annotation {BUDGET_ANNOTATION} is {written!r}; write an amount in USD, such as "10.00"')
