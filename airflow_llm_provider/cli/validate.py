"""``llm-orchestrator validate``: every error of every file, at once."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from airflow_llm_provider.cli import EXIT_BAD_FILE, EXIT_OK

if TYPE_CHECKING:
    from dag_factory.read import ReadResult

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("validate", help="check workflow files and folders")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="workflow file, or folder of workflow files")
    parser.add_argument("--strict", action="store_true", help="treat warnings as errors")
    parser.add_argument("--quiet", action="store_true", help="say nothing of files without errors")
    parser.add_argument(
        "--format",
        choices=("text", "json", "github", "sarif"),
        default="text",
        help="text goes to the error stream, all else to standard output (default %(default)s)",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.cli.files import expand, report
    from airflow_llm_provider.cli.report_formats import FORMATS
    from dag_factory.read import read_files

    result = read_files(path for given in arguments.paths for path in expand(given))
    if arguments.format == "text":
        report(result.diagnostics)
        if not arguments.quiet:
            _summarize(result)
    elif written := FORMATS[arguments.format](result.diagnostics):
        print(written)
    return EXIT_BAD_FILE if result.errors or (arguments.strict and result.diagnostics) else EXIT_OK


def _summarize(result: ReadResult) -> None:
    from airflow_llm_provider.workflow.graph import Graph

    if not result.workflows and not result.diagnostics:
        print("no workflow file found; their names end in .yaml, .yml or .json")
    for workflow in result.workflows:
        steps = f"{len(workflow.steps)} step{'s' * (len(workflow.steps) > 1)}"
        print(f"{workflow.source.path}: {workflow.name}, {steps}, {workflow.source.notation} notation: valid")
        for step_id, upstream in Graph(workflow).implied.items():
            if upstream:
                print(f"  {step_id} waits for {', '.join(upstream)}, whose outputs it uses")
    if result.diagnostics:
        errors, warnings = len(result.errors), len(result.diagnostics) - len(result.errors)
        print(f"{len(result.workflows)} valid, {errors} errors, {warnings} warnings")
