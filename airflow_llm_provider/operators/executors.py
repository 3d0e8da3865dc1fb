"""The executors of workflow files as operators, for DAGs that are written in Python.

Here Airflow's own templates hold, in every input. What they give is taken as it is: neither a value that was inserted nor a model's
answer is looked at again by the workflow language. Credentials, tries, usage, limits and kept answers are those of workflow steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from airflow_llm_provider.engine.executor import find_executor
from airflow_llm_provider.engine.result import StepResult
from airflow_llm_provider.engine.run import step_scope
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.engine.scope import Run, Scope
from airflow_llm_provider.engine.step import run_step
from airflow_llm_provider.operators.step import WorkflowOperator, record, step_failure
from airflow_llm_provider.operators.tries import MODEL_STEPS, TaskTries, waiting_arguments
from airflow_llm_provider.workflow.durations import parse_duration
from airflow_llm_provider.workflow.model import Retry, Source, Step, Workflow

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.mappedoperator import OperatorPartial

__all__ = ["EmbedOperator", "EvaluateOperator", "LLMOperator", "VectorSearchOperator"]

OUTPUTS_XCOM = "outputs"
"""XCom with all outputs of the executor by name; the first of them is the task's return value."""


class _NoResults:
    """The results of the other steps of a workflow that has only one."""

    def outputs(self, step_id: str) -> None:
        """Give none."""

    def record(self, step_id: str) -> None:
        """Give none."""


