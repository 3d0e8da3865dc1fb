"""``llm-orchestrator event send``: start the workflows that wait for an event."""

from __future__ import annotations

import argparse
import os
import sys
import uuid
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_llm_provider.cli import EXIT_BAD_FILE, EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_llm_provider.workflow.model import Workflow

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("event", help="send an event to the workflows that wait for one")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    send = actions.add_parser("send", help="start every EventWorkflow whose trigger the event meets")
    send.add_argument("paths", nargs="+", metavar="PATH", help="workflow files, or folders of them: the dags folder")
    send.add_argument("--source", required=True, help="where the event comes from: the trigger's eventSource")
    send.add_argument("--type", required=True, help="what happened: the trigger's eventType")
    send.add_argument("--data", metavar="JSON|FILE|-", default="{}", help="the event's data, a JSON object")
    send.add_argument("--id", help="the event's id (default: a new one); sending an event twice starts no second run")
    send.add_argument(
        "--url",
        default=os.environ.get("AIRFLOW_API_URL", "http://localhost:8080"),
        help="Airflow's address (default $AIRFLOW_API_URL, else %(default)s); user and password are in "
        "$AIRFLOW_API_USERNAME and $AIRFLOW_API_PASSWORD",
    )
    send.add_argument("--here", action="store_true", help="run the workflows in this process, without Airflow")
    send.set_defaults(run=_send)


def _send(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.cli.files import expand, report
    from airflow_llm_provider.cli.inputs import read_inputs
    from airflow_llm_provider.engine.inputs import is_triggered_by
    from dag_factory.read import read_files

    event = {
        "id": arguments.id or str(uuid.uuid4()),
        "source": arguments.source,
        "type": arguments.type,
        "time": datetime.now(timezone.utc).isoformat(),
        "data": read_inputs(arguments.data),
    }
    result = read_files(path for given in arguments.paths for path in expand(given))
    report(result.errors)
    met = [workflow for workflow in result.workflows if is_triggered_by(workflow, event)]
    if not met:
        known = [workflow.trigger for workflow in result.workflows if workflow.trigger]
        waiting = ", ".join(sorted({f"{trigger.source}/{trigger.type or '*'}" for trigger in known})) or "none"
        print(f"no workflow waits for this event; those that wait do for: {waiting}", file=sys.stderr)
        return EXIT_BAD_FILE if result.errors else EXIT_OK
    runs = _run_here(met, event) if arguments.here else _trigger(met, event, arguments.url)
    states = []
    for workflow, run_id, state in runs:
        print(f"{workflow.name}: {state} ({run_id})")
        states.append(state)
    return EXIT_FAILED if "failed" in states else EXIT_BAD_FILE if result.errors else EXIT_OK


def _run_here(workflows: list[Workflow], event: Mapping[str, Any]) -> Iterator[tuple[Workflow, str, str]]:
    import asyncio

    from airflow_llm_provider.cli.run import user_name
    from airflow_llm_provider.config.settings import load_settings
    from airflow_llm_provider.engine.result import RunResult
    from airflow_llm_provider.engine.run import run_workflow
    from airflow_llm_provider.engine.runtime import Runtime
    from airflow_llm_provider.engine.started_by import event_run_id

    async def go(workflow: Workflow) -> RunResult:
        async with Runtime(settings=load_settings()) as runtime:
            return await run_workflow(workflow, {"event": event}, runtime, user=user_name(), run_id=event_run_id(event))

    for workflow in workflows:
        result = asyncio.run(go(workflow))
        if result.error:
            print(f"{workflow.name}: {result.error}", file=sys.stderr)
        yield workflow, result.run_id, result.state


def _trigger(workflows: list[Workflow], event: Mapping[str, Any], url: str) -> Iterator[tuple[Workflow, str, str]]:
    import contextlib

    from airflow_llm_provider.cli.airflow_api import AirflowAPI, AirflowAPIError
    from airflow_llm_provider.engine.started_by import event_run_id

    user = os.environ.get("AIRFLOW_API_USERNAME", "admin")
    with contextlib.closing(AirflowAPI(url, user, os.environ.get("AIRFLOW_API_PASSWORD", ""))) as api:
        for workflow in workflows:
            run_id = event_run_id(event)
            try:
                api.trigger(workflow.dag_id, {"event": dict(event)}, run_id=run_id)
                yield workflow, run_id, "started"
            except AirflowAPIError as error:
                if error.status != 409:
                    raise
                # Whoever sends events sends some of them twice, to be sure.
                yield workflow, run_id, "was started before"
