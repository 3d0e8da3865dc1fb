"""``llm-orchestrator run``: a workflow in this process, from start to end."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_llm_provider.cli import EXIT_BAD_FILE, EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from airflow_llm_provider.clients.base import Clients

__all__ = ["ALL", "add_parser", "user_name"]

ALL = "*"
"""Approves whatever step asks."""


def add_parser(commands: Any) -> None:
    """Add the command."""
    from airflow_llm_provider.cli.config import add_config_option

    parser = commands.add_parser("run", help="run a workflow here, without Airflow")
    parser.add_argument("file", metavar="FILE", help="workflow file")
    parser.add_argument("--workflow", metavar="NAME", help="which workflow of the file")
    parser.add_argument(
        "--input",
        metavar="JSON|FILE|-",
        default="{}",
        help="inputs: a JSON object, a JSON file, or - for standard input",
    )
    add_config_option(parser)
    parser.add_argument(
        "--offline",
        action="store_true",
        help="let the scripted provider and the local vector store answer for all others: no key, no cost",
    )
    answers = parser.add_mutually_exclusive_group()
    answers.add_argument("--record", metavar="FILE", type=Path, help="keep the models' answers in a cassette file")
    answers.add_argument("--replay", metavar="FILE", type=Path, help="take the models' answers from a cassette file")
    answers.add_argument(
        "--estimate", action="store_true", help="ask nobody, change nothing, and show what tokens and cost to expect"
    )
    parser.add_argument(
        "--approve",
        metavar="STEP",
        nargs="?",
        const=ALL,
        action="append",
        default=[],
        help="answer yes where this step (any step without STEP) asks for approval, instead of asking here",
    )
    parser.add_argument(
        "--output",
        choices=("text", "json"),
        default="text",
        help="what to write to standard output (default %(default)s)",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.cli.approvals import Approvals
    from airflow_llm_provider.cli.files import one_workflow
    from airflow_llm_provider.cli.inputs import read_inputs
    from airflow_llm_provider.config.settings import load_settings
    from airflow_llm_provider.engine.approval import Ask
    from airflow_llm_provider.engine.observer import Observer
    from airflow_llm_provider.engine.result import RunResult
    from airflow_llm_provider.engine.run import run_workflow
    from airflow_llm_provider.engine.runtime import Runtime

    inputs = read_inputs(arguments.input)
    workflow = one_workflow(arguments.file, arguments.workflow)
    if workflow is None:
        return EXIT_BAD_FILE
    settings = load_settings(arguments.config)
    if arguments.estimate:
        from airflow_llm_provider.cli.estimate import estimate

        return estimate(workflow, inputs, settings, as_json=arguments.output == "json", user=user_name())
    clients = _clients(arguments)

    async def go(observer: Observer, ask: Ask) -> RunResult:
        async with Runtime(
            settings=settings, observer=observer, offline=arguments.offline, ask=ask, clients=clients
        ) as runtime:
            return await run_workflow(workflow, inputs, runtime, user=user_name())

    if arguments.output == "json":
        result = asyncio.run(go(Observer(), Approvals(arguments.approve, None)))
        print(json.dumps(result.to_dict(), indent=2, ensure_ascii=False))
    else:
        from airflow_llm_provider.cli.progress import Progress

        with Progress(workflow) as progress:
            result = asyncio.run(go(progress, Approvals(arguments.approve, progress)))
        progress.summarize(result)
    return EXIT_OK if result.state == "completed" else EXIT_FAILED


def _clients(arguments: argparse.Namespace) -> Clients | None:
    """Give what decides who answers model calls."""
    if not (arguments.record or arguments.replay):
        return None
    from airflow_llm_provider.clients.cassette import Player, Recorder

    return Recorder(arguments.record) if arguments.record else Player(arguments.replay)


def user_name() -> str:
    """Give the name of whoever runs the program."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user need not have a name.
        return str(os.getuid())
