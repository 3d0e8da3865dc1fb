"""The ways out to people and systems: Slack, mail, a webhook, a queue. Steps of several types go through here.

Each way gives what a step's result says of it, or None where no target is configured; the caller then uses the outbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from airflow_llm_provider.engine.executor import StepContext
from airflow_llm_provider.engine.masking import hide
from airflow_llm_provider.executors.outbox import outbox_entry
from airflow_llm_provider.workflow.values import to_json

__all__ = ["escaped_for_slack", "to_email", "to_queue", "to_slack", "to_webhook"]


def escaped_for_slack(text: str) -> str:
    """Write a plain text so that Slack shows it as it is; ``<!channel>`` in a model's answer would call everybody.

    Args:
        text: The text. See https://docs.slack.dev/messaging/formatting-message-text#escaping for the rule.
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


async def to_slack(
    context: StepContext,
    text: str | None,
    *,
    webhook_url: SecretStr | None = None,
    channel: str | None = None,
    blocks: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any] | None:
    """Post to Slack's incoming webhook.

    Args:
        context: The step.
        text: The message in Slack's markup; beside blocks, what notifications show.
        webhook_url: Where to; that of the settings when None.
        channel: The channel, where the webhook may choose one.
        blocks: Slack's blocks.

    Raises:
        StepError: Slack did not take it.
    """
    url = webhook_url or context.runtime.settings.slack.webhook_url
    if url is None or not url.get_secret_value():
        return None
    from airflow_llm_provider.clients.web import call_url

    payload = {"text": text, "channel": channel, "blocks": None if blocks is None else list(blocks)}
    given = {name: value for name, value in payload.items() if value is not None}
    await call_url("POST", url.get_secret_value(), json=given)
    return {"channel": "slack", "delivered": True}


async def to_email(context: StepContext, to: Sequence[str], subject: str, body: str) -> dict[str, Any] | None:
    """Send a mail.

    Args:
        context: The step.
        to: Who gets it.
        subject: Its subject.
        body: Its text.

    Raises:
        ConfigurationError: The mail server is not what the settings say.
        StepError: The server did not take it.
    """
    smtp = context.runtime.settings.smtp
    if smtp.host is None or not to:
        return None
    from airflow_llm_provider.clients.mail import Mail, send_mail

    identity = "\n".join((context.workflow, context.run_id, context.step.id))
    refused = await send_mail(smtp, Mail(to, subject, body, identity))
    told = {"channel": "email", "delivered": True, "to": [address for address in to if address not in refused]}
    return {**told, "refused": refused} if refused else told


async def to_webhook(
    url: SecretStr | None, headers: Mapping[str, SecretStr], body: Any, *, method: str = "POST"
) -> dict[str, Any] | None:
    """Call a URL of the settings.

    Args:
        url: Where to.
        headers: Request headers.
        body: JSON body.
        method: HTTP method.

    Raises:
        StepError: The class that fits the failure.
    """
    if url is None or not url.get_secret_value():
        return None
    from airflow_llm_provider.clients.http import secrets_in
    from airflow_llm_provider.clients.web import call_url

    address = url.get_secret_value()
    plain = {name: value.get_secret_value() for name, value in headers.items()}
    answer = await call_url(method, address, headers=plain, json=body)
    # Whoever was called may repeat what it was called with.
    parts = urlsplit(address)
    in_url = (
        *parts.path.split("/"),
        *(pair.partition("=")[2] for pair in parts.query.split("&")),
        parts.password or "",
    )
    secrets = {*secrets_in((address, *plain.values(), *in_url, *map(unquote, in_url)))}
    return {"channel": "webhook", "delivered": True, "status": answer.status, "body": hide(answer.body, secrets)}


async def to_queue(
    context: StepContext,
    action: str,
    data: Mapping[str, Any],
    *,
    redis_url: SecretStr | None,
    stream: str | None = None,
    queue: str | None = None,
) -> dict[str, Any] | None:
    """Append to a Redis stream or list what the outbox would keep.

    Args:
        context: The step.
        action: What should happen; names the list when neither it nor a stream is given.
        data: What it needs.
        redis_url: The server.
        stream: The stream.
        queue: The list.

    Raises:
        LLMProviderError: The server did not take it.
    """
    if redis_url is None:
        return None
    from airflow_llm_provider.clients.queue import append_to_queue

    name = stream or queue or action
    entry = to_json(outbox_entry(context, action, data))
    await append_to_queue(redis_url.get_secret_value(), entry, stream=stream, queue=queue or action)
    return {"channel": "queue", "delivered": True, "queue": name}
