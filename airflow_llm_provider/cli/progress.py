"""Shows a local run as it goes: a line for each step that ended, a spinner for those at work, and the results at the end."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from typing_extensions import Self

from airflow_llm_provider.engine.observer import Observer
from airflow_llm_provider.engine.result import RunResult, StepResult
from airflow_llm_provider.workflow.model import Step, Workflow

__all__ = ["Progress"]

_MARKS = {
    "completed": "[green]✓[/]",
    "failed": "[red]✗[/]",
    "skipped": "[yellow]–[/]",
    "pending": "[dim]·[/]",
}


class Progress(Observer):
    """Writes progress to the error stream, so that results on standard output stay clean.

    Args:
        workflow: The workflow that runs.
    """

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self._console = Console(stderr=True)
        self._running: dict[str, None] = {}
        self._status: Status | None = None

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._console.is_terminal:
            self._status = self._console.status(f"{escape(self._workflow.name)}: starting")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing."""
        if self._status is not None:
            self._status.stop()

    def step_started(self, step: Step) -> None:
        """Show that a step is at work."""
        self._running[step.id] = None
        self._update()

    def step_retrying(self, step: Step, attempt: int, error: str, wait: float) -> None:
        """Write why a try failed."""
        self._console.print(
            f"[yellow]↻[/] {escape(step.id)}: try {attempt} failed, next in {wait:.1f} s: {escape(error)}"
        )

    def step_logged(self, step: Step, message: str) -> None:
        """Write the step's own line."""
        self._console.print(f"  {escape(step.id)}: {escape(message)}", highlight=False)

    def step_progressed(self, step: Step, done: int, failed: int, total: int) -> None:
        """Show how far a fan-out has come."""
        bad = f", {failed} failed" if failed else ""
        self._console.print(f"  {escape(step.id)}: {done} of {total} items{bad}", highlight=False)

    def step_finished(self, step: Step, result: StepResult) -> None:
        """Write how the step ended."""
        self._running.pop(step.id, None)
        self._update()
        facts: list[str] = [result.state] if result.state != "completed" else [f"{result.execution_time / 1000:.2f} s"]
        if result.usage is not None:
            facts.append(f"{result.usage.total_tokens} tokens")
            facts.append("cost unknown" if result.usage.cost_usd is None else f"${result.usage.cost_usd:.6f}")
        if result.attempts > 1:
            facts.append(f"{result.attempts} tries")
        if result.error:
            facts.append(result.error)
        self._console.print(f"{_MARKS[result.state]} {escape(step.id)}: {escape(', '.join(facts))}", highlight=False)

    def confirm(self, message: str, details: str | None) -> bool:
        """Ask a person whether the run may go on.

        Args:
            message: The question.
            details: What is needed to decide, as Markdown.
        """
        from rich.markdown import Markdown
        from rich.prompt import Confirm

        if self._status is not None:
            self._status.stop()
        if details:
            self._console.print(Markdown(details))
        answer = Confirm.ask(escape(message), console=self._console)
        if self._status is not None:
            self._status.start()
        return answer

    def summarize(self, result: RunResult) -> None:
        """Write how the run ended; the outputs go to standard output."""
        spent = [step.usage for step in result.steps.values() if step.usage is not None]
        costs = [usage.cost_usd for usage in spent]
        total = sum(cost for cost in costs if cost is not None)
        cost = f"${total:.6f}" + (" plus models of unknown price" if None in costs else "")
        tokens = sum(usage.total_tokens for usage in spent)
        colour = "green" if result.state == "completed" else "red"
        self._console.print(
            f"[bold {colour}]{result.state}[/] in {result.execution_time / 1000:.2f} s, {tokens} tokens, {cost}",
            highlight=False,
        )
        if result.error:
            self._console.print(f"[red]{escape(result.error)}[/]", highlight=False)
        for name, value in result.outputs.items():
            print(f"{name}: {_text(value)}")

    def _update(self) -> None:
        if self._status is not None:
            self._status.update(f"{escape(self._workflow.name)}: {escape(', '.join(self._running) or 'waiting')}")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
