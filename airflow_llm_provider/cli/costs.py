"""``llm-orchestrator costs``: what workflows have cost, and how budgets stand."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_llm_provider.engine.spending import Account

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Add the command.

    Args:
        commands: Where commands are added.
    """
    from airflow_llm_provider.cli.config import add_config_option

    parser: argparse.ArgumentParser = commands.add_parser(
        "costs",
        help="show what workflows have cost, and how budgets stand",
        description="Shows what the model calls of workflows have cost by day, in UTC, and how the budgets stand.",
    )
    parser.add_argument("--days", type=int, default=7, metavar="N", help="how many days to look back (%(default)s)")
    parser.add_argument("--runs", action="store_true", help="show each run, the latest first")
    add_config_option(parser)
    parser.add_argument("--output", choices=("text", "json"), default="text", help="how to write it")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.engine.spending import DAYS_KEPT

    days = max(1, min(arguments.days, DAYS_KEPT))
    spending, runs, accounts = asyncio.run(_look(arguments.config))
    since = str(datetime.now(timezone.utc).date() - timedelta(days=days - 1))
    recent = {
        workflow: {day: amounts for day, amounts in sorted(by_day.items()) if day >= since}
        for workflow, by_day in spending.items()
    }
    recent = {workflow: by_day for workflow, by_day in recent.items() if by_day}
    runs = [{**run, "since": _time(run["since"])} for run in runs if arguments.runs and _time(run["since"]) >= since]
    if arguments.output == "json":
        told = [_told(whose, account) for whose, account in accounts]
        found = {"since": since, "workflows": recent, **({"runs": runs} if arguments.runs else {}), "budgets": told}
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _show(since, recent, runs, accounts)
    return 0


async def _look(
    config: str | None,
) -> tuple[Mapping[str, Any], list[dict[str, Any]], list[tuple[str, Account]]]:
    from airflow_llm_provider.config.settings import load_settings
    from airflow_llm_provider.engine.sharing import open_state
    from airflow_llm_provider.engine.spending import Ledger

    settings = load_settings(config)
    ledger = Ledger(open_state(settings.cache, settings.state), settings.budgets)
    try:
        return await ledger.spending(), await ledger.runs(), await ledger.accounts()
    finally:
        await ledger.aclose()


def _told(whose: str, account: Account) -> dict[str, Any]:
    budget = account.budget
    return {
        "budget": budget.title,
        "for": whose,
        "limit_usd": budget.limit_usd,
        "spent_usd": round(account.spent, 6),
        "held_usd": round(account.held, 6),
        "left_usd": round(account.left, 6),
    }


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M:%S}"


def _show(
    since: str,
    spending: Mapping[str, Any],
    runs: list[dict[str, Any]],
    accounts: list[tuple[str, Account]],
) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not spending:
        console.print(f"No workflow has asked a model since {since}.", highlight=False)
    else:
        table = Table(title=f"Since {since}", title_justify="left")
        for name in ("Workflow", "Day", "Calls", "Prompt tokens", "Answer tokens", "USD"):
            table.add_column(name, justify="left" if name in ("Workflow", "Day") else "right")
        total: Counter[str] = Counter()
        for workflow, by_day in sorted(spending.items()):
            for number, (day, amounts) in enumerate(by_day.items()):
                total.update(amounts)
                table.add_row("" if number else workflow, day, *_amounts(amounts))
        table.add_section()
        table.add_row("", "", *_amounts(total))
        console.print(table)
    if runs:
        table = Table(title="Runs", title_justify="left")
        for name in ("Workflow", "Run", "Since", "Calls", "Prompt tokens", "Answer tokens", "USD"):
            table.add_column(name, justify="left" if name in ("Workflow", "Run", "Since") else "right")
        for run in runs:
            table.add_row(run["workflow"], run["run_id"], run["since"], *_amounts(run))
        console.print(table)
    if accounts:
        table = Table(title="Budgets", title_justify="left")
        for name in ("Budget", "For", "Limit", "Spent", "Under way", "Left"):
            table.add_column(name, justify="left" if name in ("Budget", "For") else "right")
        for whose, account in accounts:
            amounts = (account.budget.limit_usd, account.spent, account.held, account.left)
            table.add_row(account.budget.title, whose, *(f"{amount:.4f}" for amount in amounts))
        console.print(table)


def _amounts(amounts: Mapping[str, float]) -> tuple[str, ...]:
    unknown = f" + {amounts['without_price']:g} calls of unknown price" if amounts.get("without_price") else ""
    counts = (f"{amounts[name]:g}" for name in ("calls", "input_tokens", "output_tokens"))
    return (*counts, f"{amounts['cost_usd']:.6f}{unknown}")
