"""What policies are told, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from airflow_llm_provider.governance.personal_data import PersonalDataKind
from airflow_llm_provider.patterns import Pattern

__all__ = [
    "AllowedModels",
    "ContentSafety",
    "CostLimit",
    "DataPrivacy",
    "Decision",
    "PolicyName",
    "PolicySettings",
    "Refusal",
    "SafetyCategory",
    "Verdict",
    "Violation",
]

PolicyName = Literal["content-safety", "data-privacy", "cost-limit", "allowed-models"]
Decision = Literal["allow", "modify", "require_approval", "deny"]
Refusal = Literal["deny", "require_approval"]
SafetyCategory = Literal["hate", "harassment", "violence", "weapons", "self-harm", "malware", "prompt-injection"]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ContentSafety(_Settings):
    """How ``content-safety`` works.

    Attributes:
        action: What is decided when something is found.
        categories: What is looked for.
        blocked_terms: Texts that are refused besides, whatever their case.
    """

    action: Refusal = "deny"
    categories: list[SafetyCategory] = [
        "hate", "harassment", "violence", "weapons", "self-harm", "malware", "prompt-injection",
    ]  # fmt: skip
    blocked_terms: list[Annotated[str, Field(min_length=1)]] = []


class DataPrivacy(_Settings):
    """How ``data-privacy`` works.

    Attributes:
        mode: Whether personal data is masked (``[EMAIL]``), removed, or refused.
        kinds: What is looked for.
        patterns: Further kinds: name to regular expression.
    """

    mode: Literal["mask", "remove", "deny"] = "mask"
    kinds: list[PersonalDataKind] = ["email", "phone", "ssn", "card"]
    patterns: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")], Pattern] = {}


class CostLimit(_Settings):
    """How ``cost-limit`` works.

    Attributes:
        action: What is decided when the cost is above the limit.
        max_cost_usd: The limit in USD; None means that of whoever asks.
    """

    action: Refusal = "deny"
    max_cost_usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class AllowedModels(_Settings):
    """How ``allowed-models`` works.

    Attributes:
        action: What is decided of another model.
        models: The models' names, with ``*`` and ``?``.
    """

    action: Refusal = "deny"
    models: Annotated[
        list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value), Field(min_length=1)
    ]


class PolicySettings(_Settings):
    """How each policy works; what is not given is by default."""

    content_safety: ContentSafety = Field(default=ContentSafety(), alias="content-safety")
    data_privacy: DataPrivacy = Field(default=DataPrivacy(), alias="data-privacy")
    cost_limit: CostLimit = Field(default=CostLimit(), alias="cost-limit")
    allowed_models: AllowedModels | None = Field(default=None, alias="allowed-models")


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that a policy found; what it found is not repeated, because it may be what nobody should read.

    Attributes:
        policy: The policy.
        kind: What was found, such as ``email``.
        path: Where in the context, as in ``messages[0].content``; empty for the whole.
        message: All that in words.
    """

    policy: PolicyName
    kind: str
    path: str
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Give the violation as plain JSON."""
        return {"policy": self.policy, "kind": self.kind, "path": self.path, "message": self.message}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What policies say.

    Attributes:
        decision: What follows.
        reason: Why; None for ``allow``.
        policy: The policy that decided; None for ``allow``.
        violations: All that was found.
        content: The context as it may be used; None when it may not.
        notes: What could not be checked, and why.
    """

    decision: Decision
    reason: str | None = None
    policy: PolicyName | None = None
    violations: tuple[Violation, ...] = ()
    content: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
