"""Which programs a mode is made of, and the environment they run in."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from airflow_llm_provider.cli.supervision import Component
from airflow_llm_provider.config.airflow_settings import settings_of
from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.setting import environment

__all__ = ["LOOPBACK", "airflow", "component_environment", "components", "listeners"]

LOOPBACK = "127.0.0.1"

_NOT_FOR_WORKERS = (
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC",
    "AIRFLOW__API__SECRET_KEY",
)
"""What a worker works without, if the queue keeps the results."""


def components(configuration: Configuration) -> tuple[Component, ...]:
    """Give the programs of the mode that the configuration names, in the order of their start.

    Args:
        configuration: What ``orchestrator.yaml`` says.
    """
    execution, edge = configuration.execution, configuration.edge
    match configuration.server.mode:
        case "standalone":
            # The API server reads the log files itself, so nobody needs to serve them.
            return (
                *_servers(configuration),
                # It lets the tasks that are at work end; the unit's TimeoutStopSec leaves as much time for all.
                airflow("scheduler", "--skip-serve-logs", grace=55),
                _dag_processor(),
                # It idles for 10 s when asked to end; what its triggers wait for is taken up by the next one.
                airflow("triggerer", "--skip-serve-logs", grace=2),
            )
        case "api":
            return _servers(configuration)
        case "dag-processor":
            return (_dag_processor(),)
        case "scheduler" | "triggerer" as command:
            return (airflow(command),)
        case "worker":
            return (airflow("celery", "worker", "--queues", ",".join(execution.queue.names), name="worker"),)
        case "edge-worker":
            name = ("--edge-hostname", edge.name) if edge.name else ()
            return (airflow("edge", "worker", "--queues", ",".join(edge.queues), *name, name="edge-worker"),)


def listeners(configuration: Configuration) -> dict[str, tuple[str, int]]:
    """Give where the mode's servers listen: the key of each one's port, to host and port.

    Args:
        configuration: What ``orchestrator.yaml`` says.
    """
    server = configuration.server
    if server.mode not in ("standalone", "api"):
        return {}
    for_tasks = LOOPBACK if _serves_own_tasks(configuration) else server.host
    return {
        "server.port.http": (server.host, server.port.http),
        "server.port.execution": (for_tasks, server.port.for_tasks),
    }


def _serves_own_tasks(configuration: Configuration) -> bool:
    """Tell whether only tasks of this machine report here."""
    return configuration.server.mode == "standalone" and not configuration.edge.enabled


def _dag_processor() -> Component:
    # One that is asked to end while it forks forgets that it was (https://docs.python.org/3/library/os.html#os.register_at_fork:
    # what a signal raises in there is ignored). It has nothing to finish.
    return airflow("dag-processor", grace=10)


def _servers(configuration: Configuration) -> tuple[Component, ...]:
    server, within = configuration.server, {}
    tasks = server.address(server.port.for_tasks)
    if _serves_own_tasks(configuration):
        tasks = server.tasks_address
        within = {"AIRFLOW__API__HOST": LOOPBACK, "AIRFLOW__API__SSL_CERT": "", "AIRFLOW__API__SSL_KEY": ""}
    proxy = ("--proxy-headers",) if server.behind_proxy else ()
    return (
        airflow(
            "api-server",
            "--apps",
            "core",
            *proxy,
            probes=(f"{server.address(server.port.http)}/api/v2/monitor/health",),
        ),
        # The first request to the execution API builds its routes for 5 to 12 s: better now than within the first task.
        airflow(
            "api-server",
            "--apps",
            "execution",
            "--port",
            str(server.port.for_tasks),
            *proxy,
            name="execution-api",
            probes=(f"{tasks}/execution/health",),
            variables=within,
        ),
    )


def airflow(
    command: str,
    *options: str,
    name: str = "",
    probes: tuple[str, ...] = (),
    grace: float | None = None,
    variables: Mapping[str, str] | None = None,
) -> Component:
    """Give an Airflow component.

    Args:
        command: Airflow's own command.
        options: Its options.
        name: The component's name; that of the command when empty.
        probes: As for :class:`Component`.
        grace: As for :class:`Component`.
        variables: As for :class:`Component`.
    """
    return Component(
        name or command, (sys.executable, "-m", "airflow", command, *options), probes, grace, variables or {}
    )


def component_environment(configuration: Configuration, config_file: Path | None) -> dict[str, str]:
    """Give the environment of Airflow's components and their tasks; it holds secrets.

    Args:
        configuration: What ``orchestrator.yaml`` says.
        config_file: That file; None when there is none.
    """
    # A system of its own: Airflow options are those of the file. Connections and Airflow variables may come from the environment.
    own = ("AIRFLOW__", "_AIRFLOW", "AIRFLOW_HOME", "AIRFLOW_CONFIG")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    named = [os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or "", LOOPBACK, "localhost"]
    direct = ",".join(filter(None, named))
    settings = environment(settings_of(configuration))
    if configuration.server.mode == "worker" and not configuration.keeps_results_in_database:
        settings = {name: value for name, value in settings.items() if name not in _NOT_FOR_WORKERS}
    return {
        **kept,
        "PYTHONUNBUFFERED": "1",
        # Components and tasks talk to each other without the proxy of the machine.
        "NO_PROXY": direct,
        "no_proxy": direct,
        **({"ORCHESTRATOR_CONFIG": str(config_file.absolute())} if config_file else {}),
        **settings,
    }
