"""Keeps secrets out of whatever is kept or shown: whoever was given one may repeat it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from airflow_llm_provider.clients.failures import redact

__all__ = ["hide"]


def hide(value: Any, secrets: Collection[str]) -> Any:
    """Put ``***`` in place of every secret in a value, keys of objects included.

    Args:
        value: Any JSON value.
        secrets: What must not be in it.

    Returns:
        A new value, or the same when there is nothing to hide.
    """
    if not secrets:
        return value
    if isinstance(value, str):
        return redact(value, secrets)
    if isinstance(value, dict):
        return {redact(key, secrets): hide(member, secrets) for key, member in value.items()}
    return [hide(item, secrets) for item in value] if isinstance(value, list) else value
