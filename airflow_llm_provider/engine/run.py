"""``run_workflow``: a whole workflow in one process and one event loop, without a database.

Steps start as soon as those they wait for have ended. The rules for skips and failures are those of workflow-language section 5,
and are the ones that the compiled DAG's trigger rules give.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from graphlib import TopologicalSorter
from typing import Any, Literal

from airflow_llm_provider.engine.events import Ending, run_events
from airflow_llm_provider.engine.inputs import bind_inputs
from airflow_llm_provider.engine.result import RunResult, StepResult, StepState
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.engine.scope import MemoryResults, Results, Run, Scope
from airflow_llm_provider.engine.spending import Payer
from airflow_llm_provider.engine.step import run_step
from airflow_llm_provider.errors import ExpressionError
from airflow_llm_provider.workflow.graph import Graph
from airflow_llm_provider.workflow.model import Step, Workflow
from airflow_llm_provider.workflow.names import Names
from airflow_llm_provider.workflow.templates import render

__all__ = ["run_workflow", "step_scope", "workflow_outputs"]


def step_scope(
    workflow: Workflow,
    inputs: Mapping[str, Any],
    run: Run,
    results: Results,
    runtime: Runtime,
    payer: Payer | None = None,
) -> Scope:
    """Give the scope that a workflow's steps see.

    Args:
        workflow: The workflow.
        inputs: The run's inputs, bound by :func:`airflow_llm_provider.engine.inputs.bind_inputs`.
        run: Facts about the run.
        results: The results of ended steps.
        runtime: Looks secrets up.
        payer: On whose account model calls are; the workflow's own when None.
    """
    facts = {"name": workflow.name, "version": workflow.version, "metadata": dict(workflow.metadata)}
    return Scope(
        Names(workflow),
        facts,
        inputs,
        run,
        results,
        runtime.secret,
        workflows=workflow.uses,
        payer=payer or Payer.of(workflow, run.id),
    )


def workflow_outputs(workflow: Workflow, scope: Scope) -> dict[str, Any]:
    """Compute the results of a run.

    Args:
        workflow: The workflow.
        scope: The scope of its steps, all of which have ended.

    Returns:
        Output name to value. A workflow that declares no outputs gives the outputs of each completed step, by step id.

    Raises:
        ExpressionError: An output cannot be evaluated; the message names it.
    """
    if not workflow.outputs:
        ended = {step.id: scope.results.outputs(step.id) for step in workflow.steps}
        return {step_id: dict(outputs) for step_id, outputs in ended.items() if outputs}
    values: dict[str, Any] = {}
    final = Scope(
        Names(workflow, in_outputs=True),
        scope.workflow,
        scope.inputs,
        scope.run,
        scope.results,
        scope.masked().secret,  # a result is shown to people and kept; no secret may be part of it
        workflow_outputs=values,
    )
    for output in workflow.outputs:
        try:
            value = render(output.value, final)
            if value is None:
                value = render(output.fallback, final)
            values[output.name] = render(output.transform, final.with_local(value=value)) if output.transform else value
        except ExpressionError as error:
            raise ExpressionError(f"workflow output {output.name!r}: {error}", error.offset) from error
    return values


async def run_workflow(
    workflow: Workflow,
    inputs: Mapping[str, Any],
    runtime: Runtime,
    *,
    user: str = "",
    run_id: str | None = None,
    started_at: str | None = None,
    payer: Payer | None = None,
) -> RunResult:
    """Run a workflow from start to end.

    Args:
        workflow: The workflow, free of errors.
        inputs: Input name to value.
        runtime: Clients, settings and the observer.
        user: Who starts it, for ``system.user``.
        run_id: The run's id; made up when None.
        started_at: When it started, ISO 8601 in UTC; now when None.
        payer: On whose account model calls are; the workflow's own when None.

    Returns:
        The result. Failed steps and an exceeded time limit are part of it; they do not raise.

    Raises:
        InvalidRequest: The inputs do not fit the workflow.
    """
    bound = bind_inputs(workflow, inputs)
    started = time.perf_counter()
    run = Run(
        id=run_id or str(uuid.uuid4()),
        started_at=started_at or datetime.now(timezone.utc).isoformat(),
        user=user,
        environment=runtime.settings.environment,
    )
    results = MemoryResults()
    scope = step_scope(workflow, bound, run, results, runtime, payer)
    ended: dict[str, StepResult] = {}
    error: str | None = None
    outputs: Mapping[str, Any] = {}
    ending: Ending | None = None
    try:
        await asyncio.wait_for(_run_steps(workflow, scope, runtime, results, ended), workflow.timeout)
    except asyncio.TimeoutError:
        ending, error = "timeout", f"TimeoutError: the run took longer than {workflow.timeout:g} s"
    except asyncio.CancelledError:
        await asyncio.shield(
            run_events(workflow, scope, runtime, "cancelled", outputs={}, error="the run was cancelled")
        )
        raise
    failed = [ended[step.id] for step in workflow.steps if step.id in ended and _blocks(step, ended[step.id].state)]
    if failed:
        error = error or f"{failed[0].step_id}: {failed[0].error}"
    if error is None:
        try:
            outputs = workflow_outputs(workflow, scope)
        except ExpressionError as problem:
            error = f"ExpressionError: {problem}"
    state: Literal["completed", "failed"] = "completed" if error is None else "failed"
    told = await run_events(workflow, scope, runtime, ending or state, outputs=outputs, error=error)
    return RunResult(
        run_id=run.id,
        workflow=workflow.name,
        state=state,
        outputs=outputs,
        steps={step.id: ended.get(step.id, StepResult(step.id, "pending")) for step in workflow.steps},
        error=error,
        events=told,
        execution_time=(time.perf_counter() - started) * 1000,
    )


async def _run_steps(
    workflow: Workflow, scope: Scope, runtime: Runtime, results: MemoryResults, ended: dict[str, StepResult]
) -> None:
    graph = Graph(workflow)
    sorter = TopologicalSorter({step.id: (*graph.upstream(step.id), *step.after) for step in workflow.steps})
    sorter.prepare()
    ready: deque[str] = deque(sorter.get_ready())
    running: set[asyncio.Task[StepResult]] = set()
    finished: asyncio.Queue[asyncio.Task[StepResult]] = asyncio.Queue()
    limit = workflow.max_parallel or len(workflow.steps)

    def end(result: StepResult) -> None:
        ended[result.step_id] = result
        results.values[result.step_id] = (result.outputs, result.record())
        sorter.done(result.step_id)
        ready.extend(sorter.get_ready())

    def cancelled(result: StepResult) -> None:
        ended[result.step_id] = result

    try:
        while ready or running:
            while ready and len(running) < limit:
                step = graph.steps[ready.popleft()]
                before = [(graph.steps[other], ended[other].state) for other in graph.upstream(step.id)]
                stopped = workflow.fail_fast and any(_blocks(graph.steps[other], ended[other].state) for other in ended)
                state = _state_without_running(before, stopped=stopped)
                if state is not None:
                    result = StepResult(step.id, state)
                    runtime.observer.step_finished(step, result)
                    end(result)
                    continue
                running_step = run_step(step, scope, runtime, when_cancelled=cancelled)
                task = asyncio.create_task(running_step, name=step.id)
                task.add_done_callback(finished.put_nowait)
                running.add(task)
            if running:
                task = await finished.get()
                running.remove(task)
                end(task.result())
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _blocks(step: Step, state: StepState) -> bool:
    """Tell whether a step's end keeps those behind it from running, and the run from succeeding."""
    return state == "failed" and not step.continues


def _state_without_running(before: Collection[tuple[Step, StepState]], *, stopped: bool) -> StepState | None:
    """Give the state of a step that may not run, because of those before it or because the run fails fast; else None."""
    if any(state == "pending" or _blocks(step, state) for step, state in before):
        return "pending"
    if stopped or (before and all(state == "skipped" for _, state in before)):
        return "skipped"
    return None
