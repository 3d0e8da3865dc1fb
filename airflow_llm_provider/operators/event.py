"""The first task of a workflow that events start: it hands each event on to a run of its own.

Airflow joins asset events into one run, and leaves out those that arrive between the first of them and the moment that it makes
the run; they wait for whatever comes next. So the run that Airflow makes only hands on: it looks at all events since its first,
and starts a run for each that the workflow waits for. A run's id is made of the event's, which is why an event that two such runs
see, or that is sent twice, has one run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowRuntimeError, DownstreamTasksSkipped, ErrorType

from airflow_llm_provider.engine.inputs import meets_trigger
from airflow_llm_provider.engine.started_by import event_run_id, events_in
from airflow_llm_provider.errors import ExpressionError
from airflow_llm_provider.operators.step import SKIPPED_XCOM, WorkflowOperator
from airflow_llm_provider.workflow.model import Trigger, Workflow

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["WorkflowEventOperator"]


class WorkflowEventOperator(WorkflowOperator):
    """Starts a run for each event that the workflow waits for; in a run that was given its event, it does nothing.

    Args:
        workflow: The workflow; it has a trigger.
    """

    ui_color = "#e6f4f1"

    def __init__(self, *, workflow: Workflow, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workflow = workflow

    def execute(self, context: Context) -> None:
        """Hand the events on.

        Raises:
            DownstreamTasksSkipped: The run has done its part.
            AirflowFailException: The filter cannot be evaluated for an event; the others have their runs.
        """
        trigger = self.workflow.trigger
        run_type = context["dag_run"].run_type
        if trigger is None or str(getattr(run_type, "value", run_type)) != "asset_triggered":
            return
        events = self._events(context, trigger)
        started, failures = 0, []
        for event in events:
            try:
                met = meets_trigger(trigger, event)
            except ExpressionError as error:
                failures.append(f"event {event['id']}: {error}")
                continue
            if met:
                self._start(event, context["dag_run"].dag_id)
                started += 1
            else:
                self.log.info("Event %s is not one that the workflow waits for", event["id"])
        if failures:
            raise AirflowFailException(f"the filter cannot be evaluated: {'; '.join(failures)}")
        wanted = f"type {trigger.type or '*'}" + ("" if trigger.filter is None else f" and {trigger.filter}")
        reason = f"{started} of {len(events)} events have runs of their own; the workflow waits for {wanted}"
        self.log.info("All steps of this run are skipped: %s", reason)
        context["ti"].xcom_push(SKIPPED_XCOM, reason)
        raise DownstreamTasksSkipped(tasks=self._others())  # type: ignore[no-untyped-call]

    def _events(self, context: Context, trigger: Trigger) -> list[dict[str, Any]]:
        first = min(event.timestamp for events in context["triggering_asset_events"].values() for event in events)
        since = [event for event in context["inlet_events"][0].after(first.isoformat()) if event.timestamp >= first]
        return events_in([(event.timestamp.isoformat(), event.extra or {}) for event in since], trigger.source)

    def _others(self) -> list[str]:
        dag = self.get_dag()
        assert dag is not None
        return [task.task_id for task in dag.tasks if task.task_id != self.task_id and not task.is_teardown]

    def _start(self, event: Mapping[str, Any], dag_id: str) -> None:
        # What Airflow's own operator for this does; that one starts a single run, and ends with it.
        from airflow.sdk.execution_time import task_runner
        from airflow.sdk.execution_time.comms import ErrorResponse, TriggerDagRun

        run_id = event_run_id(event)
        try:
            answer = task_runner.SUPERVISOR_COMMS.send(
                TriggerDagRun(dag_id=dag_id, run_id=run_id, conf={"event": dict(event)})
            )
        except AirflowRuntimeError as error:
            answer = error.error
        if isinstance(answer, ErrorResponse):
            if answer.error != ErrorType.DAGRUN_ALREADY_EXISTS:
                raise AirflowRuntimeError(answer)
            self.log.info("The run %s was started before", run_id)
        else:
            self.log.info("Started the run %s", run_id)
