"""A workflow as an Airflow DAG: a task for each step, the inputs as params, the file as documentation."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseOperator, Param

from airflow_llm_provider.executors.fan_out import FanOutInputs
from airflow_llm_provider.operators.event import WorkflowEventOperator
from airflow_llm_provider.operators.events import WorkflowEventsOperator, run_timeout_events
from airflow_llm_provider.operators.fan_out import (
    FanOutCollectOperator,
    FanOutItemOperator,
    FanOutItemsOperator,
    Mapped,
)
from airflow_llm_provider.operators.step import LLMStepOperator, WorkflowOutputsOperator, WorkflowStepOperator
from airflow_llm_provider.operators.tries import repeat_arguments, retry_arguments
from airflow_llm_provider.operators.workflow import WorkflowRunOperator
from airflow_llm_provider.policy import WORKFLOW_FILE
from airflow_llm_provider.workflow.graph import Graph
from airflow_llm_provider.workflow.model import Input, Step, Trigger, Workflow
from airflow_llm_provider.workflow.task_ids import ENDING_TASK, EVENT_TASK, OUTPUTS_TASK, mapped_task_ids
from dag_factory.airflow_block import AirflowWorkflow
from dag_factory.checks import is_batched, is_mapped
from dag_factory.pods import pod_override

if TYPE_CHECKING:
    from airflow.sdk import Asset

__all__ = ["to_dag"]

TAGS = ("llm",)
"""On every DAG made from a workflow file, so that the UI can list them."""


OPERATORS: Mapping[str, type[WorkflowStepOperator]] = {
    "llm": LLMStepOperator,
}
"""Executors whose tasks are more than running the step."""


def to_dag(workflow: Workflow) -> DAG:
    """Make the DAG of a workflow.

    Args:
        workflow: A workflow without errors.
    """
    settings = AirflowWorkflow.model_validate(workflow.airflow)
    asset = None if workflow.trigger is None else _event_asset(workflow.trigger)
    dag = DAG(
        dag_id=workflow.dag_id,
        description=workflow.description,
        doc_md=_documentation(workflow),
        schedule=settings.schedule if asset is None else [asset],
        start_date=_start(settings),
        catchup=settings.catchup,
        params={item.name: _param(item, by_event=workflow.trigger is not None) for item in workflow.inputs},
        tags=[*TAGS, *workflow.tags],
        **_limits(workflow, settings),
    )
    if not workflow.source.hides:
        setattr(dag, WORKFLOW_FILE, workflow.source.path)
    defaults = settings.task_settings()
    if settings.granularity == "workflow":
        whole = WorkflowRunOperator(task_id=OUTPUTS_TASK, workflow=workflow, **_arguments(defaults))
        dag.add_task(whole)
        roots: list[BaseOperator] = [whole]
    else:
        roots = _add_steps(dag, workflow, defaults)
    if asset is not None:
        event = WorkflowEventOperator(
            task_id=EVENT_TASK, workflow=workflow, inlets=[asset], **_arguments({"retries": 3}, defaults)
        )
        dag.add_task(event)
        event.set_downstream(roots)
    if workflow.events:
        _add_events(dag, workflow, defaults)
    return dag


def _event_asset(trigger: Trigger) -> Asset:
    # Airflow's assets and triggers take 20 ms to import, which every task's process would pay.
    from dag_factory.event_assets import event_asset

    return event_asset(trigger)


def _add_steps(dag: DAG, workflow: Workflow, defaults: dict[str, Any]) -> list[BaseOperator]:
    """Add the tasks of each step, and one for the declared outputs; gives those that wait for no other."""
    graph = Graph(workflow)
    first: dict[str, WorkflowStepOperator] = {}
    last: dict[str, WorkflowStepOperator] = {}
    for step in workflow.steps:
        # With an event's task before them, no step is without one.
        rule = _trigger_rule(step, has_upstream=workflow.trigger is not None or bool(graph.upstream(step.id)))
        make = _mapped_tasks if is_mapped(step) else _task
        first[step.id], last[step.id] = make(step, workflow, {"trigger_rule": rule, **defaults})
    # Tasks that are made inside a DAG copy its params, several times each; added later, they look them up in the DAG.
    dag.add_tasks(first.values())
    # To look a task up costs more than to see that it is the first one as well.
    dag.add_tasks(task for step_id, task in last.items() if task is not first[step_id])
    for step in workflow.steps:
        if is_mapped(step):
            _add_items(dag, step, workflow, defaults, first[step.id], last[step.id])
    for step_id, task in first.items():
        before = dict.fromkeys((*graph.upstream(step_id), *graph.steps[step_id].after))
        task.set_upstream([last[other] for other in before])
    # Airflow judges a run by its last tasks, and a step that is only waited for is none of them.
    awaited = {step_id for step in workflow.steps for step_id in step.after}
    if workflow.outputs or not awaited.isdisjoint(graph.leaves()):
        # A failed step must not be hidden by a last task that succeeds, a skipped one must not keep it from running.
        final = WorkflowOutputsOperator(
            task_id=OUTPUTS_TASK, workflow=workflow, trigger_rule="none_failed", **_repeated(_arguments(defaults))
        )
        dag.add_task(final)
        final.set_upstream([last[step_id] for step_id in graph.leaves()])
    return [task for step_id, task in first.items() if not graph.upstream(step_id)]


def _add_events(dag: DAG, workflow: Workflow, defaults: dict[str, Any]) -> None:
    """Add the task that does what a workflow has for the end of a run."""
    leaves = dag.leaves
    events = WorkflowEventsOperator(task_id=ENDING_TASK, workflow=workflow, **_arguments(defaults))
    dag.add_task(events)
    events.set_upstream(leaves)
    # A teardown runs whatever came before, and has no say in the state of the run.
    events.as_teardown(on_failure_fail_dagrun=False)
    # A run that took too long is over with all its tasks, so nothing but the DAG itself is left to tell of it.
    dag.on_failure_callback = partial(run_timeout_events, workflow)
    dag.has_on_failure_callback = True


def _trigger_rule(step: Step, *, has_upstream: bool) -> str:
    if step.after:
        # What those do that are only waited for does not matter; the operator looks at the others.
        return "all_done"
    # Workflow-language section 5: run when none failed and not all were skipped.
    return "none_failed_min_one_success" if has_upstream else "all_success"


def _task(
    step: Step, workflow: Workflow, defaults: Mapping[str, Any]
) -> tuple[WorkflowStepOperator, WorkflowStepOperator]:
    """Make the task of a step, which is both the first and the last of the step."""
    operator = _batched_operator() if is_batched(step) else OPERATORS.get(step.executor, WorkflowStepOperator)
    settings = _arguments(defaults, step.airflow)
    task = operator(step=step, workflow=workflow, **{**settings, **retry_arguments(step, settings.get("retries"))})
    return task, task


def _repeated(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {**settings, **repeat_arguments(settings.get("retries"))}


def _batched_operator() -> type[WorkflowStepOperator]:
    # Airflow's triggers take 20 ms to import, which every task's process would pay.
    from airflow_llm_provider.operators.batch import FanOutBatchOperator

    return FanOutBatchOperator


def _mapped_tasks(
    step: Step, workflow: Workflow, defaults: Mapping[str, Any]
) -> tuple[WorkflowStepOperator, WorkflowStepOperator]:
    """Make the first and the last task of a fan-out: the one that gives the items, and the one that collects."""
    settings = _arguments(defaults, step.airflow)
    items_id, _ = mapped_task_ids(step.task_id)
    items = FanOutItemsOperator(task_id=items_id, step=step, workflow=workflow, **_repeated(settings))
    # It looks at what became of the items itself, and finds the same however often it looks.
    collecting = {**settings, "trigger_rule": "all_done", "retries": 0}
    collect = FanOutCollectOperator(step=step, workflow=workflow, **_repeated(collecting))
    return items, collect


def _add_items(
    dag: DAG,
    step: Step,
    workflow: Workflow,
    defaults: Mapping[str, Any],
    items: WorkflowStepOperator,
    collect: WorkflowStepOperator,
) -> None:
    """Add the mapped task of a fan-out between its first and its last; the template's own settings win."""
    assert step.template is not None
    settings = _arguments(defaults, step.airflow, step.template.airflow)
    settings.pop("trigger_rule", None)
    _, item_id = mapped_task_ids(step.task_id)
    most = FanOutInputs.model_fields["max_concurrency"].default
    mapped = FanOutItemOperator.partial(
        task_id=item_id,
        dag=dag,
        mapped=Mapped(step, workflow),
        max_active_tis_per_dagrun=int(step.inputs.get("max_concurrency") or most),
        **{**settings, **retry_arguments(step, settings.get("retries"))},
    ).expand(chunk=items.output)
    collect.set_upstream([items, mapped])


