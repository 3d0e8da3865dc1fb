"""The outbox: what nobody is configured to take is kept as JSON lines, so that it is neither lost nor silently ignored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from airflow_llm_provider.engine.executor import StepContext
from airflow_llm_provider.engine.masking import hide
from airflow_llm_provider.json_lines import append_lines

__all__ = ["append_to_outbox", "keep", "outbox_entry"]


def outbox_entry(context: StepContext, action: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Say what should have happened, for whom, and when.

    Args:
        context: The step.
        action: What should have happened.
        data: What it needs; secrets become ``***``.
    """
    return {
        "action": action,
        "time": datetime.now(timezone.utc).isoformat(),
        "workflow": context.workflow,
        "run_id": context.run_id,
        "step": context.step.id,
        "data": hide(dict(data), context.secrets),
    }


def keep(context: StepContext, action: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Put what has no target into the outbox.

    Args:
        context: The step.
        action: What should have happened; names the file.
        data: What it needs.

    Returns:
        The part of a step's result that says so.
    """
    path = append_to_outbox(context.runtime.settings.outbox, action, outbox_entry(context, action, data))
    return {"delivered": False, "outbox": str(path)}


def append_to_outbox(folder: Path, action: str, entry: Mapping[str, Any]) -> Path:
    """Add a line to an action's outbox.

    Args:
        folder: The outbox folder; made when it does not exist.
        action: The action's name, which names the file.
        entry: What to keep.

    Returns:
        The file.
    """
    path = folder / f"{action}.jsonl"
    append_lines(path, [entry])
    return path
