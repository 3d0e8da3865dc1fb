"""A plain HTTP call to somebody else's URL, with the same error classes as a call of a provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from airflow_llm_provider.clients.http import secrets_in, send
from airflow_llm_provider.errors import InvalidRequest

__all__ = ["WebAnswer", "call_url"]

TIMEOUT = httpx.Timeout(60.0, connect=10.0)
"""Seconds; a step's own limit may end the call earlier."""


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """What a URL answered.

    Attributes:
        status: HTTP status code, below 300.
        body: The body, parsed when it is JSON, else as text.
        headers: The answer's headers, names in lower case.
    """

    status: int
    body: Any
    headers: Mapping[str, str]


async def call_url(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, Any] | None = None,
    json: Any = None,
) -> WebAnswer:
    """Call a URL once.

    Args:
        method: HTTP method.
        url: Where to. It never appears in an error, for some hold a secret.
        headers: Request headers.
        params: Query parameters, added to those of the URL.
        json: JSON body; none when None.

    Raises:
        StepError: The class that fits the failure; a status of 300 and above is one, redirects of a GET aside.
    """
    async with httpx.AsyncClient(timeout=TIMEOUT) as client:
        try:
            address = httpx.URL(url)
            address = address.copy_merge_params(params) if params else address
            request = client.build_request(method, address, headers=dict(headers or {}), json=json)
        except (httpx.InvalidURL, UnicodeEncodeError) as error:
            raise InvalidRequest(
                f"the URL or a header of the request cannot be used ({type(error).__name__})"
            ) from None
        given = (*(headers or {}).values(), *address.params.values(), address.password, *address.path.split("/"))
        answer = await send(client, request, secrets=tuple(secrets_in(given)))
    try:
        body = answer.json()
    except ValueError:
        body = answer.text
    return WebAnswer(answer.status_code, body, dict(answer.headers))
