"""``action``: tell the outside world.

``log`` writes to the task's log and ``webhook`` calls a URL. Every other name is a request to a system that this deployment has
no target for, and is kept in the outbox, so that it is neither lost nor silently ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator
from typing_extensions import Self

from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.engine.masking import hide
from airflow_llm_provider.json_lines import append_lines
from airflow_llm_provider.workflow.values import to_text

__all__ = ["Action", "ActionInputs", "append_to_outbox"]


class ActionInputs(Inputs):
    """What to do; further keys are the action's own data.

    Attributes:
        action: ``log``, ``webhook``, or the name of anything else that should happen.
        message: What to say, for ``log``.
        url: Where to, for ``webhook``.
        method: HTTP method, for ``webhook``.
        headers: Request headers, for ``webhook``.
        body: JSON body, for ``webhook``; the step's further keys when absent.
    """

    model_config = ConfigDict(extra="allow")

    action: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_.-]+$")
    message: Any = None
    url: str | None = None
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    headers: dict[str, str] = Field(default_factory=dict)
    body: Any = None

    @property
    def data(self) -> dict[str, Any]:
        """The action's own data: all that the file gives besides the action's name."""
        return self.model_dump(exclude_unset=True, exclude={"action"})

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.action == "webhook" and not self.url:
            raise ValueError("action 'webhook' needs 'url'")
        if self.action == "log" and self.message is None:
            raise ValueError("action 'log' needs 'message'")
        return self


class Action(Executor[ActionInputs]):
    """One action."""

    outputs: ClassVar[tuple[str, ...]] = ("result",)
    Inputs = ActionInputs

    async def run(self, inputs: ActionInputs, context: StepContext) -> Mapping[str, Any]:
        """Do it, and say what was done."""
        if inputs.action == "log":
            message = to_text(inputs.message)
            context.runtime.observer.step_logged(context.step, message)
            return {"result": {"action": "log", "message": message}}
        if inputs.action == "webhook":
            from airflow_llm_provider.clients.web import call_url

            body = inputs.body if inputs.body is not None else (inputs.model_extra or None)
            answer = await call_url(inputs.method, inputs.url or "", headers=inputs.headers, json=body)
            return {"result": {"action": "webhook", "status": answer.status, "body": answer.body}}
        entry = {
            "action": inputs.action,
            "time": datetime.now(timezone.utc).isoformat(),
            "workflow": context.workflow,
            "run_id": context.run_id,
            "step": context.step.id,
            "data": hide(inputs.data, context.secrets),
        }
        path = append_to_outbox(context.runtime.settings.outbox, inputs.action, entry)
        return {"result": {"action": inputs.action, "outbox": str(path)}}


def append_to_outbox(folder: Path, action: str, entry: Mapping[str, Any]) -> Path:
    """Add a line to an action's outbox.

    Args:
        folder: The outbox folder; made when it does not exist.
        action: The action's name, which names the file.
        entry: What to keep.

    Returns:
        The file.
    """
    path = folder / f"{action}.jsonl"
    append_lines(path, [entry])
    return path
