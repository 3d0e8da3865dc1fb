"""What is judged, and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Evaluation", "Finding", "MetricName", "MetricResult", "Subject"]

MetricName = Literal[
    "accuracy", "exact_match", "f1_score", "precision", "recall", "bleu", "rouge", "semantic_similarity",
    "factual_consistency", "coherence", "relevance", "toxicity", "contains", "regex", "json_schema", "llm_judge",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Subject:
    """An answer, and what it may be compared with.

    Attributes:
        response: The answer.
        ground_truth: The answer that is right.
        prompt: The question.
        context: What the answer had to rely on, such as retrieved documents.
        contains: Texts that must be in the answer.
        pattern: Regular expression that must be found in the answer.
        schema: JSON Schema that the answer must meet.
        judged: Whether a model has been chosen that judges.
    """

    response: str
    ground_truth: str | None = None
    prompt: str | None = None
    context: str | None = None
    contains: tuple[str, ...] | None = None
    pattern: str | None = None
    schema: Mapping[str, Any] | bool | None = None
    judged: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What one metric says.

    Attributes:
        score: 0 (bad) to 1 (good).
        explanation: What the score comes from.
    """

    score: float
    explanation: str


@dataclass(frozen=True, slots=True)
class MetricResult:
    """One metric's result.

    Attributes:
        name: The metric.
        score: 0 (bad) to 1 (good).
        passed: Whether the score reaches the threshold.
        explanation: What the score comes from.
    """

    name: MetricName
    score: float
    passed: bool
    explanation: str

    def to_dict(self) -> dict[str, Any]:
        """Give the result as plain JSON."""
        return {"name": self.name, "score": self.score, "passed": self.passed, "explanation": self.explanation}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All metrics of one answer.

    Attributes:
        overall_score: Weighted mean of the scores.
        passed: Whether that reaches the threshold.
        metrics: Each metric's result.
    """

    overall_score: float
    passed: bool
    metrics: Mapping[MetricName, MetricResult]

    def to_dict(self) -> dict[str, Any]:
        """Give the evaluation as plain JSON."""
        return {
            "overall_score": self.overall_score,
            "passed": self.passed,
            "metrics": {name: result.to_dict() for name, result in self.metrics.items()},
        }
