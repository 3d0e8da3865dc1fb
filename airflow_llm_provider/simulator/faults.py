"""What goes wrong on request: faults wait in line, and each call takes the first that is meant for it."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from airflow_llm_provider.clients.faults import WireFault
from airflow_llm_provider.clients.rules import Pattern

__all__ = ["Fault", "FaultLine"]


class Fault(WireFault):
    """One thing that goes wrong, and whom it befalls.

    Attributes:
        status: Answer with this status; below 400, with ``body``, it is an answer that no rule can give.
        times: How many calls it befalls.
        match: Regular expression that the last user text must hold.
        provider: Only calls in this wire format.
    """

    status: int | None = Field(default=None, ge=200, le=599)
    times: int = Field(default=1, ge=1)
    match: Pattern = ""
    provider: Literal["openai", "anthropic", "cohere", "llm-forge", "bedrock"] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.status is not None and self.status < 400 and self.body is None:
            raise ValueError(f"an answer of the status {self.status} needs a 'body'")
        return self

    def befalls(self, provider: str, text: str) -> bool:
        """Tell whether the fault is meant for a call.

        Args:
            provider: The call's wire format.
            text: The last user text.
        """
        return self.provider in (None, provider) and re.search(self.match, text, re.DOTALL) is not None


class FaultLine:
    """The faults in line; may be shared by threads."""

    def __init__(self) -> None:
        self._waiting: list[list[Any]] = []
        self._lock = threading.Lock()

    def add(self, faults: Iterable[Fault]) -> None:
        """Put faults at the end of the line."""
        with self._lock:
            self._waiting += [[fault, fault.times] for fault in faults]

    def clear(self) -> None:
        """Send all away."""
        with self._lock:
            self._waiting.clear()

    def take(self, provider: str, text: str) -> Fault | None:
        """Give the fault that befalls a call; None when it goes well."""
        with self._lock:
            for entry in self._waiting:
                fault: Fault = entry[0]
                if fault.befalls(provider, text):
                    entry[1] -= 1
                    if entry[1] == 0:
                        self._waiting.remove(entry)
                    return fault
        return None
