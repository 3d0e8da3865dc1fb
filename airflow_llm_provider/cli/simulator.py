"""``llm-orchestrator simulator``: a server that speaks the providers' wire formats, for trying and testing without keys."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "simulator", help="serve the wire formats of model providers and vector stores, with neither"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8900, help="port to listen on; 0 takes a free one (default %(default)s)"
    )
    parser.add_argument("--rules", metavar="FILE", help="YAML or JSON list of answer rules")
    parser.add_argument(
        "--batch-seconds", type=float, default=5.0, metavar="N", help="how long a batch takes (default %(default)s)"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.clients.rules import load_rules
    from airflow_llm_provider.simulator.app import serve

    serve(
        arguments.host, arguments.port, load_rules(arguments.rules) if arguments.rules else (), arguments.batch_seconds
    )
    return 0
