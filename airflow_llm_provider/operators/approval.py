"""``orchestrator:approval`` in Airflow: the task waits under *Required Actions*, and holds no worker while it does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from airflow_llm_provider.engine.approval import Answer, Question
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.engine.step import is_wanted, render_inputs
from airflow_llm_provider.errors import ApprovalRejected, LLMProviderError
from airflow_llm_provider.executors.approval import ApprovalInputs
from airflow_llm_provider.operators.step import WorkflowStepOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["ApprovalStepOperator"]

APPROVE, REJECT = "Approve", "Reject"


class ApprovalStepOperator(WorkflowStepOperator):
    """Asks a person by Airflow's own human-in-the-loop form, then runs the step with the answer."""

    ui_color = "#fbe9c6"
    _event: Mapping[str, Any] | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask; the task is resumed with the answer in :meth:`execute_complete`."""
        self._check_may_start(context)
        question = self._question(context)
        if question is None:
            # It is not wanted, or cannot be asked; running the step says which.
            return super().execute(context)
        from airflow.providers.standard.operators.hitl import HITLOperator

        asking = HITLOperator(
            task_id=self.task_id,
            subject=question.message,
            body=question.details,
            options=[APPROVE, REJECT],
            defaults=None if question.default is None else APPROVE if question.default else REJECT,
            params={"comment": Param("", type="string", description="What else is to be said.")},
            assigned_users=[{"id": name, "name": name} for name in question.approvers] or None,
            response_timeout=None if question.timeout is None else timedelta(seconds=question.timeout),
        )
        asking.execute(context)
        raise AssertionError("Airflow's operator waits by raising")  # pragma: no cover

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Run the step with the answer.

        Args:
            context: Airflow's context.
            event: What Airflow says of the answer.
        """
        self._event = event
        return super().execute(context)

    def runtime(self, context: Context | None = None) -> Runtime:
        """Give the runtime of the task, which knows the answer."""
        runtime = super().runtime(context)
        runtime.ask = self._answered
        return runtime

    async def _answered(self, question: Question) -> Answer:
        event = self._event or {}
        if "error" in event:
            raise ApprovalRejected(f"nobody answered {question.message!r} in time")
        user = event.get("responded_by_user") or {}
        at = event.get("responded_at")
        return Answer(
            approved=APPROVE in (event.get("chosen_options") or ()),
            by=user.get("name") or user.get("id"),
            at=at.isoformat() if isinstance(at, datetime) else at,
            comment=str((event.get("params_input") or {}).get("comment") or ""),
        )

    def _question(self, context: Context) -> Question | None:
        try:
            scope = self.scope(context, self.runtime())
            if not is_wanted(self.step, scope):
                return None
            return ApprovalInputs.model_validate(render_inputs(self.step, scope.masked())).question(self.step.id)
        except (LLMProviderError, ValueError):
            return None
