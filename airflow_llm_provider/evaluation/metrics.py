"""The table of metrics: what each needs, and how it is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from airflow_llm_provider.errors import InvalidRequest
from airflow_llm_provider.evaluation import heuristics, overlap, rules
from airflow_llm_provider.evaluation.similarity import similarity
from airflow_llm_provider.evaluation.toxicity import toxicity
from airflow_llm_provider.evaluation.values import Evaluation, Finding, MetricName, MetricResult, Subject

__all__ = ["METRICS", "Metric", "measure", "missing", "result_of", "summarise"]

_DIGITS = 6
"""Decimal places of a score; beyond them, floating point is noise."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        score: Computes it; None for one that asks a model.
        needs: Members of :class:`Subject`, one of which must be there.
    """

    score: Callable[[Subject], Finding] | None
    needs: tuple[str, ...] = ()


def _compared(compare: Callable[[str, str], Finding]) -> Metric:
    return Metric(lambda subject: compare(subject.response, subject.ground_truth or ""), ("ground_truth",))


def _similarity(response: str, ground_truth: str) -> Finding:
    score = similarity(response, ground_truth)
    return Finding(score, "lexical: words and pieces of words in common with the ground truth")


def _first(*texts: str | None) -> str:
    return next((text for text in texts if text is not None), "")


METRICS: Mapping[MetricName, Metric] = {
    "accuracy": _compared(overlap.accuracy),
    "exact_match": _compared(overlap.exact_match),
    "f1_score": _compared(overlap.f1_score),
    "precision": _compared(overlap.precision),
    "recall": _compared(overlap.recall),
    "bleu": _compared(overlap.bleu),
    "rouge": _compared(overlap.rouge),
    "semantic_similarity": _compared(_similarity),
    "factual_consistency": Metric(
        lambda subject: heuristics.factual_consistency(subject.response, _first(subject.context, subject.ground_truth)),
        ("context", "ground_truth"),
    ),
    "coherence": Metric(lambda subject: heuristics.coherence(subject.response)),
    "relevance": Metric(
        lambda subject: heuristics.relevance(subject.response, _first(subject.prompt, subject.ground_truth)),
        ("prompt", "ground_truth"),
    ),
    "toxicity": Metric(lambda subject: toxicity(subject.response)),
    "contains": Metric(
        lambda subject: rules.contains(subject.response, subject.contains or (subject.ground_truth or "",)),
        ("contains", "ground_truth"),
    ),
    "regex": Metric(lambda subject: rules.matches(subject.response, subject.pattern or ""), ("pattern",)),
    "json_schema": Metric(
        lambda subject: rules.json_schema(subject.response, True if subject.schema is None else subject.schema),
        ("schema",),
    ),
    "llm_judge": Metric(None, ("judged",)),
}

_INPUTS: Mapping[str, str] = {
    "contains": "settings.contains",
    "pattern": "settings.regex",
    "schema": "settings.json_schema",
    "judged": "settings.llm_judge",
}
"""Members of :class:`Subject` that a workflow file calls otherwise."""


def missing(names: Iterable[MetricName], subject: Subject) -> list[str]:
    """Say what metrics need and the subject does not have, a sentence for each metric.

    Args:
        names: The metrics.
        subject: What is to be judged.
    """
    return [
        f"metric {name!r} needs {' or '.join(repr(_INPUTS.get(need, need)) for need in METRICS[name].needs)}"
        for name in dict.fromkeys(names)
        if METRICS[name].needs and all(getattr(subject, need) in (None, False) for need in METRICS[name].needs)
    ]


def measure(name: MetricName, subject: Subject, threshold: float) -> MetricResult:
    """Compute one metric.

    Args:
        name: The metric; any but ``llm_judge``, which asks a model.
        subject: What is judged.
        threshold: The score that passes, 0 to 1.

    Raises:
        InvalidRequest: The subject lacks what the metric needs, or a setting of it is of no use.
    """
    score = METRICS[name].score
    if score is None:
        raise InvalidRequest(f"metric {name!r} asks a model, and is not computed here")
    lacking = missing([name], subject)
    if lacking:
        raise InvalidRequest(lacking[0])
    return result_of(name, score(subject), threshold)


def result_of(name: MetricName, finding: Finding, threshold: float) -> MetricResult:
    """Put a finding beside the threshold.

    Args:
        name: The metric.
        finding: What it says.
        threshold: The score that passes, 0 to 1.
    """
    score = min(max(round(finding.score, _DIGITS), 0.0), 1.0)
    return MetricResult(name, score, score >= threshold, finding.explanation)


def summarise(
    results: Iterable[MetricResult], threshold: float, weights: Mapping[MetricName, float] | None = None
) -> Evaluation:
    """Make one evaluation of several results.

    Args:
        results: At least one metric's.
        threshold: The overall score that passes, 0 to 1.
        weights: What a metric counts in the overall score; 1 where nothing is said. Not all are 0.
    """
    metrics = {result.name: result for result in results}
    counts = {name: (weights or {}).get(name, 1.0) for name in metrics}
    weighted = math.fsum(metrics[name].score * count for name, count in counts.items())
    overall = round(weighted / math.fsum(counts.values()), _DIGITS)
    return Evaluation(overall, overall >= threshold, metrics)
