"""``llm-orchestrator new``: a workflow file to begin with, a sample input, and the schema for the editor."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from airflow_llm_provider.cli import EXIT_OK
from airflow_llm_provider.errors import ConfigurationError

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("new", help="begin a workflow file")
    parser.add_argument("name", metavar="NAME", help="name of the workflow, of its file and of its DAG")
    parser.add_argument("--dir", metavar="DIR", default=".", help="folder to write to (default: this one)")
    parser.add_argument("--notation", choices=("steps", "v1"), help="default: steps where it has the kind, else v1")
    parser.add_argument(
        "--kind",
        choices=("Workflow", "CronWorkflow", "EventWorkflow", "Template"),
        default="Workflow",
        help="what starts it (default: %(default)s, by hand)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite files that are there")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.cli.files import write_atomically
    from dag_factory.authoring.scaffold import scaffold
    from dag_factory.authoring.schema import SCHEMA_FILE, schema_text, workflow_schema

    new = scaffold(arguments.name, arguments.notation, arguments.kind)
    folder = Path(arguments.dir)
    workflow, sample = folder / f"{arguments.name}.yaml", folder / f"{arguments.name}.input.json"
    schema = folder / SCHEMA_FILE
    if taken := [str(path) for path in (workflow, sample) if path.exists() and not arguments.force]:
        raise ConfigurationError(f"{' and '.join(taken)} would be overwritten; choose another name, or add --force")
    files = {workflow: new.text, sample: json.dumps(new.sample, indent=2, ensure_ascii=False) + "\n"}
    # The workflows of a folder share the schema, so one that is there stays.
    if arguments.force or not schema.exists():
        files[schema] = schema_text(workflow_schema())
    for path, text in files.items():
        write_atomically(path, text)
        print(path)
    return EXIT_OK
