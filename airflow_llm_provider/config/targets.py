"""The part of ``orchestrator.yaml`` that says whom to tell and where things are stored.

These are its sections ``actions``, ``alerts``, ``slack``, ``smtp`` and ``storage``. Whatever holds a secret is a ``SecretStr``,
webhook URLs included, so that no message or ``repr`` shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import getaddresses
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    SecretStr,
    Tag,
    WithJsonSchema,
    model_validator,
)
from typing_extensions import Self

from airflow_llm_provider.config.secrets import Hidden
from airflow_llm_provider.config.section import Duration, Place, Section, Size, WebAddress
from airflow_llm_provider.workflow.templates import is_template

__all__ = [
    "BUILT_IN_ACTIONS",
    "ActionTarget",
    "Addresses",
    "Alerts",
    "AwsAccess",
    "Channel",
    "EmailTarget",
    "QueueTarget",
    "Slack",
    "SlackTarget",
    "Smtp",
    "Storage",
    "WebhookTarget",
]

BUILT_IN_ACTIONS = frozenset({"log", "notify", "webhook"})
"""Actions whose meaning no settings file changes."""

Channel = Literal["slack", "email", "webhook"]
"""How people are told."""


def _listed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    # The commas of an expression separate nothing.
    return [value] if is_template(value) else [part.strip() for part in value.split(",") if part.strip()]


def _is_address(value: str) -> bool:
    found = getaddresses([value])
    name, _, domain = found[0][1].partition("@") if len(found) == 1 else ("", "", "")
    return bool(name and domain) and "@" not in domain and value.isprintable()


def _address(value: str) -> str:
    if not _is_address(value):
        raise ValueError("this is no mail address; write name@example.com or Name <name@example.com>")
    return value


def _addresses(values: tuple[str, ...]) -> tuple[str, ...]:
    for number, value in enumerate(values, start=1):
        # What a template will give is looked at once it has given it.
        if not _is_address(value) and not is_template(value):
            raise ValueError(f"address {number} is none; write name@example.com or Name <name@example.com>")
    return values


Address = Annotated[str, AfterValidator(_address)]
Addresses = Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_addresses)]
"""Mail addresses: a list, or one text with commas between them."""

_Recipients = Annotated[
    Addresses, WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]})
]


class Slack(Section):
    """Slack's incoming webhook.

    Attributes:
        webhook_url: Where messages go that name no other; a secret, for whoever has it can post.
    """

    webhook_url: SecretStr | None = None


class Smtp(Section):
    """The mail server.

    Attributes:
        host: Name of the mail server; without one no mail is sent.
        port: Port of the mail server; by default 465 with ``tls``, 587 with ``starttls``, else 25.
        user: Who signs in at the mail server; by default nobody.
        password: The password of the user who signs in; a secret.
        starttls: Whether the connection to the mail server is encrypted once it stands; a server that cannot is an error.
        tls: Whether the connection is encrypted from its beginning instead.
        sender: ``from``: who the mails are from; the user when absent.
        timeout: Seconds that the mail server may be silent.
    """

    host: str | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    user: str | None = None
    password: SecretStr | None = None
    starttls: bool = True
    tls: bool = False
    sender: Address | None = Field(default=None, alias="from")
    timeout: Duration = 30.0

    @property
    def port_or_default(self) -> int:
        """The port, also where the file names none."""
        return self.port or (465 if self.tls else 587 if self.starttls else 25)

    @model_validator(mode="after")
    def _has_a_sender(self) -> Self:
        if self.host and not self.sender and "@" not in (self.user or ""):
            raise ValueError("'from' is missing; write the address that mails are sent from")
        return self


class Alerts(Section):
    """Where ``notification:alert`` and the action ``notify`` go.

    Attributes:
        channel: The channel of alerts that name none; by default the first of slack, email and webhook that has a target.
        to: _Recipients of the people who get alerts by mail.
        webhook_url: Address that is called with alerts; a secret.
        headers: Request headers of the alerts' webhook; secrets.
    """

    channel: Channel | None = None
    to: _Recipients = ()
    webhook_url: SecretStr | None = None
    headers: Mapping[str, SecretStr] = Field(default_factory=dict)


class WebhookTarget(Section):
    """An action that calls a URL.

    Attributes:
        type: What the action does: it calls a URL (``webhook``), posts to Slack (``slack``), sends a mail (``email``), or is put
            into a queue (``queue``).
        url: Address that the action calls; a secret.
        method: HTTP method of the call.
        headers: Request headers of the call; secrets.
    """

    type: Literal["webhook"]
    url: SecretStr | None
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    headers: Mapping[str, SecretStr] = Field(default_factory=dict)


class SlackTarget(Section):
    """An action that posts to Slack.

    Attributes:
        type: ``slack``.
        webhook_url: Address that the action posts to; a secret. That of the section ``slack`` when absent.
        channel: The channel, where the webhook may choose one.
    """

    type: Literal["slack"]
    webhook_url: SecretStr | None = None
    channel: str | None = None


class EmailTarget(Section):
    """An action that sends a mail.

    Attributes:
        type: ``email``.
        to: _Recipients of the people who get the mail.
        subject: Subject of the mail; the action's and the workflow's name when absent.
    """

    type: Literal["email"]
    to: _Recipients
    subject: str | None = None


class QueueTarget(Section):
    """An action that is put into a queue, one JSON text each.

    Attributes:
        type: ``queue``.
        redis_url: The Redis server that has the queue; a secret. By default the action goes to the outbox.
        stream: The stream to add to, each entry with one field ``entry``.
        list: The list to append to; when neither is given, the list is named as the action.
    """

    type: Literal["queue"]
    redis_url: SecretStr | None = None
    stream: str | None = None
    list: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.stream and self.list:
            raise ValueError("give 'stream' or 'list', not both")
        return self


def _kind(value: Any) -> str | None:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return None if kind is None else f"type[{kind}]"


ActionTarget = Annotated[
    Annotated[WebhookTarget, Tag("type[webhook]")]
    | Annotated[SlackTarget, Tag("type[slack]")]
    | Annotated[EmailTarget, Tag("type[email]")]
    | Annotated[QueueTarget, Tag("type[queue]")],
    # The brackets tell a member's name in an error's place from a key.
    Discriminator(_kind),
]
"""What an action that the settings name does."""


_AS_STARS = PlainSerializer(
    lambda value: str(SecretStr("x")) if value else {}, return_type=str | dict[str, str], when_used="json"
)


class AwsAccess(Section):
    """How to reach ``s3://``; boto3's own rules (variables, profiles, roles) hold for whatever is absent.

    Attributes:
        endpoint_url: Address of the storage, for stores that speak S3's.
        region: The region of the storage.
        access_key_id: Id of the key by which the storage is reached; a secret.
        secret_access_key: The key by which the storage is reached; a secret.
        session_token: The token that goes with a temporary key; a secret.
        profile: A profile of boto3's configuration files.
    """

    endpoint_url: WebAddress | None = None
    region: str | None = None
    access_key_id: SecretStr | None = None
    secret_access_key: SecretStr | None = None
    session_token: SecretStr | None = None
    profile: str | None = None

    @model_validator(mode="after")
    def _whole_key(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("give 'access_key_id' and 'secret_access_key' together, or neither")
        return self


class Storage(Section):
    """How object storage is reached.

    Attributes:
        s3: For ``s3://``.
        options: Scheme to the options that fsspec's file system of that scheme takes; they may hold secrets.
        results: Where large outputs of steps are kept, such as ``s3://bucket/results``; by default in the metadata database.
        results_above: Bytes from which on an output is large.
    """

    s3: AwsAccess = AwsAccess()
    options: Annotated[Mapping[str, Mapping[str, Any]], Hidden(), _AS_STARS] = Field(default_factory=dict, repr=False)
    results: Place | None = None
    results_above: Size = 65536
