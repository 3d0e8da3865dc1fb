"""Joins workflows that name each other: a sub-workflow, or the template that one is made from.

A file is read by itself; what it names is looked up here, in the files that are read together with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from airflow_llm_provider.files.diagnostics import Diagnostic
from airflow_llm_provider.spelling import closest
from airflow_llm_provider.workflow.model import DocumentPath, Step, Workflow
from airflow_llm_provider.workflow.templates import is_template

__all__ = ["SUB_WORKFLOW", "link", "links"]

SUB_WORKFLOW = "orchestrator:workflow"
"""The executor that runs another workflow."""

Report = Callable[[Workflow, str, DocumentPath, str], Diagnostic]
"""Makes a diagnostic of a workflow, a message, a place and a suggestion."""


def links(workflow: Workflow) -> Iterator[tuple[str, DocumentPath, Step | None]]:
    """Walk over the workflows that a workflow names.

    Args:
        workflow: The workflow.

    Yields:
        The name, where it stands, and the step that runs it; None where the workflow is made from a template.
    """
    if workflow.instantiates is not None:
        yield workflow.instantiates, (*workflow.location, "templateRef", "name"), None
    for step in (*workflow.steps, *(step.template for step in workflow.steps if step.template)):
        if step.executor == SUB_WORKFLOW:
            key = "workflow" if "workflow" in step.inputs else "template"
            name = step.inputs.get(key)
            if isinstance(name, str):
                yield name, step.input_locations.get(key, step.location), step


def link(
    workflow: Workflow, find: Callable[[str], Workflow | None], known: Iterable[str], report: Report
) -> tuple[Workflow | None, list[Diagnostic]]:
    """Look up the workflows that a workflow names, and those that they name.

    Args:
        workflow: The workflow.
        find: Gives the workflow of a name, not linked itself; None when there is none.
        known: All names, for suggestions.
        report: Makes a diagnostic.

    Returns:
        The workflow with what it names, and all errors; None instead when there are any.
    """
    errors: list[Diagnostic] = []
    known = [*known]

    def linked(current: Workflow, above: tuple[str, ...], begin: DocumentPath = ()) -> Workflow:
        used: dict[str, Workflow] = {}
        for name, place, step in links(current):
            other = None if is_template(name) else find(name)
            # Only the errors of the workflow itself: each of the others is linked, and tells its own.
            mine = not above
            if is_template(name):
                message = f"the name of a workflow must be known before the run, and {name!r} is a template"
                errors.extend([report(workflow, message, place, "write the name itself")] if mine else [])
            elif other is None:
                message = f"there is no workflow {name!r}"
                errors.extend([report(workflow, message, place, closest(name, known))] if mine else [])
            elif name in (*above, current.name):
                # A circle that does not come back to the workflow itself is told by those that are in it.
                if name == workflow.name:
                    circle = " -> ".join((*above, current.name, name))
                    message = f"these workflows run each other: {circle}"
                    errors.append(report(workflow, message, begin or place, "break the circle at one of them"))
            else:
                used[name] = linked(other, (*above, current.name), begin or place)
                if mine and step is not None:
                    errors.extend(_misfits(workflow, used[name], step, report))
        current = replace(current, uses=used)
        return _instance(current, used[current.instantiates]) if current.instantiates in used else current

    result = linked(workflow, ())
    return (None if errors else result), errors


def _misfits(workflow: Workflow, other: Workflow, step: Step, report: Report) -> Iterator[Diagnostic]:
    given = step.inputs.get("inputs") or {}
    if not isinstance(given, Mapping):
        return
    place = step.input_locations.get("inputs", step.location)
    for item in other.inputs:
        if item.required and item.name not in given:
            yield report(workflow, f"workflow {other.name!r} needs the input {item.name!r}", place, "")
    names = [item.name for item in other.inputs]
    for name in given:
        if other.declares_inputs and name not in names:
            message = f"workflow {other.name!r} has no input {name!r}"
            yield report(workflow, message, (*place, name), closest(name, names))


def _instance(workflow: Workflow, template: Workflow) -> Workflow:
    """Make a workflow of a template: its steps and outputs, with the given values as defaults of its inputs."""
    values = workflow.instance_inputs
    inputs = tuple(
        replace(item, default=values[item.name], required=False) if item.name in values else item
        for item in template.inputs
    )
    return replace(
        workflow,
        steps=template.steps,
        inputs=inputs,
        declares_inputs=template.declares_inputs,
        outputs=workflow.outputs or template.outputs,
        events=workflow.events or template.events,
        timeout=workflow.timeout or template.timeout,
        max_parallel=workflow.max_parallel or template.max_parallel,
        fail_fast=workflow.fail_fast or template.fail_fast,
        uses={**template.uses, **workflow.uses},
    )
