"""Decides whether content may be sent, kept or paid for: policies over plain JSON, without I/O.

``evaluate`` asks each policy and joins what they say; the strictest decision wins.
"""

from airflow_llm_provider.governance.policies import evaluate
from airflow_llm_provider.governance.values import (
    AllowedModels,
    ContentSafety,
    CostLimit,
    DataPrivacy,
    PolicyName,
    PolicySettings,
    Verdict,
    Violation,
)

__all__ = [
    "AllowedModels",
    "ContentSafety",
    "CostLimit",
    "DataPrivacy",
    "PolicyName",
    "PolicySettings",
    "Verdict",
    "Violation",
    "evaluate",
]