def _arguments(*settings: Mapping[str, Any]) -> dict[str, Any]:
    """Give an operator's arguments: those settings, the later ones over the earlier ones, and of a pod key by key."""
    given = {name: value for said in settings for name, value in said.items() if name != "lane"}
    if "pod" in given:
        pod = {name: value for said in settings for name, value in said.get("pod", {}).items()}
        given["executor_config"] = {"pod_override": pod_override(pod)}
        del given["pod"]
    return given


def _limits(workflow: Workflow, settings: AirflowWorkflow) -> dict[str, Any]:
    limits: dict[str, Any] = {
        "dagrun_timeout": None if workflow.timeout is None else timedelta(seconds=workflow.timeout),
        "max_active_tasks": workflow.max_parallel,
        "max_active_runs": settings.max_active_runs,
    }
    return {name: value for name, value in limits.items() if value is not None}


def _start(settings: AirflowWorkflow) -> Any:
    if settings.schedule is None and settings.start_date is None:
        return None
    import pendulum

    start = settings.start_date or datetime(2024, 1, 1)
    return pendulum.instance(start, tz=start.tzinfo or settings.timezone)


def _param(item: Input, *, by_event: bool) -> Param:
    if by_event:
        # Airflow starts a run for an event without inputs; what is missing all the same is told before the first step.
        item = replace(item, required=False)
    schema = item.json_schema()
    description = schema.pop("description", None)
    if item.required and item.default is None:
        return Param(description=description, **schema)
    if not schema:
        # Of any type; the form offers a text field when a text is among the types.
        schema = {"type": ["string", "null", "number", "boolean", "object", "array"]}
    return Param(item.default, description=description, **schema)


def _documentation(workflow: Workflow) -> str:
    parts = [workflow.description or f"Workflow `{workflow.name}`."]
    if workflow.inputs:
        parts.append(
            "\n".join(["| input | type | given | about |", "|---|---|---|---|", *map(_input_row, workflow.inputs)])
        )
    language = "json" if (workflow.source.path or "").endswith(".json") else "yaml"
    # A fence longer than any in the file cannot be closed by it.
    longest = max(map(len, re.findall("`+", workflow.source.text)), default=0)
    fence = "`" * max(3, longest + 1)
    parts.append(f"{fence}{language}\n{workflow.source.text.rstrip()}\n{fence}")
    return "\n\n".join(parts)


def _input_row(item: Input) -> str:
    given = "always" if item.required else f"else `{json.dumps(item.default, ensure_ascii=False)}`"
    cells = (f"`{item.name}`", item.type, given, item.description or "")
    # A bar would begin another cell.
    return "".join(f"| {cell.replace('|', '&#124;')} " for cell in cells) + "|"
