"""``llm-test-bench:…``: judge an answer, by metrics that are computed here or, for ``llm_judge``, by a chat model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import Self

from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.evaluation.values import Evaluation, MetricName, MetricResult, Subject
from airflow_llm_provider.executors.llm import Text
from airflow_llm_provider.patterns import Pattern
from airflow_llm_provider.workflow.values import to_text

__all__ = ["MultiMetric", "MultiMetricInputs", "SemanticSimilarity", "SemanticSimilarityInputs"]

JUDGE_CRITERIA = "The response is correct, complete, and answers what was asked."


def _given(value: Any) -> Any:
    # Null is nothing to compare with; an empty text is an answer.
    return None if value is None else to_text(value)


def _wanted(value: Any) -> Any:
    if value is None:
        raise ValueError(
            "it is null, and the response is compared with it; "
            "give one, or skip the step with a condition such as ${{ inputs.expected != null }}"
        )
    return to_text(value)


def _joined(value: Any) -> Any:
    return "\n".join(map(to_text, value)) if isinstance(value, list) else _given(value)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


GivenText = Annotated[str | None, BeforeValidator(_given)]
"""A text, or null when there is none."""

Documents = Annotated[str | None, BeforeValidator(_joined)]
"""A text, or a list of them."""

Threshold = Annotated[float, Field(ge=0, le=1)]
"""The score that passes."""


class SemanticSimilarityInputs(Inputs):
    """What to compare.

    Attributes:
        response: The answer.
        ground_truth: The answer that is right.
        threshold: The score that passes.
        prompt: The question; with it, ``metrics`` tells of ``relevance`` too.
        context: What the answer had to rely on, a text or a list; with it, ``metrics`` tells of ``factual_consistency`` too.
    """

    response: Text
    ground_truth: Annotated[str, BeforeValidator(_wanted)]
    threshold: Threshold = 0.7
    prompt: GivenText = None
    context: Documents = None

    def subject(self) -> Subject:
        """Give what is to be judged."""
        return Subject(self.response, self.ground_truth, self.prompt, self.context)


class SemanticSimilarity(Executor[SemanticSimilarityInputs]):
    """How alike an answer and the right one are; the score is of the similarity alone."""

    outputs: ClassVar[tuple[str, ...]] = ("score", "passed", "metrics")
    Inputs = SemanticSimilarityInputs

    async def run(self, inputs: SemanticSimilarityInputs, context: StepContext) -> Mapping[str, Any]:
        """Compare."""
        names: list[MetricName] = ["semantic_similarity"]
        names += ["relevance"] if inputs.prompt is not None else []
        names += ["factual_consistency"] if inputs.context is not None else []
        results = await _measured(names, inputs.subject(), inputs.threshold)
        return {
            "score": results[0].score,
            "passed": results[0].passed,
            "metrics": {result.name: result.to_dict() for result in results},
        }


class JudgeSettings(BaseModel):
    """Which model judges, and by what.

    Attributes:
        provider: Its provider.
        model: The provider's name of it.
        criteria: What to judge by.
        temperature: Sampling temperature, 0 to 2.
        max_tokens: Most tokens of the verdict.
        connection: Airflow connection with the credentials; the provider's default connection when absent.
        base_url: Root of the API, for whatever speaks the provider's dialect.
        extra_body: Further fields of the provider's request.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str
    model: str
    criteria: Text = JUDGE_CRITERIA
    temperature: float | None = Field(default=0.0, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1)
    connection: str | None = None
    base_url: str | None = None
    extra_body: dict[str, Any] = Field(default_factory=dict)


