"""A workflow without groups, which :mod:`dag_factory.authoring.convert` writes: ordinary steps can say all that is left of them.

A step of a group stands under the group's conditions, and those of the groups around it; here they become one condition, its own.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace

from airflow_llm_provider.errors import ConfigurationError, ExpressionError
from airflow_llm_provider.workflow.conditions import is_true, parse_condition
from airflow_llm_provider.workflow.expressions import parse_tree
from airflow_llm_provider.workflow.model import Gate, Step, Workflow
from airflow_llm_provider.workflow.syntax import Binary, Braces, Literal, Node, Unary

__all__ = ["ConversionError", "flatten", "flattened"]


class ConversionError(ConfigurationError):
    """The workflow has something that the other notation has no words for; the message names all of it."""


def flattened(workflow: Workflow) -> Workflow:
    """Give the workflow that does the same without groups, branches and templates of workflows.

    Args:
        workflow: A workflow.

    Returns:
        The workflow: conditions of groups are those of the steps in them, and the step that stands for a ``parallel`` is a
        transform that collects their outputs.

    Raises:
        ConversionError: Conditions cannot be put together to one.
    """
    problems: list[str] = []
    flat = flatten(workflow, problems)
    if problems:
        raise ConversionError("\n".join(problems))
    return flat


def flatten(workflow: Workflow, problems: list[str]) -> Workflow:
    """Do what :func:`flattened` does, noting what cannot be put together and not raising.

    Args:
        workflow: A workflow.
        problems: Takes what is wrong, as lines for people.
    """
    return replace(
        workflow,
        steps=tuple(_flat_step(step, problems) for step in workflow.steps),
        instantiates=None,
        instance_inputs={},
    )


def _flat_step(step: Step, problems: list[str]) -> Step:
    if step.executor == "parallel":
        step = replace(
            step,
            executor="transform",
            inputs={"function": "merge", "inputs": [step.inputs["outputs"]]},
            outputs=dict.fromkeys(step.outputs, "result"),
        )
    template = None if step.template is None else _flat_step(step.template, problems)
    try:
        condition = _combined(step.wanted)
    except ExpressionError as error:
        problems.append(f"step {step.id!r}: the conditions that it stands under cannot be put together: {error}")
        condition = step.condition
    return replace(step, gates=(), condition=condition, template=template)


def _combined(gates: tuple[Gate, ...]) -> str | bool | int | float | None:
    """Put conditions that must all hold together to one; raises ExpressionError where that cannot be written."""
    if not gates:
        return None
    if len(gates) == 1 and not gates[0].negated:
        return gates[0].condition
    return " && ".join(_operand(gate, alone=len(gates) == 1) for gate in gates)


def _operand(gate: Gate, *, alone: bool) -> str:
    source = gate.condition
    condition = parse_condition(source)
    text = source.strip() if isinstance(source, str) else ""
    if not condition.references and _is_constant(text):
        # What holds or does not whatever the run is: `yes`, `0`, or prose, which would be no expression.
        return json.dumps(is_true(condition.value(lambda path: None)) is not gate.negated)
    root = parse_tree(text)
    if _is_boolean(root):
        return f"!({text})" if gate.negated else text if alone else f"({text})"
    # By itself a text such as `no` does not hold, but as an operand of && it does.
    shown = f"lower(trim(format('{{}}', {text})))"
    holds = " && ".join([f"({text})", *(f"{shown} != '{word}'" for word in ("", "false", "0", "no"))])
    return f"!({holds})" if gate.negated else f"({holds})"


def _is_constant(text: str) -> bool:
    return re.fullmatch(r"[^{}()'\"=<>!&|]*", text) is not None


def _is_boolean(node: Node) -> bool:
    """Tell whether an expression gives true or false and nothing else, whatever its names stand for."""
    if isinstance(node, Binary):
        if node.op in ("&&", "||"):
            return _is_boolean(node.left) and _is_boolean(node.right)
        return node.op in ("==", "!=", "<", "<=", ">", ">=")
    if isinstance(node, Braces):
        inner = re.fullmatch(r"\$\{\{(.*)\}\}", node.text, re.DOTALL)
        return inner is not None and _is_boolean(parse_tree(inner[1]))
    return (isinstance(node, Unary) and node.op == "!") or (isinstance(node, Literal) and isinstance(node.value, bool))
