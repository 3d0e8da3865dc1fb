"""``llm-orchestrator demo``: a workflow in a real Airflow on this machine, from nothing to the result.

The command is a client: it sees to it that the local Airflow is up, triggers the workflow through Airflow's public API,
waits, and shows what came out. Airflow stays up when it returns, so that the next call takes seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_llm_provider.cli.airflow_api import AirflowAPI, DagRun
    from airflow_llm_provider.cli.run_report import Teller
    from airflow_llm_provider.cli.stand import Stand

__all__ = ["add_parser", "run_demo"]

_READ_TIMEOUT = 60.0
"""Seconds until a workflow that Airflow does not show counts as missing: several rounds of the DAG processor."""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("demo", help="run a workflow in a local Airflow, with a simulated model")
    parser.add_argument(
        "--home", metavar="DIR", default=".demo", help="folder for database, logs and secrets (default %(default)s)"
    )
    parser.add_argument("--dags-folder", metavar="DIR", default="dags", help="the workflows (default %(default)s)")
    parser.add_argument(
        "--workflow", metavar="NAME", default="sentiment-analysis", help="which one to run (default %(default)s)"
    )
    parser.add_argument(
        "--input",
        metavar="JSON|FILE",
        help="its inputs: a JSON object or a JSON file (default: WORKFLOW.input.json in the dags folder, else none)",
    )
    parser.add_argument(
        "--port", type=int, help="port of Airflow's pages (default: the last one, else 8080, else a free one)"
    )
    parser.add_argument(
        "--timeout", type=float, default=600, metavar="SECONDS", help="longest wait for the run (default %(default)s)"
    )
    parser.add_argument("--exit", action="store_true", help="stop Airflow once the result is shown")
    parser.add_argument("--stop", action="store_true", help="stop the Airflow that an earlier call left running")
    parser.set_defaults(run=run_demo)


def run_demo(arguments: argparse.Namespace) -> int:
    """Run a workflow in the local Airflow, or stop that Airflow.

    Args:
        arguments: What :func:`add_parser` describes.

    Returns:
        0 when the run succeeded (or Airflow was stopped), 1 when it failed.

    Raises:
        ConfigurationError: An option cannot be used.
    """
    from airflow_llm_provider.cli.airflow_api import AirflowAPIError
    from airflow_llm_provider.cli.home import Home
    from airflow_llm_provider.cli.run_report import Teller
    from airflow_llm_provider.cli.stand import Stand, StandError

    stand, teller = Stand(Home(Path(arguments.home)), Path(arguments.dags_folder), arguments.port), Teller()
    if arguments.stop:
        with teller:
            teller.say("stopping Airflow")
            stopped = stand.stop()
        teller.line("Airflow is stopped." if stopped else f"No Airflow is running in {arguments.home}.")
        return 0
    inputs = _inputs(arguments)
    # What was up before stays up, whatever happens now; what this call started stays up for a run's result to be seen.
    keep = stand.is_up()
    try:
        with teller:
            stand.start(teller.say)
            stand.wait_until_ready(teller.say)
            succeeded = _run_workflow(stand, teller, arguments, inputs)
        keep = True
    except (AirflowAPIError, StandError) as error:
        teller.failure(str(error))
        return 1
    finally:
        if arguments.exit or not keep:
            with teller:
                teller.say("stopping Airflow")
                stand.stop()
    return 0 if succeeded else 1


def _run_workflow(stand: Stand, teller: Teller, arguments: argparse.Namespace, inputs: dict[str, Any]) -> bool:
    from airflow_llm_provider.cli.run_report import read_report

    name = arguments.workflow
    with contextlib.closing(stand.api()) as api:
        teller.say(f"waiting until Airflow has read {name}")
        _wait_until_read(api, name, stand)
        api.unpause(name)
        run = api.trigger(name, inputs)

        def watch(run: DagRun) -> None:
            stand.check_alive()
            tasks = api.task_instances(run)
            at_work = ", ".join(task.name for task in tasks if task.state == "running")
            done = sum(task.ended is not None for task in tasks)
            teller.say(f"{name}: {done} of {len(tasks)} tasks done" + (f", at work: {at_work}" if at_work else ""))

        run = api.wait(run, arguments.timeout, watch=watch)
        report = read_report(api, run)
    teller.show(report, stand.home)
    return run.state == "success"


def _wait_until_read(api: AirflowAPI, dag_id: str, stand: Stand) -> None:
    from airflow_llm_provider.cli.airflow_api import AirflowAPIError

    deadline = time.monotonic() + _READ_TIMEOUT
    while (dag := api.dag(dag_id)) is None or dag["is_stale"]:
        stand.check_alive()
        if time.monotonic() > deadline:
            known = ", ".join(sorted(api.dag_ids())) or "none"
            errors = "".join(f"\n{path}:\n{text}" for path, text in api.import_errors().items())
            folder = stand.place.dags_folder
            raise AirflowAPIError(f"Airflow has found no workflow {dag_id!r} in {folder}, but {known}{errors}")
        time.sleep(0.5)


def _inputs(arguments: argparse.Namespace) -> dict[str, Any]:
    from airflow_llm_provider.cli.inputs import read_inputs

    given = arguments.input
    if given is None:
        beside = sorted(Path(arguments.dags_folder).rglob(f"{arguments.workflow}.input.json"))
        given = str(beside[0]) if beside else "{}"
    return read_inputs(given)
