"""``llm-orchestrator validate``: every error of every file, at once."""

from __future__ import annotations

import argparse
from typing import Any

from airflow_llm_provider.cli import EXIT_BAD_FILE, EXIT_OK

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("validate", help="check workflow files and folders")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="workflow file, or folder of workflow files")
    parser.add_argument("--strict", action="store_true", help="treat warnings as errors")
    parser.add_argument("--quiet", action="store_true", help="say nothing of files without errors")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.cli.files import read_path, report

    results = [read_path(path) for path in arguments.paths]
    for result in results:
        report(result.diagnostics)
    workflows = [workflow for result in results for workflow in result.workflows]
    if not arguments.quiet:
        for workflow in workflows:
            steps = f"{len(workflow.steps)} step{'s' * (len(workflow.steps) > 1)}"
            print(f"{workflow.source.path}: {workflow.name}, {steps}, {workflow.source.notation} notation: valid")
    found = [item for result in results for item in result.diagnostics]
    bad = [item for item in found if arguments.strict or item.severity == "error"]
    if not arguments.quiet and found:
        errors = sum(item.severity == "error" for item in found)
        print(f"{len(workflows)} valid, {errors} errors, {len(found) - errors} warnings")
    return EXIT_BAD_FILE if bad else EXIT_OK
