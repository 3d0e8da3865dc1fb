"""``llm-orchestrator db``: the metadata database that orchestrator.yaml names."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from airflow_llm_provider.cli import EXIT_BAD_FILE, EXIT_FAILED, EXIT_OK

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Add the command."""
    from airflow_llm_provider.cli.config import add_config_option

    parser = commands.add_parser("db", help="make, bring up to date and check the metadata database")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (
        ("init", "make its tables"),
        ("migrate", "bring it to the version of the installed Airflow"),
        ("check", "tell whether it can be reached and is up to date"),
    ):
        action = actions.add_parser(name, help=text)
        add_config_option(action)
        action.set_defaults(run=_check if name == "check" else _migrate)


def _migrate(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.cli.database import migrate

    environment, where = _prepared(arguments)
    if environment is None:
        return EXIT_BAD_FILE
    print(f"bringing {where} up to date", file=sys.stderr, flush=True)
    migrate(environment)
    print(f"{where} is up to date")
    return EXIT_OK


def _check(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.cli.database import is_up_to_date

    environment, where = _prepared(arguments)
    if environment is None:
        return EXIT_BAD_FILE
    if not is_up_to_date(environment):
        print(f"{where} cannot be reached, or is not up to date; run: llm-orchestrator db migrate", file=sys.stderr)
        return EXIT_FAILED
    print(f"{where} is up to date")
    return EXIT_OK


def _prepared(arguments: argparse.Namespace) -> tuple[dict[str, str] | None, str]:
    from airflow_llm_provider.cli.components import component_environment
    from airflow_llm_provider.cli.config import config_file, read_or_report
    from airflow_llm_provider.cli.home import Home
    from airflow_llm_provider.config.addresses import shown_address

    path = config_file(arguments.config)
    configuration = read_or_report(path, for_server=False).configuration
    if configuration is None:
        return None, ""
    configuration = Home(configuration.home).prepare(configuration)
    url = configuration.database.url
    where = shown_address(url.get_secret_value()) if url else str(configuration.home / "airflow.db")
    return component_environment(configuration, path), where
