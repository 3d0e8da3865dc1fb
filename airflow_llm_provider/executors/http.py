"""``http:request``: call any HTTP service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext

__all__ = ["HttpRequest", "HttpRequestInputs"]


class HttpRequestInputs(Inputs):
    """What to send where.

    Attributes:
        url: Where to.
        method: HTTP method.
        headers: Request headers.
        params: Query parameters, added to those of the URL.
        body: JSON body.
    """

    url: str = Field(min_length=1)
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    headers: dict[str, str] = Field(default_factory=dict)
    params: dict[str, str | int | float | bool] = Field(default_factory=dict)
    body: Any = None


class HttpRequest(Executor[HttpRequestInputs]):
    """One HTTP call; a status of 400 and above fails the step, with the error classes of a provider's call."""

    outputs: ClassVar[tuple[str, ...]] = ("body", "status", "headers")
    Inputs = HttpRequestInputs

    def reaches_out(self, inputs: HttpRequestInputs) -> bool:
        """Say that it always does, reading included."""
        return True

    async def run(self, inputs: HttpRequestInputs, context: StepContext) -> Mapping[str, Any]:
        """Call; the body is parsed when it is JSON."""
        from airflow_llm_provider.clients.web import call_url

        answer = await call_url(
            inputs.method, inputs.url, headers=inputs.headers, params=inputs.params, json=inputs.body
        )
        return {"body": answer.body, "status": answer.status, "headers": dict(answer.headers)}
