"""Shows what a run would take, before anything is spent."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from airflow_llm_provider.cli import EXIT_FAILED, EXIT_OK
from airflow_llm_provider.clients.estimate import Estimating
from airflow_llm_provider.clients.rules import ANSWER_TOKENS
from airflow_llm_provider.config.settings import Settings
from airflow_llm_provider.engine.approval import Answer, Question
from airflow_llm_provider.engine.observer import Observer
from airflow_llm_provider.engine.result import RunResult
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Rehearsal, Runtime
from airflow_llm_provider.workflow.model import Step, Workflow

__all__ = ["estimate"]


class _LeftOut(Observer):
    def __init__(self) -> None:
        self.steps: list[str] = []

    def step_left_out(self, step: Step) -> None:
        self.steps.append(step.id)


def estimate(workflow: Workflow, inputs: Mapping[str, Any], settings: Settings, *, as_json: bool, user: str) -> int:
    """Rehearse a run, and write what it counted.

    Args:
        workflow: The workflow.
        inputs: Its inputs.
        settings: The settings of the run.
        as_json: Whether to write JSON instead of a table.
        user: Who starts it.

    Returns:
        The exit code.

    Raises:
        InvalidInputs: The inputs do not fit.
    """

    async def approve(question: Question) -> Answer:
        return Answer(approved=True, by=user)

    async def go(folder: Path) -> RunResult:
        async with Runtime(
            settings=settings, observer=left_out, ask=approve, clients=Estimating(), rehearsal=Rehearsal(folder)
        ) as runtime:
            return await run_workflow(workflow, inputs, runtime, user=user)

    left_out = _LeftOut()
    with tempfile.TemporaryDirectory() as scratch:
        result = asyncio.run(go(Path(scratch)))
    _show(workflow, result, left_out.steps, as_json=as_json)
    return EXIT_OK if result.state == "completed" else EXIT_FAILED


def _show(workflow: Workflow, result: RunResult, left_out: list[str], *, as_json: bool) -> None:
    rows = [(step_id, step, step.usage) for step_id, step in result.steps.items()]
    spent = [usage for _, _, usage in rows if usage is not None]
    known = [usage.cost_usd for usage in spent if usage.cost_usd is not None]
    total = {
        "input_tokens": sum(usage.input_tokens for usage in spent),
        "output_tokens": sum(usage.output_tokens for usage in spent),
        "cost_usd": sum(known),
        "of_unknown_price": len(spent) - len(known),
    }
    skipped = [step_id for step_id, step, _ in rows if step.state == "skipped"]
    if as_json:
        steps = {
            step_id: {"state": step.state, "usage": usage.to_dict() if usage else None} for step_id, step, usage in rows
        }
        told = {
            "workflow": workflow.name,
            "state": result.state,
            "error": result.error,
            "steps": steps,
            "left_out": left_out,
            "total": total,
        }
        print(json.dumps(told, indent=2, ensure_ascii=False))
        return
    table = Table(title=f"{workflow.name}: estimate", title_justify="left")
    for name in ("Step", "Model", "Prompt tokens", "Answer tokens", "USD"):
        table.add_column(name, justify="left" if name in ("Step", "Model") else "right")
    for step_id, step, usage in rows:
        if usage is not None:
            cost = "unknown" if usage.cost_usd is None else f"{usage.cost_usd:.6f}"
            model = f"{usage.provider}/{usage.model}"
            table.add_row(step_id, model, str(usage.input_tokens), str(usage.output_tokens), cost)
        elif step.state in ("skipped", "failed", "pending"):
            table.add_row(step_id, step.state, "", "", "")
    unknown = f" + {total['of_unknown_price']} of unknown price" if total["of_unknown_price"] else ""
    table.add_section()
    table.add_row("", "", str(total["input_tokens"]), str(total["output_tokens"]), f"{total['cost_usd']:.6f}{unknown}")
    console = Console()
    console.print(table)
    console.print(f"An answer counts as its step's max_tokens, or {ANSWER_TOKENS} tokens.", highlight=False)
    if left_out:
        console.print(
            f"Left out, as they would reach out: {', '.join(left_out)}; steps behind them were given nothing of theirs, "
            "so that a fan-out over it counts as empty.",
            highlight=False,
        )
    if skipped:
        console.print(
            f"Skipped: {', '.join(skipped)}; with real answers it may be others, and cost more.", highlight=False
        )
    if result.error:
        console.print(f"The rehearsal failed: {result.error}", style="red", highlight=False)
