"""``llm-orchestrator airflow``: Airflow's own command line, with the settings of orchestrator.yaml."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from airflow_llm_provider.cli import EXIT_BAD_FILE

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Add the command."""
    from airflow_llm_provider.cli.config import add_config_option

    parser = commands.add_parser(
        "airflow",
        help="run Airflow's own command line on the system of orchestrator.yaml",
        description="Becomes `airflow ARGUMENTS`, with the database, keys and folders of orchestrator.yaml.",
    )
    add_config_option(parser)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENTS", help="such as: dags trigger NAME")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.cli.components import component_environment
    from airflow_llm_provider.cli.config import config_file, read_or_report
    from airflow_llm_provider.cli.home import Home
    from airflow_llm_provider.cli.started import Started

    path = config_file(arguments.config)
    configuration = read_or_report(path, for_server=False).configuration
    if configuration is not None:
        # The keys are those that the server of this home has.
        if started := Started.read(configuration.home):
            configuration = started.applied(configuration)
        environment = component_environment(Home(configuration.home).with_keys(configuration), path)
        os.execve(sys.executable, (sys.executable, "-m", "airflow", *arguments.arguments), environment)
    return EXIT_BAD_FILE
