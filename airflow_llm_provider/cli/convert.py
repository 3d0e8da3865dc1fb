"""``llm-orchestrator convert``: a workflow in the other notation, doing the same."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from airflow_llm_provider.cli import EXIT_BAD_FILE, EXIT_OK

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("convert", help="write a workflow in the other notation")
    parser.add_argument("file", metavar="FILE", help="workflow file")
    parser.add_argument("--to", choices=("steps", "v1"), required=True, help="the notation to write")
    parser.add_argument("--workflow", metavar="NAME", help="which workflow of the file")
    parser.add_argument("--output", metavar="FILE", help="file to write (default: standard output)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.cli.files import one_workflow, write_atomically
    from dag_factory.authoring.convert import convert, lost, to_yaml

    workflow = one_workflow(arguments.file, arguments.workflow)
    if workflow is None:
        return EXIT_BAD_FILE
    text = to_yaml(convert(workflow, arguments.to))
    if arguments.output is None:
        print(text, end="")
    else:
        write_atomically(arguments.output, text)
    for note in lost(workflow):
        print(f"llm-orchestrator: note: {note}", file=sys.stderr)
    return EXIT_OK
