"""One record a finished step, in a file of JSON lines for each workflow."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from airflow_llm_provider.json_lines import read_lines
from airflow_llm_provider.workflow.model import slug

__all__ = ["MetricRecord", "prompt_hash", "read_records", "record_file"]


class MetricRecord(BaseModel):
    """What one step did in one run.

    Attributes:
        workflow_id: The workflow's name.
        run_id: The run's id.
        task_id: The step's id.
        executor: What the step does.
        timestamp: When it was recorded.
        execution_time_ms: Milliseconds that the step took.
        cpu_usage_percent: Its use of a processor.
        memory_usage_mb: Its use of memory, in megabytes.
        token_count: Tokens, of prompts and answers.
        cost_usd: What it cost in USD.
        quality_score: How good its result was, 0 to 1.
        provider: Who was asked.
        model: Which model.
        prompt_sha256: SHA-256 of the prompt; the prompt itself is not kept.
        waits_for: Ids of all steps that end before it starts; None when that is not known.
        uses: Those of them whose results it needs, itself or through others.
        custom: Further numbers and facts.
    """

    # A later version may keep more; what it wrote stays readable.
    model_config = ConfigDict(extra="ignore", frozen=True)

    workflow_id: str
    run_id: str
    task_id: str
    executor: str | None = None
    timestamp: datetime
    execution_time_ms: float | None = Field(default=None, ge=0)
    cpu_usage_percent: float | None = None
    memory_usage_mb: float | None = None
    token_count: int | None = Field(default=None, ge=0)
    cost_usd: float | None = Field(default=None, ge=0)
    quality_score: float | None = Field(default=None, ge=0, le=1)
    provider: str | None = None
    model: str | None = None
    prompt_sha256: str | None = None
    waits_for: tuple[str, ...] | None = None
    uses: tuple[str, ...] | None = None
    custom: dict[str, Any] = Field(default_factory=dict)


def prompt_hash(prompt: str) -> str:
    """Give the fingerprint by which equal prompts are found."""
    return hashlib.sha256(prompt.encode(errors="backslashreplace")).hexdigest()


def record_file(folder: Path, workflow_id: str) -> Path:
    """Give the file with the records of a workflow; two names may share one.

    Args:
        folder: The folder of recorded metrics.
        workflow_id: The workflow's name.
    """
    return folder / f"{slug(workflow_id)[:200] or 'workflow'}.jsonl"


def read_records(folder: Path, workflow_id: str, *, last: int) -> list[MetricRecord]:
    """Read a workflow's newest records, oldest first; none where nothing was recorded.

    Args:
        folder: The folder of recorded metrics.
        workflow_id: The workflow's name.
        last: Most lines that are read.
    """
    records = []
    for entry in read_lines(record_file(folder, workflow_id), last=last):
        try:
            record = MetricRecord.model_validate(entry)
        except ValidationError:
            # Somebody else's line; the rest of the history is as good without it.
            continue
        if record.workflow_id == workflow_id:
            records.append(record)
    return records
