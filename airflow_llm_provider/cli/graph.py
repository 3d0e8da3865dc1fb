"""``llm-orchestrator graph``: which step waits for which, and which edges only the references make."""

from __future__ import annotations

import argparse
import json
from typing import Any

from airflow_llm_provider.cli import EXIT_BAD_FILE, EXIT_OK

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("graph", help="show a workflow's steps and edges")
    parser.add_argument("file", metavar="FILE", help="workflow file")
    parser.add_argument("--workflow", metavar="NAME", help="which workflow of the file")
    parser.add_argument("--format", choices=("text", "mermaid", "dot", "json"), default="text", help="how to write it")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.cli.files import one_workflow
    from airflow_llm_provider.workflow.graph import Graph

    workflow = one_workflow(arguments.file, arguments.workflow)
    if workflow is None:
        return EXIT_BAD_FILE
    graph = Graph(workflow)
    writer = {"text": _text, "mermaid": _mermaid, "dot": _dot, "json": _json}[arguments.format]
    print(writer(graph))
    return EXIT_OK


def _text(graph: Any) -> str:
    lines = []
    for step_id in graph.order():
        upstream = [*graph.explicit[step_id], *(f"{other} (implied)" for other in graph.implied[step_id])]
        lines.append(
            f"{step_id} [{graph.steps[step_id].executor}]" + (f" <- {', '.join(upstream)}" if upstream else "")
        )
    return "\n".join(lines)


def _mermaid(graph: Any) -> str:
    numbers = {step_id: f"s{number}" for number, step_id in enumerate(graph.steps)}
    lines = ["flowchart TD"]
    lines += [f'    {numbers[step_id]}["{step_id}"]' for step_id in graph.steps]
    for step_id in graph.steps:
        lines += [f"    {numbers[other]} --> {numbers[step_id]}" for other in graph.explicit[step_id]]
        lines += [f"    {numbers[other]} -.-> {numbers[step_id]}" for other in graph.implied[step_id]]
    return "\n".join(lines)


def _dot(graph: Any) -> str:
    lines = ["digraph {"]
    lines += [f"  {json.dumps(step_id)};" for step_id in graph.steps]
    for step_id in graph.steps:
        lines += [f"  {json.dumps(other)} -> {json.dumps(step_id)};" for other in graph.explicit[step_id]]
        lines += [f"  {json.dumps(other)} -> {json.dumps(step_id)} [style=dashed];" for other in graph.implied[step_id]]
    return "\n".join([*lines, "}"])


def _json(graph: Any) -> str:
    return json.dumps(
        {
            step_id: {
                "executor": step.executor,
                "depends_on": list(graph.explicit[step_id]),
                "implied": list(graph.implied[step_id]),
            }
            for step_id, step in graph.steps.items()
        },
        indent=2,
    )
