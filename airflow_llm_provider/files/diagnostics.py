"""What is wrong with a file, where, and what to write instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Diagnostic"]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One trouble in one file.

    Attributes:
        path: The file, as it was named to the reader; of what is in no file, what else it is, such as ``$VARIABLE``.
        line: Line, counted from 1; 0 of what is in no file.
        column: Column, counted from 1 in characters.
        message: What is wrong and what was expected.
        suggestion: What to do about it; empty when the message says it all.
        severity: An error keeps the workflow from running, a warning does not.
        text: The offending line of the file.
    """

    path: str
    line: int
    column: int
    message: str
    suggestion: str = ""
    severity: Literal["error", "warning"] = "error"
    text: str = ""

    def __str__(self) -> str:
        """Write it as compilers do, so that editors and terminals can jump to the place."""
        hint = f"; {self.suggestion}" if self.suggestion else ""
        level = "" if self.severity == "error" else "warning: "
        place = f"{self.path}:{self.line}:{self.column}" if self.line else self.path
        return f"{place}: {level}{self.message}{hint}"

    def excerpt(self) -> str:
        """Write it with the offending line and a caret under the column."""
        if not self.text or self.column > len(self.text) + 1:
            return str(self)
        return f"{self}\n    {self.text}\n    {' ' * (self.column - 1)}^"
