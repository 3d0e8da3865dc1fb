"""What can go wrong between a model and its caller, as data: the wire simulator does it, the scripted provider raises its error."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from airflow_llm_provider.clients.failures import failure
from airflow_llm_provider.errors import ConnectionError, StepError

__all__ = ["WireFault"]

_WHEN = {"before": "before the answer", "middle": "in the middle of the answer"}


class WireFault(BaseModel):
    """One thing that goes wrong.

    Attributes:
        status: Answer with this status and the provider's error body.
        retry_after: Seconds, in the header ``Retry-After``.
        headers: Further headers beside the status.
        body: Answer with this body instead of the provider's own.
        delay: Seconds to wait before anything else happens.
        drop: Close the connection ``before`` the answer, or in its ``middle``.
        malformed: Answer 200 with a body that is not JSON.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: int | None = Field(default=None, ge=400, le=599)
    retry_after: float | None = Field(default=None, ge=0)
    headers: dict[str, str] = Field(default_factory=dict)
    body: Any = None
    delay: float = Field(default=0.0, ge=0)
    drop: Literal["before", "middle"] | None = None
    malformed: bool = False

    def error(self, who: str) -> StepError | None:
        """Give the error that a client makes of the fault.

        Args:
            who: Whose answer it is, for the message.

        Returns:
            The error; None when the fault only delays the answer.
        """
        if self.drop is not None:
            return ConnectionError(f"{who} closed the connection {_WHEN[self.drop]}")
        if self.malformed:
            return ConnectionError(f"{who}: the answer is no JSON object")
        if self.status is None and self.body is None:
            return None
        wait = {} if self.retry_after is None else {"retry-after": f"{self.retry_after:g}"}
        body = {"error": {"message": "simulated fault"}} if self.body is None else self.body
        named = {name.lower(): value for name, value in self.headers.items()}
        return failure(who, self.status or 500, body, headers={**named, **wait})
