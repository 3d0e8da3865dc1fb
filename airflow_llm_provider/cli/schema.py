"""``llm-orchestrator schema``: the JSON Schema of workflow files, for editors and for programs that write them."""

from __future__ import annotations

import argparse
from typing import Any

from airflow_llm_provider.cli import EXIT_OK

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("schema", help="write the JSON Schema of workflow files")
    parser.add_argument("--output", metavar="FILE", help="file to write (default: standard output)")
    parser.add_argument(
        "--own",
        action="store_true",
        help="know only this package's own executors, as dag_factory/workflow.schema.json does, and no other package's",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.cli.files import write_or_print
    from airflow_llm_provider.engine.executor import executor_names
    from dag_factory.authoring.schema import schema_text, workflow_schema

    known = executor_names(own=True) if arguments.own else None
    write_or_print(arguments.output, schema_text(workflow_schema(known)))
    return EXIT_OK
