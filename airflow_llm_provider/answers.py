"""Reads what models write."""

from __future__ import annotations

import itertools
import re
from typing import Any

from airflow_llm_provider.errors import InvalidOutput
from airflow_llm_provider.workflow.values import from_json

__all__ = ["parse_json"]

_FENCE = re.compile(r"^[ \t]*```", re.MULTILINE)


def parse_json(text: Any) -> Any:
    """Parse JSON text, also inside a Markdown code fence, as models like to write it.

    Args:
        text: The text; another value is given back as it is.

    Raises:
        InvalidOutput: It is no JSON.
    """
    if not isinstance(text, str):
        return text
    opening, closing = [*itertools.islice(_FENCE.finditer(text), 2), None, None][:2]
    if opening and closing:
        # Behind the opening fence, its line names the language.
        text = text[opening.end() : closing.start()].partition("\n")[2]
    try:
        return from_json(text)
    except ValueError as error:
        raise InvalidOutput(f"not JSON: {error}; the text begins {text[:80]!r}") from None
