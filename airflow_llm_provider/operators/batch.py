"""Fan-outs of questions as batches of the provider's: ``airflow: {lane: batch}``, and :class:`LLMBatchOperator`.

The task hands its questions in, waits in the triggerer, and reads the answers when the batch has ended. What was handed in is kept
in the task's state store, so that a task whose worker was killed goes on with its batch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_llm_provider.engine.approval import PersonNeeded
from airflow_llm_provider.engine.executor import StepContext
from airflow_llm_provider.engine.meter import Meter
from airflow_llm_provider.engine.result import StepResult
from airflow_llm_provider.engine.retry import retrying
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.engine.scope import Scope
from airflow_llm_provider.engine.step import run_step
from airflow_llm_provider.errors import StepError
from airflow_llm_provider.executors.batching import Batching, HandedIn, PutAside, in_one_try
from airflow_llm_provider.operators.executors import ExecutorOperator
from airflow_llm_provider.operators.step import WorkflowOperator, WorkflowStepOperator
from airflow_llm_provider.operators.tries import TaskTries
from airflow_llm_provider.triggers.batch import LLMBatchTrigger
from airflow_llm_provider.workflow.model import Step

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["BATCH_XCOM", "FanOutBatchOperator", "LLMBatchOperator"]

BATCH_XCOM = "batches"
"""XCom with the batches that were handed in: the provider's id, how many questions, and what was taken from budgets."""

_KEY = "batches"

ResultT = TypeVar("ResultT")

POLL_INTERVAL = 60.0
"""Seconds between two looks at a batch."""


