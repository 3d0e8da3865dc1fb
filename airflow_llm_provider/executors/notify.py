"""``notification:slack``, ``notification:email``, ``notification:alert``: tell people.

What has no target in the settings is kept in the outbox, and the result says which of both happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, ClassVar, Literal

from pydantic import Field, SecretStr, model_validator
from typing_extensions import Self

from airflow_llm_provider.config.targets import Addresses, Channel
from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.executors.delivery import escaped_for_slack, to_email, to_slack, to_webhook
from airflow_llm_provider.executors.llm import OptionalText, Text
from airflow_llm_provider.executors.outbox import keep

__all__ = [
    "Alert",
    "AlertInputs",
    "EmailInputs",
    "EmailNotification",
    "NotifyInputs",
    "SlackInputs",
    "SlackNotification",
    "notify",
]

Severity = Literal["low", "medium", "high", "critical"]
"""How bad it is."""

_LONGEST_TITLE = 100
"""Characters of a message that become a mail's subject."""


class SlackInputs(Inputs):
    """What to post.

    Attributes:
        webhook_url: Slack's incoming webhook; that of the settings when absent.
        text: The message, in Slack's markup.
        message: The same as ``text``.
        channel: The channel, where the webhook may choose one.
        blocks: Slack's blocks.
    """

    webhook_url: SecretStr | None = None
    text: OptionalText = None
    message: OptionalText = None
    channel: str | None = None
    blocks: list[dict[str, Any]] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.text is not None and self.message is not None:
            raise ValueError("give 'text' or 'message', not both")
        if self.text is None and self.message is None and self.blocks is None:
            raise ValueError("give 'text' or 'blocks'")
        return self


class SlackNotification(Executor[SlackInputs]):
    """One message in Slack."""

    outputs: ClassVar[tuple[str, ...]] = ("result",)
    Inputs = SlackInputs

    def reaches_out(self, inputs: SlackInputs) -> bool:
        """Say that posting to an address of its own does."""
        return inputs.webhook_url is not None

    async def run(self, inputs: SlackInputs, context: StepContext) -> Mapping[str, Any]:
        """Post it; the result is ``{channel, delivered}``, and the outbox's file when there is no target."""
        text = inputs.message if inputs.text is None else inputs.text
        sent = await to_slack(
            context, text, webhook_url=inputs.webhook_url, channel=inputs.channel, blocks=inputs.blocks
        )
        kept = sent or {"channel": "slack", **keep(context, "slack", _data(inputs))}
        return {"result": kept}


class EmailInputs(Inputs):
    """What to send to whom.

    Attributes:
        to: Who gets it.
        subject: Its subject; the workflow's name when absent.
        body: Its text.
        message: The same as ``body``.
    """

    to: Addresses = Field(min_length=1)
    subject: OptionalText = None
    body: OptionalText = None
    message: OptionalText = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if (self.body is None) == (self.message is None):
            raise ValueError("give exactly one of 'body' and 'message'")
        return self


class EmailNotification(Executor[EmailInputs]):
    """One mail."""

    outputs: ClassVar[tuple[str, ...]] = ("result",)
    Inputs = EmailInputs

    async def run(self, inputs: EmailInputs, context: StepContext) -> Mapping[str, Any]:
        """Send it; the result is ``{channel, delivered, to}``, and the outbox's file when there is no mail server."""
        body = (inputs.message if inputs.body is None else inputs.body) or ""
        sent = await to_email(context, inputs.to, inputs.subject or context.workflow, body)
        kept = sent or {"channel": "email", **keep(context, "email", _data(inputs))}
        return {"result": kept}


class _NoticeInputs(Inputs):
    """What alerts and the action ``notify`` take.

    Attributes:
        message: What to tell, as plain text.
        severity: How bad it is.
        channel: By which channel; that of ``alerts`` in the settings when absent.
        to: Who gets it by mail; those of ``alerts`` when absent.
        subject: A mail's subject; from workflow and message when absent.
    """

    message: OptionalText = None
    severity: Severity | None = None
    channel: Channel | None = None
    to: Addresses = ()
    subject: OptionalText = None


class NotifyInputs(_NoticeInputs):
    """Of the action ``notify``, which needs a message."""

    message: Text


class AlertInputs(_NoticeInputs):
    """Of an alert, which has a severity, and tells how the run ended when it has no message."""

    severity: Severity = "medium"


class Alert(Executor[AlertInputs]):
    """One alert, sent where the settings say."""

    outputs: ClassVar[tuple[str, ...]] = ("result",)
    Inputs = AlertInputs

    async def run(self, inputs: AlertInputs, context: StepContext) -> Mapping[str, Any]:
        """Send it; the result is ``{channel, delivered, …}``, and the outbox's file when there is no target."""
        return {"result": await notify("alert", inputs, context)}


async def notify(action: str, inputs: _NoticeInputs, context: StepContext) -> dict[str, Any]:
    """Tell people by the channel that a step names, else by the settings' own, else by the first that has a target.

    Args:
        action: Names the outbox's file where nothing has a target.
        inputs: What to tell.
        context: The step.

    Raises:
        LLMProviderError: The channel has a target, which did not take it.
    """
    chosen = inputs.channel or context.runtime.settings.alerts.channel
    channels: tuple[Channel, ...] = (chosen,) if chosen else ("slack", "email", "webhook")
    for channel in channels:
        sent = await _tell(channel, inputs, context)
        if sent is not None:
            return sent
    data = {"message": _what_happened(context), **_data(inputs)}
    return {"channel": chosen or "outbox", **keep(context, action, data)}


async def _tell(channel: Channel, inputs: _NoticeInputs, context: StepContext) -> dict[str, Any] | None:
    alerts = context.runtime.settings.alerts
    mark = f"[{inputs.severity.upper()}] " if inputs.severity else ""
    message = _what_happened(context) if inputs.message is None else inputs.message
    where = f"workflow {context.workflow}, run {context.run_id}, step {context.step.id}"
    if channel == "slack":
        return await to_slack(context, escaped_for_slack(f"{mark}{message}\n{where}"))
    if channel == "email":
        title = " ".join(message.split())[:_LONGEST_TITLE]
        subject = inputs.subject or f"{mark}{context.workflow}: {title}"
        return await to_email(context, inputs.to or alerts.to, subject, f"{message}\n\n{where}\n")
    payload = {
        "severity": inputs.severity,
        "message": message,
        "workflow": context.workflow,
        "run_id": context.run_id,
        "step": context.step.id,
        "time": datetime.now(timezone.utc).isoformat(),
    }
    given = {name: value for name, value in payload.items() if value is not None}
    return await to_webhook(alerts.webhook_url, alerts.headers, given)


def _what_happened(context: StepContext) -> str:
    """Tell how the run ended, which is known once it has; an alert within a run stands for itself."""
    facts = context.scope.workflow
    status, error = facts.get("status"), facts.get("error")
    if status is None:
        return f"step {context.step.id} of workflow {context.workflow} raised an alert"
    why = f": {error['message']}" if error else ""
    return f"the run of workflow {context.workflow} ended as {status}{why}"


def _data(inputs: Inputs) -> dict[str, Any]:
    """What the outbox keeps of a step's inputs: all that is given, except where it should have gone, which is a secret."""
    return inputs.model_dump(mode="json", exclude_unset=True, exclude={"webhook_url"})
