"""Answers that are none: errors in a provider's words, broken bodies, and connections that end too early."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from airflow_llm_provider.clients.faults import WireFault
from airflow_llm_provider.simulator.wire import EVENTS, Dialect

__all__ = [
    "JSON",
    "Dropped",
    "WithConnection",
    "broken",
    "failed",
    "has_left",
    "refused",
    "request_id_header",
]

JSON = "application/json"

_CONNECTION = "simulator.connection"


def request_id_header(dialect: Dialect) -> str:
    """Give the name of the header in which a provider numbers its answers."""
    return "x-request-id" if dialect.name == "openai" else "request-id"


def failed(
    dialect: Dialect,
    status: int,
    content: Any,
    retry_after: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with an error.

    Args:
        dialect: In whose words.
        status: Status code.
        content: JSON body.
        retry_after: Seconds to ask the caller to wait.
        headers: Further headers.
    """
    # Anthropic's errors repeat the header's number in the body.
    number = content.get("request_id") if isinstance(content, dict) else None
    all_headers = {
        **dialect.limit_headers(),
        request_id_header(dialect): str(number or f"req_{uuid.uuid4().hex[:24]}"),
        **dialect.error_headers(status),
        **(headers or {}),
    }
    if retry_after is not None:
        all_headers["retry-after"] = f"{retry_after:g}"
    return JSONResponse(content, status_code=status, headers=all_headers)


def refused(dialect: Dialect, status: int, message: str) -> Response:
    """Answer with an error in the provider's own form."""
    return failed(dialect, status, dialect.error(status, message))


async def broken(
    request: Request, fault: WireFault, dialect: Dialect, whole: bytes, media_type: str = JSON
) -> Response | None:
    """Give what a fault makes of an answer.

    Args:
        request: What is answered.
        fault: What goes wrong.
        dialect: In whose words.
        whole: The body that would be sent.
        media_type: What the body is.

    Returns:
        The broken answer; None when the fault only delays it.
    """
    if await has_left(request, fault.delay):
        return Dropped()
    if fault.drop is not None:
        return Dropped(whole if fault.drop == "middle" else None, media_type)
    if fault.malformed:
        cut = '{"id": "broken'
        return Response(
            f"event: message_start\ndata: {cut}\n\n" if media_type == EVENTS else cut, media_type=media_type
        )
    if fault.status is None and fault.body is None:
        return None
    status = fault.status or 500
    content = dialect.error(status, "simulated fault") if fault.body is None else fault.body
    return failed(dialect, status, content, fault.retry_after, fault.headers)


async def has_left(request: Request, seconds: float) -> bool:
    """Wait, but no longer than the caller does; tell whether the caller has gone."""
    if seconds:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_leaving(request), seconds)
            return True
    return False


async def _leaving(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Dropped(Response):
    """Closes the connection: without a byte, or after half of a content."""

    def __init__(self, content: bytes | None = None, media_type: str = JSON) -> None:
        super().__init__(content, media_type=media_type)
        self._whole = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what there is, and close."""
        if self._whole is not None:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            half = self._whole[: len(self._whole) // 2]
            await send({"type": "http.response.body", "body": half, "more_body": True})
        scope[_CONNECTION].close()
        # uvicorn hears of the closed connection in the loop's next round, and then does not miss the rest.
        await asyncio.sleep(0)


class WithConnection:
    """Lets the application reach the connection, which ASGI itself has no word for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put the connection into the scope."""
        cycle = getattr(send, "__self__", None)
        await self._app({**scope, _CONNECTION: getattr(cycle, "transport", None)}, receive, send)
