"""One mail through an SMTP server, with the error classes of a provider's call."""

from __future__ import annotations

import asyncio
import base64
import builtins
import hashlib
import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate

from airflow_llm_provider.clients.failures import redact
from airflow_llm_provider.config.targets import Smtp
from airflow_llm_provider.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionError,
    InvalidRequest,
    ServiceUnavailable,
    StepError,
    TimeoutError,
)

__all__ = ["Mail", "send_mail"]


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail.

    Attributes:
        to: Who gets it.
        subject: Its subject; put on one line.
        body: Its text.
        id: The same for every try of the same mail; becomes its Message-ID, by which a mail program tells doubles.
    """

    to: Sequence[str]
    subject: str
    body: str
    id: str


async def send_mail(smtp: Smtp, mail: Mail) -> list[str]:
    """Send a mail once.

    Args:
        smtp: The server.
        mail: The mail.

    Returns:
        The addresses that the server refused while it took others.

    Raises:
        ConfigurationError: There is no server, or it cannot encrypt although it is told to.
        StepError: The class that fits the failure.
    """
    try:
        message = _message(smtp, mail)
    except ValueError as error:
        raise InvalidRequest(f"the mail cannot be written: {error}") from None
    return await asyncio.to_thread(_send, smtp, message)


def _message(smtp: Smtp, mail: Mail) -> EmailMessage:
    message = EmailMessage()
    # A line end would begin another header.
    message["Subject"] = " ".join(mail.subject.split())
    message["From"] = smtp.sender or smtp.user or ""
    message["To"] = ", ".join(mail.to)
    message["Date"] = formatdate()
    message["Message-ID"] = f"<{hashlib.sha256(mail.id.encode()).hexdigest()[:32]}@airflow-llm-provider>"
    message.set_content(mail.body.encode(errors="replace").decode())
    return message


def _send(smtp: Smtp, message: EmailMessage) -> list[str]:
    if smtp.host is None:
        raise ConfigurationError("there is no mail server; set smtp.host in orchestrator.yaml")
    password = smtp.password.get_secret_value() if smtp.password else ""
    port = smtp.port_or_default
    where = f"{smtp.host}:{port}"
    # A server may repeat what it was sent, in the form that it was sent in.
    login = f"\0{smtp.user}\0{password}".encode()
    secrets = [password, *(base64.b64encode(text).decode() for text in (login, password.encode()))] if password else []
    try:
        connection = (
            smtplib.SMTP_SSL(smtp.host, port, timeout=smtp.timeout, context=ssl.create_default_context())
            if smtp.tls
            else smtplib.SMTP(smtp.host, port, timeout=smtp.timeout)
        )
        with connection:
            if smtp.starttls and not smtp.tls:
                connection.starttls(context=ssl.create_default_context())
            if smtp.user:
                connection.login(smtp.user, password)
            return sorted(connection.send_message(message))
    except (smtplib.SMTPException, OSError) as error:
        raise _error(where, error, secrets) from None


def _error(
    where: str, error: smtplib.SMTPException | OSError, secrets: Sequence[str]
) -> StepError | ConfigurationError:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, said = max(error.recipients.values())
        who = ", ".join(sorted(error.recipients))
        return _refused(code)(f"{where} refused {who}: {code} {_said(said, secrets)}")
    if isinstance(error, smtplib.SMTPAuthenticationError):
        kind = AuthenticationError if error.smtp_code >= 500 else ServiceUnavailable
        return kind(f"{where} refused the login: {error.smtp_code} {_said(error.smtp_error, secrets)}")
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return ConnectionError(f"{where} closed the connection")
    if isinstance(error, smtplib.SMTPResponseException):
        return _refused(error.smtp_code)(f"{where} refused: {error.smtp_code} {_said(error.smtp_error, secrets)}")
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return ConfigurationError(f"{where} cannot do what smtp in orchestrator.yaml asks for: {error}")
    if isinstance(error, builtins.TimeoutError):
        return TimeoutError(f"no answer from {where} in time")
    return ConnectionError(f"the connection to {where} failed ({type(error).__name__}: {redact(str(error), secrets)})")


def _refused(code: int) -> type[InvalidRequest | ServiceUnavailable]:
    return InvalidRequest if code >= 500 else ServiceUnavailable


def _said(text: bytes | str, secrets: Sequence[str]) -> str:
    told = text.decode(errors="replace") if isinstance(text, bytes) else text
    return redact(" ".join(told.split()), secrets)[:500]
