"""What a doctor finds: one look at one thing, and what to do about an error of whatever library was asked."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "Look", "look"]

Verdict = Literal["ok", "warning", "error"]

_ADVICE = (
    (
        r"gaierror|not known|name resolution|resolve host|no address associated",
        "no machine has that name: correct it in {key}, or let this machine's DNS know it",
    ),
    (
        r"password authentication|wrongpass|noauth|invalid username-password|invalid password|access_refused"
        r"|invalidaccesskeyid|signaturedoesnotmatch|authenticationerror",
        "the password or the key is wrong: correct it in {key}",
    ),
    (r"nosuchbucket|bucket does not exist", "there is no such bucket: make it, or name another in {key}"),
    (r"database .* does not exist", "there is no such database: make it with CREATE DATABASE, or correct {key}"),
    (
        r"certificate.*verify failed|certificate_verify_failed",
        "the certificate is not trusted here: let this machine trust who has signed it, or correct the name in {key}",
    ),
    (r"refused", "nothing listens there: start it, or correct host and port in {key}"),
    (r"timed out|timeout", "nothing answers: look at firewalls between, or correct host and port in {key}"),
    (r"denied|forbidden", "that is not allowed: give whom {key} names the right to do it"),
)
"""What an error says to what is to be done, the more telling first."""


@dataclass(frozen=True)
class Finding:
    """What one look has found.

    Attributes:
        what: What was looked at.
        verdict: Whether it is as it should be.
        message: How it is.
        fix: What to do; empty when nothing is to be done.
    """

    what: str
    verdict: Verdict
    message: str
    fix: str = ""


Look = tuple[str, str, Callable[[], Iterable[Finding]]]
"""What is looked at, the key of ``orchestrator.yaml`` that leads there, and the looking."""


def look(what: str, key: str, ask: Callable[[], Iterable[Finding]], secrets: Collection[str] = ()) -> Iterator[Finding]:
    """Look at one thing; whatever is raised is a finding too.

    Args:
        what: What is looked at.
        key: The key of ``orchestrator.yaml`` that leads there.
        ask: Looks.
        secrets: What no text may hold.
    """
    from airflow_llm_provider.clients.failures import redact

    try:
        yield from ask()
    except Exception as error:
        # Its text may hold an address with a password.
        text = redact(" ".join(str(error).split()), secrets)[:300]
        yield Finding(what, "error", f"{type(error).__name__}: {text}", _advice(error, key))


def _advice(error: Exception, key: str) -> str:
    said = " ".join(_chain(error)).lower()
    for pattern, advice in _ADVICE:
        if re.search(pattern, said):
            return advice.format(key=key)
    return f"see to what the message names; it is about {key}"


def _chain(error: BaseException | None) -> Iterator[str]:
    """Give the names and texts of an error and of what it came from."""
    while error is not None:
        yield "gaierror" if isinstance(error, socket.gaierror) else type(error).__name__
        yield str(error)
        error = error.__cause__ or error.__context__
