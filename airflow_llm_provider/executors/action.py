"""``action``: tell the outside world.

``log`` writes to the task's log, ``webhook`` calls a URL, and ``notify`` tells people. What any other name does is said under
``actions`` in the settings; where they say nothing, it is kept in the outbox, so that it is neither lost nor silently ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from airflow_llm_provider.config.targets import ActionTarget, EmailTarget, QueueTarget, SlackTarget, WebhookTarget
from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.engine.masking import hide
from airflow_llm_provider.errors import InvalidRequest
from airflow_llm_provider.executors.delivery import escaped_for_slack, to_email, to_queue, to_slack, to_webhook
from airflow_llm_provider.executors.notify import NotifyInputs, notify
from airflow_llm_provider.executors.outbox import append_to_outbox, keep
from airflow_llm_provider.workflow.templates import is_template, walk_texts
from airflow_llm_provider.workflow.values import to_json, to_text

__all__ = ["Action", "ActionInputs", "append_to_outbox"]


class ActionInputs(Inputs):
    """What to do; further keys are the action's own data.

    Attributes:
        action: ``log``, ``webhook``, ``notify``, or the name of anything else that should happen.
        message: What to say, for ``log`` and ``notify``, and wherever an action becomes a message.
        url: Where to, for ``webhook``.
        method: HTTP method, for ``webhook``.
        headers: Request headers, for ``webhook``.
        body: JSON body, for ``webhook`` and actions that call one; the step's further keys when absent.
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
        if self.action in ("log", "notify") and self.message is None:
            raise ValueError(f"action {self.action!r} needs 'message'")
        if self.action == "notify":
            try:
                # What templates will give is looked at once they have given it.
                _notice(
                    {name: value for name, value in self.data.items() if not _has_template(value)} | {"message": ""}
                )
            except InvalidRequest as error:
                raise ValueError(str(error)) from None
        return self


class Action(Executor[ActionInputs]):
    """One action."""

    outputs: ClassVar[tuple[str, ...]] = ("result",)
    Inputs = ActionInputs

    def reaches_out(self, inputs: ActionInputs) -> bool:
        """Say that calling an address of its own does."""
        return inputs.action == "webhook"

    async def run(self, inputs: ActionInputs, context: StepContext) -> Mapping[str, Any]:
        """Do it, and say what was done."""
        return {"result": {"action": inputs.action, **await self._done(inputs, context)}}

    async def _done(self, inputs: ActionInputs, context: StepContext) -> dict[str, Any]:
        if inputs.action == "log":
            message = to_text(inputs.message)
            context.say(message)
            return {"message": message}
        if inputs.action == "webhook":
            from airflow_llm_provider.clients.web import call_url

            body = inputs.body if inputs.body is not None else (inputs.model_extra or None)
            answer = await call_url(inputs.method, inputs.url or "", headers=inputs.headers, json=body)
            return {"status": answer.status, "body": answer.body}
        if inputs.action == "notify":
            return await notify("notify", _notice(inputs.data), context)
        target = context.runtime.settings.actions.get(inputs.action)
        sent = None if target is None else await _send(target, inputs, context)
        return keep(context, inputs.action, inputs.data) if sent is None else sent


async def _send(target: ActionTarget, inputs: ActionInputs, context: StepContext) -> dict[str, Any] | None:
    data = hide(inputs.data, context.secrets)
    text = to_json(data) if inputs.message is None else to_text(inputs.message)
    match target:
        case WebhookTarget():
            body = inputs.data if inputs.body is None else inputs.body
            return await to_webhook(target.url, target.headers, body, method=target.method)
        case SlackTarget():
            return await to_slack(
                context, escaped_for_slack(text), webhook_url=target.webhook_url, channel=target.channel
            )
        case EmailTarget():
            return await to_email(context, target.to, target.subject or f"{context.workflow}: {inputs.action}", text)
        case QueueTarget():
            return await to_queue(
                context,
                inputs.action,
                data,
                redis_url=target.redis_url,
                stream=target.stream,
                queue=target.list,
            )


def _notice(data: Mapping[str, Any]) -> NotifyInputs:
    try:
        return NotifyInputs.model_validate(data)
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_url=False, include_input=False)
        )
        raise InvalidRequest(f"action 'notify': {told}") from None


def _has_template(value: Any) -> bool:
    return any(is_template(text) for _, text in walk_texts(value))
