"""Recommendations, each by one rule about what was measured.

- **Caching**: at least a fifth of a step's prompts were asked before.
- **ModelSwitch**: another model gave at least the same quality for at least a fifth less money.
- **Parallelization**: slow steps of which none needs another's result, but that are made to wait for each other.

No rule guesses: what was not measured is not recommended.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean, median
from typing import Any

from airflow_llm_provider.optimization.records import MetricRecord

__all__ = ["Recommendations", "recommend"]

_LEAST_RECORDS = 5
_REPEATED_SHARE = 0.2
_SAVED_SHARE = 0.2
_SAME_QUALITY = 0.02
_SLOW_MS = 1000.0
_TTL_SECONDS = (60, 86_400)


@dataclass(frozen=True, slots=True)
class Recommendations:
    """What could be better about a workflow.

    Attributes:
        workflow_id: The workflow's name.
        generated_at: When this was found.
        items: The recommendations, the surest first.
        cost_share: Share of the recorded cost that they would have saved, 0 to 1.
        time_share: Share of the recorded time of all steps that they would have saved, 0 to 1.
    """

    workflow_id: str
    generated_at: datetime
    items: tuple[Mapping[str, Any], ...]
    cost_share: float
    time_share: float

    def to_dict(self) -> dict[str, Any]:
        """Give them as plain JSON."""
        return {
            "workflow_id": self.workflow_id,
            "generated_at": self.generated_at.isoformat(),
            "items": [dict(item) for item in self.items],
            "estimated_improvement": {"cost": self.cost_share, "execution_time": self.time_share},
        }


@dataclass(frozen=True, slots=True)
class _Found:
    """One recommendation, with what it would have saved of the history."""

    kind: str
    subject: str
    confidence: float
    details: Mapping[str, Any]
    saved_usd: float = 0.0
    saved_ms: float = 0.0


def recommend(workflow_id: str, records: Iterable[MetricRecord], now: datetime) -> Recommendations:
    """Find what could be better.

    Args:
        workflow_id: The workflow's name.
        records: What was recorded of it.
        now: When this is asked.

    Returns:
        No items when there is no history, or too little of it.
    """
    history = sorted(records, key=lambda record: record.timestamp)
    by_task: dict[str, list[MetricRecord]] = defaultdict(list)
    for record in history:
        by_task[record.task_id].append(record)
    found = [
        *itertools.chain.from_iterable(_caching(task, own) for task, own in by_task.items()),
        *itertools.chain.from_iterable(_model_switch(task, own) for task, own in by_task.items()),
        *_parallelization(by_task),
    ]
    cost = sum(record.cost_usd or 0.0 for record in history)
    time = sum(record.execution_time_ms or 0.0 for record in history)
    items = tuple(
        {
            "id": f"{item.kind.lower()}-{item.subject}",
            "type": item.kind,
            "confidence": round(item.confidence, 2),
            "expected_impact": {
                "cost": _share(item.saved_usd, cost),
                "execution_time": _share(item.saved_ms, time),
            },
            **item.details,
        }
        for item in sorted(found, key=lambda item: -item.confidence)
    )
    # What one recommendation saves, another cannot save again; the best one is the least that all of them give.
    return Recommendations(
        workflow_id,
        now,
        items,
        max((item["expected_impact"]["cost"] for item in items), default=0.0),
        max((item["expected_impact"]["execution_time"] for item in items), default=0.0),
    )


def _caching(task: str, records: Sequence[MetricRecord]) -> Iterable[_Found]:
    asked: dict[tuple[str | None, str], list[MetricRecord]] = defaultdict(list)
    for record in records:
        if record.prompt_sha256 is not None:
            asked[record.model, record.prompt_sha256].append(record)
    total = sum(map(len, asked.values()))
    again = [record for same in asked.values() for record in same[1:]]
    if total < _LEAST_RECORDS or len(again) < _REPEATED_SHARE * total:
        return
    gaps = [
        (later.timestamp - earlier.timestamp).total_seconds()
        for same in asked.values()
        for earlier, later in itertools.pairwise(same)
    ]
    shortest, longest = _TTL_SECONDS
    yield _Found(
        "Caching",
        task,
        _confidence(total),
        {
            "task_id": task,
            "ttl": round(min(max(2 * median(gaps), shortest), longest)),
            "reason": f"{len(again)} of {total} recorded prompts had been asked before",
        },
        sum(record.cost_usd or 0.0 for record in again),
        sum(record.execution_time_ms or 0.0 for record in again),
    )


def _model_switch(task: str, records: Sequence[MetricRecord]) -> Iterable[_Found]:
    measured: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for record in records:
        if record.model is not None and record.quality_score is not None and record.cost_usd is not None:
            measured[record.model].append((record.quality_score, record.cost_usd))
    means = {
        model: (fmean(quality for quality, _ in own), fmean(cost for _, cost in own))
        for model, own in measured.items()
        if len(own) >= _LEAST_RECORDS
    }
    # The model in use is the one that answered last.
    current = next((record.model for record in reversed(records) if record.model in means), None)
    if current is None:
        return
    quality, cost = means[current]
    better = {
        model: (other_quality, other_cost)
        for model, (other_quality, other_cost) in means.items()
        if other_quality >= quality - _SAME_QUALITY and other_cost <= (1 - _SAVED_SHARE) * cost and cost > 0
    }
    if not better:
        return
    chosen = min(better, key=lambda model: better[model][1])
    other_quality, other_cost = better[chosen]
    yield _Found(
        "ModelSwitch",
        task,
        _confidence(min(len(measured[current]), len(measured[chosen]))),
        {
            "task_id": task,
            "from": current,
            "to": chosen,
            "reason": (
                f"{chosen} gave a quality of {other_quality:.2f} for {other_cost:.6f} USD a call, "
                f"{current} {quality:.2f} for {cost:.6f} USD"
            ),
        },
        (cost - other_cost) * len(measured[current]),
    )


def _parallelization(by_task: Mapping[str, Sequence[MetricRecord]]) -> Iterable[_Found]:
    """Look for slow steps that ask a model and stand in a row, although none needs what another one gives."""
    slow: dict[str, float] = {}
    for task, own in by_task.items():
        times = [record.execution_time_ms for record in own if record.execution_time_ms is not None]
        if len(times) >= _LEAST_RECORDS and fmean(times) >= _SLOW_MS and own[-1].model is not None:
            slow[task] = fmean(times)
    waits = {task: by_task[task][-1].waits_for or () for task in slow}
    uses = {task: by_task[task][-1].uses or () for task in slow}
    row = [
        task
        for task in slow
        if any(other in waits[task] or task in waits[other] for other in slow)
        and not any(other in uses[task] or task in uses[other] for other in slow)
    ]
    if len(row) < 2:
        return
    together, alone = sum(slow[task] for task in row), max(slow[task] for task in row)
    runs = min(len(by_task[task]) for task in row)
    yield _Found(
        "Parallelization",
        "-".join(row),
        _confidence(runs),
        {
            "tasks": row,
            "expected_speedup": round(together / alone, 2),
            "reason": (
                f"they wait for each other, but none refers to another: {together:.0f} ms in a row, {alone:.0f} ms side by "
                "side; keep the order where one has an effect that another relies on"
            ),
        },
        saved_ms=(together - alone) * runs,
    )


def _confidence(records: int) -> float:
    return records / (records + _LEAST_RECORDS)


def _share(part: float, whole: float) -> float:
    return round(part / whole, 4) if whole else 0.0