class BatchedOperator(WorkflowOperator):
    """What the operators share that hand questions in."""

    poll_interval: float = POLL_INTERVAL
    _handed_in: list[dict[str, Any]] | None = None
    _waits_for: HandedIn | None = None

    def resume(self, context: Context, event: Mapping[str, Any], handed_in: list[dict[str, Any]]) -> Any:
        """Go on when a batch has ended.

        Args:
            context: Airflow's context.
            event: How it stands.
            handed_in: The batches.
        """
        if "error" in event:
            self.log.error("The batch cannot be looked up: %s", event["error"])
        self._handed_in = handed_in
        return self.execute(context)

    async def run_batched(self, step: Step, scope: Scope, runtime: Runtime, context: Context) -> StepResult:
        """Run a fan-out whose questions go into batches.

        Args:
            step: The fan-out.
            scope: What its references resolve to.
            runtime: The task's.
            context: Airflow's context.

        Returns:
            Its result; one that failed with :class:`PutAside` waits for a batch.
        """
        ti = context["ti"]
        batches = self._known(context)
        name = f"{ti.dag_id} {ti.run_id} {ti.task_id} {ti.map_index}"
        batching = Batching(runtime, ti.try_number, name, scope.payer)
        try:
            self._waits_for = await self._tried(step, runtime, partial(batching.read, batches))
            batches = await self._accounted(batches, batching, runtime, context)
            if self._waits_for is not None:
                return StepResult(step.id, "failed", exception=PutAside())
            if batching.refused is not None:
                raise batching.refused
            runtime.answers = batching
            # Answers can be read again from their batches.
            runtime.checkpoint = None
            result = await run_step(in_one_try(step), scope, runtime)
            if isinstance(result.exception, PutAside):
                within = StepContext(step, scope, runtime, Meter(), ti.try_number)
                known = [batch.id for batch in batches]
                hand_in = partial(batching.hand_in, within, look_first=ti.try_number > 1, known=known)
                self._waits_for = await self._tried(step, runtime, hand_in)
                self._keep(context, [*batches, self._waits_for])
        except (StepError, PersonNeeded) as error:
            return StepResult(step.id, "failed", error=f"{type(error).__name__}: {error}", exception=error)
        return result

    async def _tried(self, step: Step, runtime: Runtime, ask: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Ask the batch API, as often as the step is tried."""

        def told(attempt: int, error: BaseException, wait: float) -> None:
            self.log.warning("Try %d of the batch API failed, next in %.1f s: %s", attempt, wait, error)

        async for attempt in retrying(step.retry or runtime.settings.retry, told):
            with attempt:
                result = await ask()
        return result

    async def _accounted(
        self, batches: list[HandedIn], batching: Batching, runtime: Runtime, context: Context
    ) -> list[HandedIn]:
        """Give back what was taken from budgets and not needed, once for each batch."""
        if not batching.overpaid:
            return batches
        ledger = runtime.ledger()
        for batch, left in batching.overpaid if ledger is not None else ():
            assert ledger is not None
            await ledger.give_back(batch.accounts, left, batch.id)
        ended = {batch.id for batch, _ in batching.overpaid}
        accounted = [replace(batch, accounted=batch.accounted or batch.id in ended) for batch in batches]
        self._keep(context, accounted)
        return accounted

    @property
    def batch_timeout(self) -> float | None:
        """Most seconds to wait for a batch; None for as long as it takes."""
        return None

    def _wait(self, context: Context, result: StepResult, tries: TaskTries, executor: str) -> None:
        super()._wait(context, result, tries, executor)
        batch, timeout = self._waits_for, self.batch_timeout
        if batch is not None and isinstance(result.exception, PutAside):
            self.defer(
                trigger=LLMBatchTrigger(batch.id, batch.provider, batch.connection, batch.base_url, self.poll_interval),
                method_name="resume",
                kwargs={"handed_in": self._handed_in},
                timeout=None if timeout is None else timedelta(seconds=timeout),
            )

    def _known(self, context: Context) -> list[HandedIn]:
        if self._handed_in is None:
            store: Any = context.get("task_state_store")
            # In a first try that has not waited nothing can be there, unless the task was cleared.
            self._handed_in = (store.get(_KEY) if store is not None else None) or []
        return [HandedIn(**{**batch, "accounts": tuple(batch.get("accounts", ()))}) for batch in self._handed_in]

    def _keep(self, context: Context, batches: Sequence[HandedIn]) -> None:
        self._handed_in = [{**asdict(batch), "accounts": [*batch.accounts]} for batch in batches]
        store = context.get("task_state_store")
        if store is not None:
            store.set(_KEY, [*self._handed_in])
        context["ti"].xcom_push(BATCH_XCOM, self._handed_in)


class FanOutBatchOperator(BatchedOperator, WorkflowStepOperator):
    """Runs a fan-out over questions by batches of the provider's."""

    ui_color = "#e3f0e4"

    @property
    def batch_timeout(self) -> float | None:
        """The step's own limit."""
        return self.step.timeout

    async def _run(self, context: Context, tries: TaskTries) -> StepResult:
        async with self.runtime(context) as runtime:
            return await self.run_batched(self.step, self.scope(context, runtime), runtime, context)


class LLMBatchOperator(BatchedOperator, ExecutorOperator):
    """Asks a chat model many questions as a batch of the provider's, at half the price and within a day.

    The task's XCom is the list of the answers in the questions' order: texts, or the values that ``output_schema`` describes.

    Args:
        provider: ``openai`` and whatever speaks its batch API, or ``anthropic``.
        model: The provider's model name.
        prompts: The questions.
        system: Instructions for the model.
        connection: Airflow connection with the credentials; ``<provider>_default`` when None.
        output_schema: JSON Schema that each answer must meet; one that does not fails its question.
        on_item_error: What a question that failed means: ``fail`` the task, ``skip`` it, or ``null`` in its place.
        options: Further inputs of the step type ``llm``, as :class:`LLMOperator` has them.
        poll_interval: Seconds between two looks at the batch.
        kwargs: What all operators take. With ``retries``, only the questions that failed are handed in again.
    """

    step_type = "orchestrator:fan-out"

    def __init__(
        self,
        *,
        provider: str,
        model: str,
        prompts: Sequence[str],
        system: str | None = None,
        connection: str | None = None,
        output_schema: Mapping[str, Any] | None = None,
        on_item_error: str = "fail",
        options: Mapping[str, Any] | None = None,
        poll_interval: float = POLL_INTERVAL,
        **kwargs: Any,
    ) -> None:
        asking = {
            "provider": provider,
            "model": model,
            "system": system,
            "connection": connection,
            "output_schema": output_schema,
            **(options or {}),
        }
        given = {name: value for name, value in asking.items() if value is not None}
        super().__init__(inputs={"items": prompts, "on_item_error": on_item_error, "asking": given}, **kwargs)
        self.poll_interval = poll_interval

    def _step(self) -> Step:
        asking = self.inputs["asking"]
        template = Step(
            id=f"{self.task_id}.question",
            task_id=f"{self.task_id}.question",
            executor="llm",
            inputs={"prompt": "{{ item }}", **{name: f"{{{{ inputs.asking.{name} }}}}" for name in asking}},
            outputs={"text": "text"},
        )
        return Step(
            id=self.task_id,
            task_id=self.task_id,
            executor=self.step_type,
            inputs={"items": "{{ inputs.items }}", "on_item_error": "{{ inputs.on_item_error }}"},
            outputs={name: name for name in ("results", "errors", "count")},
            template=template,
        )

    async def _run_step(
        self, step: Step, scope: Scope, runtime: Runtime, context: Context, tries: TaskTries
    ) -> StepResult:
        return await self.run_batched(step, scope, runtime, context)
