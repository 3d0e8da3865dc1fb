"""``llm-orchestrator db``: the metadata database that orchestrator.yaml names."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from airflow_llm_provider.cli import EXIT_BAD_FILE, EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from airflow_llm_provider.config.configuration import Configuration

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Add the command."""
    from airflow_llm_provider.cli.config import add_config_option

    parser = commands.add_parser("db", help="make, bring up to date and check the metadata database")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text, run in (
        ("init", "make its tables, and the keys and the password of this home", _init),
        ("migrate", "bring it to the version of the installed Airflow", _migrate),
        ("check", "tell whether it can be reached and is up to date", _check),
    ):
        action = actions.add_parser(name, help=text)
        add_config_option(action)
        action.set_defaults(run=run)


def _init(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.cli.home import Home

    configuration = _configuration(arguments)
    if configuration is None:
        return EXIT_BAD_FILE
    home = Home(configuration.home)
    home.prepare(configuration)
    if home.passwords_file.exists():
        print(home.login, file=sys.stderr, flush=True)
    return _migrate(arguments)


def _migrate(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.cli.database import migrate

    configuration = _configuration(arguments)
    if configuration is None:
        return EXIT_BAD_FILE
    where = _place(configuration)
    print(f"bringing {where} up to date", file=sys.stderr, flush=True)
    migrate(_environment(arguments, configuration))
    print(f"{where} is up to date")
    return EXIT_OK


def _check(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.cli.database import trouble

    configuration = _configuration(arguments)
    if configuration is None:
        return EXIT_BAD_FILE
    if wrong := trouble(_environment(arguments, configuration)):
        print(f"{_place(configuration)} {wrong}", file=sys.stderr)
        return EXIT_FAILED
    print(f"{_place(configuration)} is up to date")
    return EXIT_OK


def _configuration(arguments: argparse.Namespace) -> Configuration | None:
    from airflow_llm_provider.cli.config import config_file, read_or_report

    return read_or_report(config_file(arguments.config), for_server=False).configuration


def _environment(arguments: argparse.Namespace, configuration: Configuration) -> dict[str, str]:
    from airflow_llm_provider.cli.components import component_environment
    from airflow_llm_provider.cli.config import config_file

    # Tables are made and looked at without any key.
    return component_environment(configuration, config_file(arguments.config))


def _place(configuration: Configuration) -> str:
    from airflow_llm_provider.config.addresses import shown_address

    url = configuration.database.url
    return shown_address(url.get_secret_value()) if url else str(configuration.home / "airflow.db")
