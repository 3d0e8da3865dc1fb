"""A run's inputs: defaults filled in, types checked, every trouble told at once, before anything is paid for."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from airflow_llm_provider.errors import InvalidRequest
from airflow_llm_provider.workflow.model import Input, Workflow

__all__ = ["bind_inputs"]

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
    problems = []
    if workflow.declares_inputs:
        for name in given.keys() - declared.keys():
            close = difflib.get_close_matches(name, declared, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"declared are {', '.join(declared) or 'none'}"
            problems.append(f"{name}: no such input; {hint}")
    values = {name: given[name] for name in given if name not in declared}
    for item in workflow.inputs:
        if item.name not in given:
            if item.required:
                problems.append(f"{item.name}: missing; give {_article(item.type)}")
            values[item.name] = item.default
            continue
        values[item.name] = given[item.name]
        problems += _problems(item, given[item.name])
    if problems:
        raise InvalidRequest(
            f"workflow {workflow.name!r} cannot start with these inputs: {'; '.join(sorted(problems))}"
        )
    return values


def _problems(item: Input, value: Any) -> list[str]:
    if item.type == "any" and not item.schema:
        return []
    matches = isinstance(value, _PYTHON_TYPES.get(item.type, (object,)))
    confused = isinstance(value, bool) and item.type in ("integer", "number")
    if matches and not confused and not item.schema:
        return []
    # jsonschema takes 0.15 s to import; a value that plainly fits does not need it.
    import jsonschema

    validator = jsonschema.Draft202012Validator(item.json_schema())
    return [f"{item.name}: {error.message}" for error in validator.iter_errors(value)]


def _article(kind: str) -> str:
    return "a value" if kind == "any" else f"{'an' if kind[0] in 'aio' else 'a'} {kind}"
