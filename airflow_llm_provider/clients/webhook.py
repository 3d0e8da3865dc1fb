"""A plain HTTP call to somebody else's URL, with the same error classes as a call of a provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from airflow_llm_provider.clients.http import send
from airflow_llm_provider.errors import InvalidRequest

__all__ = ["call_webhook"]


async def call_webhook(method: str, url: str, *, headers: Mapping[str, str], json: Any) -> tuple[int, Any]:
    """Call a URL once.

    Args:
        method: HTTP method.
        url: Where to.
        headers: Request headers.
        json: JSON body; none when None.

    Returns:
        The status code and the answer's body, parsed when it is JSON.

    Raises:
        StepError: The class that fits the failure; a status of 400 and above is one.
    """
    async with httpx.AsyncClient(timeout=None) as client:
        try:
            request = client.build_request(method, url, headers=dict(headers), json=json)
        except (httpx.InvalidURL, UnicodeEncodeError) as error:
            raise InvalidRequest(f"{url[:200]!r} cannot be called: {type(error).__name__}") from None
        answer = await send(client, request)
    try:
        return answer.status_code, answer.json()
    except ValueError:
        return answer.status_code, answer.text
