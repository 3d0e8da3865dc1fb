"""``llm-orchestrator version``."""

from __future__ import annotations

import argparse
import platform
from importlib import metadata
from typing import Any

from airflow_llm_provider import __version__

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("version", help="show the versions of this package, of Airflow and of Python")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    print(f"airflow-llm-provider {__version__}")
    print(f"apache-airflow {metadata.version('apache-airflow')}")
    print(f"python {platform.python_version()}")
    return 0
