"""What the demo shows: one line of progress while it waits, then the run's tasks, outputs, tokens and cost."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typing_extensions import Self

from airflow_llm_provider.cli.airflow_api import AirflowAPI, DagRun, TaskInstance
from airflow_llm_provider.cli.home import USER, Home
from airflow_llm_provider.workflow.task_ids import OUTPUTS_TASK

if TYPE_CHECKING:
    from rich.status import Status

__all__ = ["RunReport", "Teller", "read_report"]

_COLOURS = {"success": "green", "failed": "red", "upstream_failed": "red", "skipped": "yellow"}


@dataclass(frozen=True)
class RunReport:
    """How a run went.

    Attributes:
        run: The run.
        tasks: Its tasks, in the order in which they began.
        usages: Task name to what its model calls took: ``provider``, ``model``, ``total_tokens``, ``cost_usd``,
            ``latency_ms``, ``attempts``.
        outputs: The workflow's outputs where it declares some, else task name to what the task returned.
        errors: Name of a failed task to the error that its log ends with.
    """

    run: DagRun
    tasks: tuple[TaskInstance, ...]
    usages: Mapping[str, Mapping[str, Any]]
    outputs: Mapping[str, Any]
    errors: Mapping[str, str]


def read_report(api: AirflowAPI, run: DagRun) -> RunReport:
    """Read from Airflow how a run went."""
    tasks = tuple(api.task_instances(run))

    def pushed(key: str) -> dict[str, Any]:
        found = ((task.name, _plain(api.xcom(run, task.task_id, key, task.map_index))) for task in tasks)
        return {name: value for name, value in found if value is not None}

    returned = pushed("return_value")
    declared = returned.get(OUTPUTS_TASK)
    return RunReport(
        run,
        tasks,
        {name: usage for name, usage in pushed("llm_usage").items() if isinstance(usage, dict)},
        declared if isinstance(declared, dict) else returned,
        {task.name: _error(api.log(run, task)) for task in tasks if task.state == "failed"},
    )


class Teller:
    """Writes to the terminal; a context manager that shows progress while it is open.

    Without a terminal every change of the progress is a line of its own.

    Args:
        console: Where to write; standard output when None.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        if console is None and not self._console.is_terminal:
            # A log has no width; the usual 80 columns would fold the names of models.
            self._console.width = 120
        self._status: Status | None = None
        self._said = ""

    def __enter__(self) -> Self:
        """Begin to show progress."""
        if self._console.is_terminal:
            self._status = self._console.status("")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing progress."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def say(self, text: str) -> None:
        """Show what is being done now."""
        if text == self._said:
            return
        self._said = text
        if self._status is not None:
            self._status.update(escape(text))
        else:
            self.line(text)

    def line(self, text: str) -> None:
        """Write a line that stays."""
        self._console.print(escape(text), soft_wrap=True)

    def failure(self, text: str) -> None:
        """Write what went wrong."""
        self._console.print(f"[bold red]Failed:[/] {escape(text)}", soft_wrap=True)

    def show(self, report: RunReport, home: Home) -> None:
        """Write the report, and where to see more."""
        self._console.print(_table(report))
        for name, value in report.outputs.items():
            self._console.print(f"[bold]{escape(name)}[/]: {escape(_text(value))}", soft_wrap=True)
        for name, text in report.errors.items():
            self._console.print(f"[bold red]{escape(name)}[/]: {escape(text)}", soft_wrap=True)
        run, url = report.run, home.place().url
        colour = _COLOURS.get(run.state, "yellow")
        self._console.print(f"\n[bold {colour}]{run.state}[/] {_spent(report)}")
        where = {
            "Run": f"{url}/dags/{run.dag_id}/runs/{run.run_id}",
            "User": f"{USER}, password in {home.passwords_file}",
            "Logs": str(home.path / "logs"),
            "airflow": f". {home.variables_file} sets a shell up for Airflow's command line",
        }
        for name, value in where.items():
            self._console.print(f"{name:<8} {escape(value)}", soft_wrap=True)


def _table(report: RunReport) -> Table:
    table = Table(
        title=report.run.dag_id, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False, collapse_padding=True
    )
    for name in ("Task", "State"):
        table.add_column(name, overflow="fold")
    for name in ("Seconds", "Tries"):
        table.add_column(name, justify="right")
    table.add_column("Model", overflow="fold")
    for name in ("Tokens", "Cost"):
        table.add_column(name, justify="right")
    for task in report.tasks:
        usage, state = report.usages.get(task.name), task.state or "not started"
        table.add_row(
            escape(task.name),
            f"[{_COLOURS.get(state, 'default')}]{state}[/]",
            "" if task.duration is None else f"{task.duration:.2f}",
            str(task.attempts),
            *(("", "", "") if usage is None else _usage_cells(usage)),
        )
    return table


def _usage_cells(usage: Mapping[str, Any]) -> tuple[str, str, str]:
    model = "/".join(str(usage[key]) for key in ("provider", "model") if usage.get(key))
    return escape(model), str(usage.get("total_tokens", "")), _cost(usage.get("cost_usd"))


def _spent(report: RunReport) -> str:
    run, usages = report.run, report.usages.values()
    seconds = (run.ended - run.started).total_seconds() if run.started and run.ended else 0.0
    facts = [f"in {seconds:.1f} s"]
    if usages:
        costs = [usage.get("cost_usd") for usage in usages]
        unknown = " plus models of unknown price" if None in costs else ""
        facts.append(f"{sum(usage.get('total_tokens') or 0 for usage in usages)} tokens")
        facts.append(f"{_cost(sum(cost for cost in costs if cost is not None))}{unknown}")
    return ", ".join(facts)


def _cost(usd: float | None) -> str:
    return "unknown" if usd is None else f"${usd:.6f}"


def _plain(value: Any) -> Any:
    # What a trigger pushed is encoded twice.
    if isinstance(value, str) and value[:1] in ("{", "[", '"'):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return value


def _error(log: Sequence[Mapping[str, Any]]) -> str:
    for line in reversed(log):
        if line.get("level") in ("error", "critical"):
            causes = line.get("error_detail") or []
            return "; ".join(f"{item['exc_type']}: {item['exc_value']}" for item in causes) or str(line["event"])
    return "its log tells no error; it may have been killed"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