class MetricSettings(BaseModel):
    """What single metrics need to know.

    Attributes:
        contains: Texts that must be in the response; the ground truth when absent.
        regex: Regular expression that must be found in it.
        json_schema: JSON Schema that it must meet.
        llm_judge: The model that judges.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    contains: Annotated[list[Text], BeforeValidator(_listed), Field(min_length=1)] | None = None
    regex: Pattern | None = None
    json_schema: dict[str, Any] | bool | None = None
    llm_judge: JudgeSettings | None = None


class MultiMetricInputs(Inputs):
    """What to judge, and by which metrics.

    Attributes:
        response: The answer.
        ground_truth: The answer that is right.
        prompt: The question.
        context: What the answer had to rely on, a text or a list.
        metrics: The metrics' names.
        weights: What a metric counts in the score; 1 where nothing is said.
        threshold: The score that passes, for each metric and for all together.
        settings: What single metrics need to know.
    """

    response: Text
    ground_truth: GivenText = None
    prompt: GivenText = None
    context: Documents = None
    metrics: list[MetricName] = Field(min_length=1)
    weights: dict[MetricName, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(default_factory=dict)
    threshold: Threshold = 0.7
    settings: MetricSettings = MetricSettings()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        from airflow_llm_provider.evaluation.metrics import missing

        problems = missing(self.metrics, self.subject())
        problems += [f"there is a weight for {name!r}, which is not in 'metrics'" for name in self._unused_weights()]
        if not any(self.weights.get(name, 1.0) for name in self.metrics):
            problems.append("all weights are 0; at least one metric must count")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _unused_weights(self) -> list[MetricName]:
        return [name for name in self.weights if name not in self.metrics]

    def subject(self) -> Subject:
        """Give what is to be judged."""
        settings = self.settings
        return Subject(
            self.response,
            self.ground_truth,
            self.prompt,
            self.context,
            contains=tuple(settings.contains) if settings.contains else None,
            pattern=settings.regex,
            schema=settings.json_schema,
            judged=settings.llm_judge is not None,
        )


class MultiMetric(Executor[MultiMetricInputs]):
    """Several metrics of one answer; the score is their weighted mean."""

    outputs: ClassVar[tuple[str, ...]] = ("score", "passed", "metrics")
    Inputs = MultiMetricInputs

    async def run(self, inputs: MultiMetricInputs, context: StepContext) -> Mapping[str, Any]:
        """Judge.

        Raises:
            InvalidRequest: A metric cannot work with its settings.
            InvalidOutput: The judging model answered something else than a verdict.
            StepError: The judging model could not be asked.
        """
        evaluation = await _evaluated(inputs, context)
        return {
            "score": evaluation.overall_score,
            "passed": evaluation.passed,
            "metrics": {name: result.to_dict() for name, result in evaluation.metrics.items()},
        }


async def _evaluated(inputs: MultiMetricInputs, context: StepContext) -> Evaluation:
    from airflow_llm_provider.evaluation.metrics import summarise

    subject, names = inputs.subject(), list(dict.fromkeys(inputs.metrics))
    computed: list[MetricName] = [name for name in names if name != "llm_judge"]
    results = {result.name: result for result in await _measured(computed, subject, inputs.threshold)}
    # The others come first: what they refuse is not paid for.
    judge = inputs.settings.llm_judge
    if "llm_judge" in names and judge is not None:
        results["llm_judge"] = await _judged(judge, subject, inputs.threshold, context)
    return summarise([results[name] for name in names], inputs.threshold, inputs.weights)


async def _measured(names: list[MetricName], subject: Subject, threshold: float) -> list[MetricResult]:
    from airflow_llm_provider.evaluation.metrics import measure

    # In a thread: a long text or an awkward pattern takes seconds, and must not hold up other steps and time limits.
    return await asyncio.to_thread(lambda: [measure(name, subject, threshold) for name in names])


async def _judged(judge: JudgeSettings, subject: Subject, threshold: float, context: StepContext) -> MetricResult:
    from airflow_llm_provider.clients.base import ChatRequest
    from airflow_llm_provider.evaluation.judge import VERDICT_SCHEMA, question, read_verdict
    from airflow_llm_provider.evaluation.metrics import result_of
    from airflow_llm_provider.executors.asking import ask

    provider = context.runtime.provider(judge.provider)
    # A model does as it is told in words; the scripted provider gives JSON only where a field asks for it.
    structured = {"response_format": {"type": "json_schema", "schema": VERDICT_SCHEMA}}
    request = ChatRequest(
        model=judge.model,
        messages=question(subject, judge.criteria),
        temperature=judge.temperature,
        max_tokens=judge.max_tokens,
        extra={**(structured if provider == "scripted" else {}), **judge.extra_body},
    )
    asked = await ask(context, provider, request, connection=judge.connection, base_url=judge.base_url)
    return result_of("llm_judge", read_verdict(asked.answer.text), threshold)
