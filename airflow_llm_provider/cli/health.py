"""``llm-orchestrator health``: whether what was started on this machine is at work; what containers are asked every half a minute.

It costs a fraction of ``airflow jobs check``, for it imports no Airflow: servers are asked over HTTP, components by the sign of
life that they leave in the database, and a worker by the queue's own question.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
from typing import TYPE_CHECKING, Any

from airflow_llm_provider.cli import EXIT_BAD_FILE, EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from airflow_llm_provider.config.configuration import Configuration

__all__ = ["JOBS", "SILENCE", "add_parser", "last_heard", "trouble"]

JOBS = {"scheduler": "SchedulerJob", "dag-processor": "DagProcessorJob", "triggerer": "TriggererJob"}
"""Mode to the type of the job by which Airflow knows the component."""

SILENCE = 60
"""Seconds without a sign of life after which a component counts as lost; Airflow's components give one every 5 to 10 s."""

_TIMEOUT = 10
"""Seconds for each question."""


def add_parser(commands: Any) -> None:
    """Add the command."""
    from airflow_llm_provider.cli.config import add_config_option
    from airflow_llm_provider.config.server import MODES

    parser = commands.add_parser("health", help="tell whether what was started on this machine is at work")
    parser.add_argument("--mode", choices=MODES, metavar="MODE", help="which mode; else the one that was started last")
    add_config_option(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.cli.config import config_file, read_or_report
    from airflow_llm_provider.cli.started import Started

    configuration = read_or_report(config_file(arguments.config), for_server=False).configuration
    if configuration is None:
        return EXIT_BAD_FILE
    started = Started(arguments.mode) if arguments.mode else Started.read(configuration.home)
    if started is None:
        print(f"nothing was started from {configuration.home} yet")
        return EXIT_FAILED
    wrong = trouble(started.applied(configuration))
    print(wrong or f"{started.mode} is at work")
    return EXIT_FAILED if wrong else EXIT_OK


def trouble(configuration: Configuration) -> str:
    """Tell what is wrong with what runs on this machine in the mode of the configuration; empty when it is at work.

    Args:
        configuration: What ``orchestrator.yaml`` says.
    """
    match configuration.server.mode:
        case "standalone" | "api":
            return _trouble_of_servers(configuration)
        case "scheduler" | "dag-processor" | "triggerer" as mode:
            return _trouble_of_component(configuration, mode)
        case "worker":
            return _trouble_of_worker(configuration)
        case "edge-worker":
            # It tells its centre that it is alive; a lost link is nothing that ending the worker would mend.
            return ""


def _trouble_of_servers(configuration: Configuration) -> str:
    import httpx

    from airflow_llm_provider.cli.components import components

    for component in components(configuration):
        for probe in component.probes:
            try:
                # The certificate is for the name by which others reach the server.
                answer = httpx.get(probe, timeout=_TIMEOUT, verify=False, trust_env=False)
            except httpx.HTTPError as error:
                return f"{component.name} does not answer at {probe} ({type(error).__name__})"
            if answer.status_code != 200:
                return f"{component.name} answers {answer.status_code} at {probe}"
            if configuration.server.mode == "standalone" and probe.endswith("/monitor/health"):
                states = {name: part["status"] for name, part in answer.json().items()}
                if silent := [name.replace("_", "-") for name, status in states.items() if status != "healthy"]:
                    return f"not at work: {', '.join(silent)}"
    return ""


def _trouble_of_component(configuration: Configuration, mode: str) -> str:
    import sqlite3

    import psycopg

    try:
        silence = last_heard(configuration, mode, on_this_machine=True)
    except (psycopg.Error, sqlite3.Error) as error:
        return f"the database cannot be asked ({type(error).__name__})"
    if silence is None:
        return f"no {JOBS[mode]} was heard of on {socket.gethostname()}"
    return f"the {JOBS[mode]} was last heard of {silence:.0f} s ago" if silence > SILENCE else ""


def last_heard(configuration: Configuration, mode: str, *, on_this_machine: bool = False) -> float | None:
    """Tell how many seconds ago a component gave a sign of life in the database; None when none is known.

    Args:
        configuration: What ``orchestrator.yaml`` says.
        mode: One of :data:`JOBS`.
        on_this_machine: Whether others do not count.

    Raises:
        psycopg.Error: The PostgreSQL cannot be asked.
        sqlite3.Error: The SQLite cannot be asked.
    """
    ask = _ask_sqlite if configuration.database.kind == "sqlite" else _ask_postgres
    names = (socket.getfqdn(), socket.gethostname())
    heard = (silence for host, silence in ask(configuration, JOBS[mode]) if host in names or not on_this_machine)
    return min(heard, default=None)


def _ask_postgres(configuration: Configuration, job_type: str) -> list[tuple[str, float]]:
    import psycopg

    url = configuration.database.url
    scheme, _, place = url.get_secret_value().partition("://") if url else ("", "", "")
    question = (
        "SELECT hostname, extract(epoch FROM now() - max(latest_heartbeat))::float FROM job"
        " WHERE job_type = %s AND state = 'running' GROUP BY hostname"
    )
    with psycopg.connect(f"{scheme.partition('+')[0]}://{place}", connect_timeout=_TIMEOUT) as connection:
        return connection.execute(question, (job_type,)).fetchall()


def _ask_sqlite(configuration: Configuration, job_type: str) -> list[tuple[str, float]]:
    import sqlite3

    file = configuration.sqlite_file
    assert file is not None
    question = (
        "SELECT hostname, (julianday('now') - julianday(max(latest_heartbeat))) * 86400 FROM job"
        " WHERE job_type = ? AND state = 'running' GROUP BY hostname"
    )
    # Asking makes no file.
    with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(question, (job_type,)).fetchall()


def _trouble_of_worker(configuration: Configuration) -> str:
    from celery import Celery
    from kombu.exceptions import OperationalError

    broker = configuration.broker
    if broker is None:
        return "the file names no queue; write execution.queue.url"
    name = f"celery@{socket.gethostname()}"
    with Celery(broker=broker, broker_transport_options={"max_retries": 1}) as queue:
        try:
            answers = queue.control.ping(destination=[name], timeout=_TIMEOUT)
        except OperationalError as error:
            return f"the queue cannot be asked ({type(error).__name__})"
    return "" if answers else f"{name} does not answer through the queue"
