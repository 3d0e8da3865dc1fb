"""``llm-auto-optimizer:…``: record what steps did, and find what could be better about a workflow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.engine.masking import hide
from airflow_llm_provider.errors import InvalidRequest
from airflow_llm_provider.executors.llm import OptionalText
from airflow_llm_provider.json_lines import append_lines
from airflow_llm_provider.optimization.records import MetricRecord, prompt_hash, read_records, record_file
from airflow_llm_provider.workflow.graph import referenced_steps

__all__ = ["MetricCollector", "MetricCollectorInputs", "RequestRecommendations", "RequestRecommendationsInputs"]


def _named(value: Any) -> Any:
    return {"task_id": value} if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


class GivenMetrics(BaseModel):
    """What the file says of one step; the rest is taken from the step itself, where it has run.

    Attributes:
        task_id: The step's id.
        executor: What the step does.
        execution_time_ms: Milliseconds that the step took.
        cpu_usage_percent: Its use of a processor.
        memory_usage_mb: Its use of memory, in megabytes.
        token_count: Tokens, of prompts and answers.
        cost_usd: What it cost in USD.
        quality_score: How good its result was, 0 to 1.
        provider: Who was asked.
        model: Which model.
        prompt: What was asked. Only its fingerprint is kept, by which repeated prompts are found.
        custom: Further numbers and facts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task_id: str = Field(min_length=1)
    executor: str | None = None
    execution_time_ms: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    cpu_usage_percent: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    memory_usage_mb: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    token_count: int | None = Field(default=None, ge=0)
    cost_usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    quality_score: float | None = Field(default=None, ge=0, le=1)
    provider: str | None = None
    model: str | None = None
    prompt: OptionalText = None
    custom: dict[str, Any] = Field(default_factory=dict)


class MetricCollectorInputs(Inputs):
    """What to record.

    Attributes:
        metrics: One record a step. A step's id alone stands for what the step says of itself.
    """

    metrics: Annotated[list[Annotated[GivenMetrics, BeforeValidator(_named)]], BeforeValidator(_listed)] = Field(
        min_length=1
    )


class MetricCollector(Executor[MetricCollectorInputs]):
    """Adds to the workflow's recorded history."""

    outputs: ClassVar[tuple[str, ...]] = ("count", "collected")
    Inputs = MetricCollectorInputs

    async def run(self, inputs: MetricCollectorInputs, context: StepContext) -> Mapping[str, Any]:
        """Record.

        Returns:
            ``count`` of the records, and ``collected``, the records as they are kept.

        Raises:
            InvalidRequest: A step of the workflow is named that has not ended.
        """
        now = datetime.now(timezone.utc)
        records = [_record(given, context, now) for given in inputs.metrics]
        collected = [
            hide(record.model_dump(mode="json", exclude_none=True, exclude_defaults=True), context.secrets)
            for record in records
        ]
        append_lines(record_file(context.runtime.settings.metrics, context.workflow), collected)
        return {"count": len(collected), "collected": collected}


def _record(given: GivenMetrics, context: StepContext, now: datetime) -> MetricRecord:
    known = _facts(given.task_id, context)
    facts = {**known, **given.model_dump(exclude_none=True, exclude={"prompt"})}
    facts["custom"] = {**known.get("custom", {}), **given.custom}
    return MetricRecord(
        workflow_id=context.workflow,
        run_id=context.run_id,
        timestamp=now,
        prompt_sha256=None if given.prompt is None else prompt_hash(given.prompt),
        **facts,
    )


def _facts(task_id: str, context: StepContext) -> dict[str, Any]:
    """Give what is known of a step of this workflow; of anything else, nothing is."""
    steps = context.scope.names.steps
    if task_id not in steps:
        return {}
    ended = context.scope.results.record(task_id)
    if ended is None:
        raise InvalidRequest(f"the step {task_id!r} has not ended, so it has no metrics; wait for it in 'depends_on'")

    def uses(step_id: str) -> Iterable[str]:
        return referenced_steps(steps[step_id], context.scope.names)

    def waits_for(step_id: str) -> Iterable[str]:
        return [*(other for other in steps[step_id].depends_on if other in steps), *uses(step_id)]

    usage = ended.get("usage") or {}
    facts = {
        "executor": steps[task_id].executor,
        "execution_time_ms": ended.get("execution_time"),
        "token_count": usage.get("total_tokens"),
        "cost_usd": usage.get("cost_usd"),
        "provider": usage.get("provider"),
        "model": usage.get("model"),
        "waits_for": _all_above(task_id, waits_for),
        "uses": _all_above(task_id, uses),
        "custom": {"state": ended.get("state"), "attempts": ended.get("attempts")},
    }
    return {name: value for name, value in facts.items() if value is not None}


def _all_above(step_id: str, above: Callable[[str], Iterable[str]]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    waiting = [step_id]
    while waiting:
        for other in above(waiting.pop()):
            if other not in found and other != step_id:
                found[other] = None
                waiting.append(other)
    return tuple(found)


class RequestRecommendationsInputs(Inputs):
    """Whose history to look at.

    Attributes:
        workflow_id: The workflow's name; this workflow when absent.
        history: Most records that are looked at, the newest ones.
    """

    workflow_id: OptionalText = None
    history: int = Field(default=10_000, ge=1, le=1_000_000)


class RequestRecommendations(Executor[RequestRecommendationsInputs]):
    """Finds what could be better about a workflow, by its recorded history; changes nothing."""

    outputs: ClassVar[tuple[str, ...]] = (
        "recommendations", "items", "estimated_improvement", "workflow_id", "generated_at",
    )  # fmt: skip
    Inputs = RequestRecommendationsInputs

    async def run(self, inputs: RequestRecommendationsInputs, context: StepContext) -> Mapping[str, Any]:
        """Look.

        Returns:
            ``recommendations``, an object of the other outputs: ``workflow_id``, ``generated_at``, ``items`` and
            ``estimated_improvement``.
        """
        from airflow_llm_provider.optimization.recommendations import recommend

        workflow_id = inputs.workflow_id or context.workflow
        folder = context.runtime.settings.metrics
        now = datetime.now(timezone.utc)

        def look() -> dict[str, Any]:
            return recommend(workflow_id, read_records(folder, workflow_id, last=inputs.history), now).to_dict()

        # In a thread: a long history takes a while to read.
        found = await asyncio.to_thread(look)
        return {"recommendations": found, **found}
