"""A run's inputs: defaults filled in, types checked, every trouble told at once, before anything is paid for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_llm_provider import json_schema
from airflow_llm_provider.errors import InvalidRequest
from airflow_llm_provider.spelling import closest
from airflow_llm_provider.workflow.conditions import parse_condition
from airflow_llm_provider.workflow.model import Input, Trigger, Workflow
from airflow_llm_provider.workflow.syntax import Resolver
from airflow_llm_provider.workflow.templates import is_template, render
from airflow_llm_provider.workflow.values import get_item

__all__ = ["bind_inputs", "is_triggered_by", "meets_trigger", "misfits"]

_PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def bind_inputs(workflow: Workflow, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check what a run was given and fill in the defaults.

    Args:
        workflow: The workflow.
        given: Input name to value.

    Returns:
        A value for every declared input, null for an optional one without a default, and, where the workflow declares
        none, whatever else was given.

    Raises:
        InvalidRequest: Inputs are missing, unknown or of the wrong type; the message lists them all.
    """
    declared = {item.name: item for item in workflow.inputs}
    unknown = given.keys() - declared.keys() if workflow.declares_inputs else ()
    problems = [f"{name}: no such input; {closest(name, declared) or 'the workflow declares none'}" for name in unknown]
    values = {name: given[name] for name in given if name not in declared}
    for item in workflow.inputs:
        # Airflow gives null for what nobody gave.
        if item.source is not None and given.get(item.name) is None:
            found = _from_event(item.source, given.get("event"))
            values[item.name] = item.default if found is None else found
            problems += [f"{item.name}: {problem}" for problem in misfits(item, values[item.name])]
            continue
        if item.name not in given:
            if item.required:
                problems.append(f"{item.name}: missing; give {_article(item.type)}")
            values[item.name] = item.default
            continue
        values[item.name] = given[item.name]
        problems += [f"{item.name}: {problem}" for problem in misfits(item, given[item.name])]
    if problems:
        raise InvalidRequest(
            f"workflow {workflow.name!r} cannot start with these inputs: {'; '.join(sorted(problems))}"
        )
    return values


def is_triggered_by(workflow: Workflow, event: Mapping[str, Any]) -> bool:
    """Tell whether an event starts a workflow.

    Args:
        workflow: The workflow.
        event: The event: ``id``, ``source``, ``type``, ``time`` and ``data``.

    Raises:
        ExpressionError: The trigger's filter cannot be evaluated for this event.
    """
    trigger = workflow.trigger
    return trigger is not None and trigger.source == event.get("source") and meets_trigger(trigger, event)


def meets_trigger(trigger: Trigger, event: Mapping[str, Any]) -> bool:
    """Tell whether an event that came from the trigger's source is of its type and passes its filter.

    Args:
        trigger: The trigger.
        event: The event.

    Raises:
        ExpressionError: The filter cannot be evaluated for this event.
    """
    if trigger.type not in (None, event.get("type")):
        return False
    return trigger.filter is None or parse_condition(trigger.filter).evaluate(_inside(event))


def _from_event(source: str, event: Any) -> Any:
    return render(source if is_template(source) else f"${{{{ {source} }}}}", _inside(event))


def _inside(event: Any) -> Resolver:
    def resolve(path: tuple[str | int, ...]) -> object:
        value: object = event if path[0] == "event" else None
        for key in path[1:]:
            value = get_item(value, key)
        return value

    return resolve


def misfits(item: Input, value: Any) -> list[str]:
    """Say what keeps a value from being an input's.

    Args:
        item: The input.
        value: Any JSON value.
    """
    if item.type == "any" and not item.schema:
        return []
    matches = isinstance(value, _PYTHON_TYPES.get(item.type, (object,)))
    confused = isinstance(value, bool) and item.type in ("integer", "number")
    if matches and not confused and not item.schema:
        return []
    # A value that plainly fits does not need the library.
    return [text.removeprefix("$: ") for text in json_schema.misfits(value, item.json_schema())]


def _article(kind: str) -> str:
    return "a value" if kind == "any" else f"{'an' if kind[0] in 'aio' else 'a'} {kind}"