class ExecutorOperator(WorkflowOperator):
    """Base of the operators: runs one executor.

    Args:
        inputs: The executor's inputs; those that are None are left out.
        tries: Most tries, the first included; the settings' rule when None.
        try_timeout: Limit of one try, in seconds or with a unit (``30s``); the settings' limit when None.

    Attributes:
        step_type: Name of the executor, which workflow files write as `type`.
    """

    step_type: ClassVar[str]
    template_fields: Sequence[str] = ("inputs",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"inputs": "json"}
    ui_color = "#e3f0e4"

    def __init__(
        self,
        *,
        inputs: Mapping[str, Any],
        tries: int | None = None,
        try_timeout: float | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.inputs = {name: value for name, value in inputs.items() if value is not None}
        self.tries = tries
        self.try_timeout = try_timeout
        if self.step_type in MODEL_STEPS and self.retry_policy is None:
            for name, value in waiting_arguments(self.retries or 0, tries or Retry().max_attempts).items():
                setattr(self, name, value)

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """Begin a mapped task; Airflow takes the long waits of its tries too."""
        made: OperatorPartial = super().partial(**kwargs)
        if cls.step_type in MODEL_STEPS and made.kwargs.get("retry_policy") is None:
            tries = made.kwargs.get("tries") or Retry().max_attempts
            made.kwargs.update(waiting_arguments(made.kwargs.get("retries") or 0, tries))
        return made

    def execute(self, context: Context) -> Any:
        """Run the executor; its first output is the task's XCom, all of them are the XCom ``outputs``.

        Raises:
            AirflowException: It failed; what it cost is in the XCom ``llm_usage`` all the same.
        """
        tries = TaskTries.of(context, self.policy)
        result = asyncio.run(self._run(context, tries))
        self._wait(context, result, tries, self.step_type)
        record(context["ti"], result)
        if result.state == "failed":
            raise step_failure(result) from result.exception
        tries.forget()
        context["ti"].xcom_push(OUTPUTS_XCOM, dict(result.outputs))
        return next(iter(result.outputs.values()))

    def _step(self) -> Step:
        return Step(
            id=self.task_id,
            task_id=self.task_id,
            executor=self.step_type,
            # Inputs are named and not written, so that nothing in them is a template of the workflow language.
            inputs={name: f"{{{{ inputs.{name} }}}}" for name in self.inputs},
            outputs={name: name for name in find_executor(self.step_type).outputs},
            retry=None if self.tries is None else Retry(max_attempts=self.tries),
            timeout=None if self.try_timeout is None else parse_duration(self.try_timeout),
        )

    async def _run(self, context: Context, tries: TaskTries) -> StepResult:
        dag_run, step = context["dag_run"], self._step()
        name = context["ti"].dag_id
        # The owner whom Airflow gives to all that have none is no team.
        owner = {"owner": self.owner} if self.owner != BaseOperator.owner else {}
        source = Source(None, "", 0, "steps")
        self.workflow = Workflow(name=name, dag_id=name, steps=(step,), source=source, airflow=owner)
        async with self.runtime(context) as runtime:
            runtime.longest_wait = tries.longest_wait
            run = Run(
                id=dag_run.run_id,
                started_at=dag_run.run_after.isoformat(),
                user=getattr(dag_run, "triggering_user_name", None) or "",
                environment=runtime.settings.environment,
            )
            scope = step_scope(self.workflow, self.inputs, run, _NoResults(), runtime)
            return await self._run_step(step, scope, runtime, context, tries)

    async def _run_step(
        self, step: Step, scope: Scope, runtime: Runtime, context: Context, tries: TaskTries
    ) -> StepResult:
        return await run_step(step, scope, runtime, tried=tries.tried, spent=tries.spent)


class LLMOperator(ExecutorOperator):
    """Asks a chat model; the task's XCom is the answer's text, or the value that ``output_schema`` describes.

    Args:
        provider: Which API, by the names that workflow files use: ``openai``, ``anthropic``, …
        model: The provider's model name.
        prompt: The question; instead of ``messages``.
        messages: A whole conversation, a list of ``{role, content}``; instead of ``prompt``.
        system: Instructions for the model.
        connection: Airflow connection with the credentials; ``<provider>_default`` when None.
        output_schema: JSON Schema that the answer must meet.
        fallbacks: Models in its place: a list of ``{provider, model, connection, after}``.
        cache: Whether the same question may be answered from the cache, or ``{"ttl": "1h"}``.
        options: Further inputs of the step type ``llm``: ``temperature``, ``max_tokens``, ``top_p``, ``stop``, ``seed``,
            ``stream``, ``base_url``, ``extra_body``.
        tries: Most tries, the first included.
        try_timeout: Limit of one try.
    """

    step_type = "llm"

    def __init__(
        self,
        *,
        provider: str,
        model: str,
        prompt: str | None = None,
        messages: Sequence[Mapping[str, Any]] | None = None,
        system: str | None = None,
        connection: str | None = None,
        output_schema: Mapping[str, Any] | None = None,
        fallbacks: Sequence[Mapping[str, Any]] | None = None,
        cache: bool | Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        given = {
            "provider": provider,
            "model": model,
            "prompt": prompt,
            "messages": messages,
            "system": system,
            "connection": connection,
            "output_schema": output_schema,
            "fallbacks": fallbacks,
            "cache": cache,
        }
        super().__init__(inputs={**(options or {}), **given}, **kwargs)


class EmbedOperator(ExecutorOperator):
    """Turns texts into vectors; the task's XCom is the vector of a text, or a list of vectors for a list.

    Args:
        provider: ``openai`` and whatever speaks its API, ``azure``, ``bedrock``, ``cohere``, ``scripted``.
        model: The provider's model name.
        input: A text, or a list of texts.
        dimensions: Numbers in a vector; the model's own count when None.
        purpose: ``document`` or ``query``.
        connection: Airflow connection with the credentials.
        options: Further inputs of the step type ``embed``: ``batch_size``, ``base_url``.
        tries: Most tries, the first included.
        try_timeout: Limit of one try.
    """

    step_type = "embed"

    def __init__(
        self,
        *,
        provider: str,
        model: str,
        input: str | Sequence[str],
        dimensions: int | None = None,
        purpose: str | None = None,
        connection: str | None = None,
        options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        given = {
            "provider": provider,
            "model": model,
            "input": input,
            "dimensions": dimensions,
            "purpose": purpose,
            "connection": connection,
        }
        super().__init__(inputs={**(options or {}), **given}, **kwargs)


class VectorSearchOperator(ExecutorOperator):
    """Finds the nearest items of an index; the task's XCom is a list of ``{id, score, metadata, vector}``, the best first.

    Args:
        index: The index.
        query: The vector to be near to.
        top_k: Most results, up to 100.
        filter: What the items' metadata must meet.
        database: The store.
        namespace: Part of the index.
        connection: Airflow connection of the store.
        options: Further inputs of the step type ``vector_search``: ``include_metadata``, ``include_vectors``.
        tries: Most tries, the first included.
        try_timeout: Limit of one try.
    """

    step_type = "vector_search"

    def __init__(
        self,
        *,
        index: str,
        query: Sequence[float],
        top_k: int | None = None,
        filter: Mapping[str, Any] | None = None,
        database: str | None = None,
        namespace: str | None = None,
        connection: str | None = None,
        options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        given = {
            "index": index,
            "query": query,
            "top_k": top_k,
            "filter": filter,
            "database": database,
            "namespace": namespace,
            "connection": connection,
        }
        super().__init__(inputs={**(options or {}), **given}, **kwargs)


class EvaluateOperator(ExecutorOperator):
    """Judges an answer by metrics; the task's XCom is the score, 0 to 1.

    Args:
        response: The answer.
        metrics: The metrics' names, as ``llm-test-bench:multi-metric`` has them.
        ground_truth: The answer that is right.
        prompt: The question.
        context: What the answer had to rely on, a text or a list.
        threshold: The score that passes; the XCom ``outputs`` tells as ``passed``.
        options: Further inputs of ``llm-test-bench:multi-metric``: ``weights``, ``settings``.
        tries: Most tries, the first included.
        try_timeout: Limit of one try.
    """

    step_type = "llm-test-bench:multi-metric"

    def __init__(
        self,
        *,
        response: str,
        metrics: Sequence[str],
        ground_truth: str | None = None,
        prompt: str | None = None,
        context: str | Sequence[str] | None = None,
        threshold: float | None = None,
        options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        given = {
            "response": response,
            "metrics": metrics,
            "ground_truth": ground_truth,
            "prompt": prompt,
            "context": context,
            "threshold": threshold,
        }
        super().__init__(inputs={**(options or {}), **given}, **kwargs)
